"""`module:factory` names: found, suggested, called, and never shadowing what is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bounds.errors import InputError
from bounds.inputs.factory import call_factory, parse_arguments, resolve_factory


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with some modules in it; sys.path and sys.modules are restored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("my_factories", "breaks_on_import", "needs_more"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "my_factories.py").write_text("def build(width=1): return [0] * width\nnumber = 3\n")
    (tmp_path / "breaks_on_import.py").write_text("raise RuntimeError('no luck\\ntoday')\n")
    (tmp_path / "needs_more.py").write_text("import no_such_package.inside\n")
    (tmp_path / "json.py").write_text("def loads(text): return 'shadowed'\n")
    return tmp_path


def test_a_factory_in_the_working_directory() -> None:
    assert call_factory("my_factories:build", {"width": 3}) == [0, 0, 0]


def test_the_working_directory_comes_last(here: Path) -> None:
    assert resolve_factory("json:loads") is json.loads
    resolve_factory("my_factories:build")
    assert sys.path[-1] == str(here)
    assert sys.path.count(str(here)) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_factories", "'my_factories' is not of the form module:factory"),
        (":build", "':build' is not of the form"),
        ("my_factories:", "'my_factories:' is not of the form"),
        ("my_factories:build.__globals__", "'my_factories:build.__globals__' is not of the form"),
        ("my_factory:build", "my_factory:build: no module named 'my_factory'; did you mean 'my_factories'?"),
        ("qqq.zzz:build", "qqq.zzz:build: no module named 'qqq'$"),
        ("json.nothing:build", "json.nothing:build: no module named 'json.nothing'"),
        ("my_factories:biuld", "my_factories:biuld: 'my_factories' has no 'biuld'; did you mean 'build'?"),
        ("my_factories:number", "my_factories:number: a int, not a function or class"),
        (
            "breaks_on_import:f",
            "breaks_on_import:f: importing 'breaks_on_import' raised RuntimeError: no luck$",
        ),
        ("needs_more:f", "needs_more:f: 'needs_more' needs 'no_such_package', which is not installed"),
    ],
)
def test_refusals(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        resolve_factory(spec)


def test_a_factory_that_raises() -> None:
    with pytest.raises(
        InputError, match=r"^my_factories:build: raised TypeError: build\(\) got an unexpected .*'depth'"
    ):
        call_factory("my_factories:build", {"depth": 3})


def test_arguments_are_literals_or_text() -> None:
    texts = {
        "a": "3",
        "b": "-2.5",
        "c": "[1, 2]",
        "d": "relu",
        "e": "None",
        "f": "{[]: 1}",
        "g": "'3'",
        "h": "",
    }
    values = {"a": 3, "b": -2.5, "c": [1, 2], "d": "relu", "e": None, "f": "{[]: 1}", "g": "3", "h": ""}
    assert parse_arguments(texts) == values
    assert parse_arguments({"a": (1, 2), "b": True}) == {"a": (1, 2), "b": True}
    assert parse_arguments({"a": "__import__('os').getcwd()"}) == {"a": "__import__('os').getcwd()"}
