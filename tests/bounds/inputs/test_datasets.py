"""`load_data`: digits, factories and names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bounds.errors import InputError
from bounds.inputs import load_data


def test_digits_are_the_bundled_ones_split_in_two() -> None:
    train, test = load_data("digits"), load_data("digits", split="test")
    x, y = load_digits(return_X_y=True)
    rows = np.concatenate([part.x.flatten(1).numpy() * 16 for part in (train, test)])
    labels = np.concatenate([part.y.numpy() for part in (train, test)])
    ours = sorted(zip(map(tuple, rows.tolist()), labels.tolist(), strict=True))
    assert ours == sorted(zip(map(tuple, x.tolist()), y.tolist(), strict=True))
    assert train.input_shape == (1, 8, 8)
    for label in range(10):
        share = int((test.y == label).sum()) / int((y == label).sum())
        assert abs(share - 0.2) < 0.5 / 170


def test_the_split_of_the_digits_never_changes() -> None:
    digests = [load_data("digits", split=split).digest()[:16] for split in ("train", "test")]
    assert digests == ["894a0c1052ded36d", "1e2ef462877c4d0f"]


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="^unknown data set 'minst': did you mean 'mnist'?"):
        load_data("minst")
    with pytest.raises(InputError, match="^unknown split 'tset': did you mean 'test'?"):
        load_data("digits", split="tset")


FACTORIES = """
import torch
from bounds.inputs import as_data
x, y = torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 1])
def pair(): return (x, y), (x[:1], y[:1])
def sets(): return torch.utils.data.TensorDataset(x, y), as_data((x[:1], y[:1]))
def single(): return x, y
def wrong(): return 7
def fails(): raise OSError("disk\\non fire")
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "data_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "data_factories", raising=False)
    return "data_factories"


@pytest.mark.parametrize("name", ["pair", "sets"])
def test_factories_of_both_splits(factories: str, name: str) -> None:
    spec = f"{factories}:{name}"
    assert torch.equal(load_data(spec).y, torch.tensor([0, 1, 1]))
    assert torch.equal(load_data(spec, split="test").x, torch.tensor([[0.0, 1.0]]))
    assert load_data(spec).name == spec


def test_factories_of_one_set(factories: str) -> None:
    assert len(load_data(f"{factories}:single")) == 3
    with pytest.raises(InputError, match=r"single: returned one set, a training set; \(train, test\) is needed"):
        load_data(f"{factories}:single", split="test")


def test_a_given_box_is_that_of_the_data(factories: str) -> None:
    assert load_data(f"{factories}:pair").box is None
    assert load_data(f"{factories}:pair", box=(0.0, 9.0)).box == (0.0, 9.0)
    assert load_data(f"{factories}:sets", split="test", box=(0.0, 9.0)).box == (0.0, 9.0)
    assert load_data("digits", box=(-1.0, 2.0)).box == (-1.0, 2.0)
    with pytest.raises(InputError, match=r"^digits: pixels lie in \[0, 1\], outside the box \[0, 0.5\]$"):
        load_data("digits", box=(0.0, 0.5))


def test_factories_that_fail(factories: str) -> None:
    with pytest.raises(InputError, match="^data_factories:wrong: a int is not labelled data"):
        load_data(f"{factories}:wrong")
    with pytest.raises(InputError, match="^data_factories:fails: raised OSError: disk$"):
        load_data(f"{factories}:fails")


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, bounds.inputs; sys.exit(bool({'torch', 'numpy', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there() -> None:
    import bounds.inputs

    for name in bounds.inputs.__all__:
        assert getattr(bounds.inputs, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'load_model'"):
        _ = bounds.inputs.load_model
