"""`jacobound falsify` as its users call it: own files, wrong input, exit codes, every form of output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import jacobound
from bounds import records
from verification.inequalities import SideError, load
from verification.inequalities.laboratory import examine_all

HEAD = """
from hypothesis import assume, strategies as st
from verification.inequalities import inequality, reals
from verification.inequalities.strategies import matrices
"""
TRUE = """
@inequality("mine-true", r"\\|A\\|_2 \\le \\|A\\|_F", source="me", attained=True, given={"A": matrices()},
            mutants={"largest entry": {"p": float("inf")}})
def holds(A, p=2):
    return reals.spectral(A), reals.norm(A, p)
"""
FALSE = """
@inequality("mine-false", r"\\|A\\|_F \\le \\|A\\|_2", source="me", given={"A": matrices()})
def fails(A):
    return reals.norm(A, 2), reals.spectral(A)
"""
NEVER = """
@inequality("mine-never", "a", source="me", given={"x": st.floats(0, 1)})
def never(x):
    assume(x > 2)
    return x, x
"""
LOUD = """
print("a module that prints")
@inequality("mine-loud", r"x \\le x", source="me", given={"x": st.floats(0, 1)})
def loud(x):
    print("an inequality that prints")
    return x, x
"""
RAISES = """
@inequality("mine-raises", "a", source="me", given={"x": st.integers(0, 1)})
def raises(x):
    return 1 / x, 1
"""


class Result(NamedTuple):
    code: int
    out: str
    err: str


def ran(program: str) -> tuple[int, str]:
    """Exit code and last line of an error of a program, from a folder that has nothing to do with it."""
    done = subprocess.run([sys.executable, "-c", program], cwd="/", capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.rstrip().rpartition("\n")[2]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def command(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["jacobound", "falsify", "--quiet", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            jacobound.main()
        captured = capsys.readouterr()
        return Result(int(end.value.code or 0), captured.out, captured.err)

    return command


@pytest.fixture
def paper(tmp_path: Path) -> Callable[..., Path]:
    def write(*parts: str) -> Path:
        path = tmp_path / "mypaper.py"
        path.write_text(HEAD + "".join(parts), encoding="utf-8")
        return path

    return write


def test_what_holds_exits_0(run: Callable[..., Result], paper: Callable[..., Path]) -> None:
    found = run(paper(TRUE), "--examples", "60")
    assert found.code == 0
    assert "mine-true" in found.out
    assert "‖A‖₂ ≤ ‖A‖_F" in found.out
    assert "1.000*" in found.out
    assert "1/1" in found.out
    assert "held" in found.out


def test_a_refutation_prints_a_program_and_exits_1(run: Callable[..., Result], paper: Callable[..., Path]) -> None:
    found = run(paper(FALSE, TRUE), "--examples", "60")
    assert found.code == 1
    assert "refuted" in found.out
    program = found.out[found.out.index("# mine-false: left <= right is refuted by") :]
    assert ran(program) == (1, "AssertionError")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("1 / 0\n",), "mypaper.py does not import: ZeroDivisionError: division by zero"),
        (("import no_such_module\n",), "mypaper.py does not import: ModuleNotFoundError: No module named"),
        (("def broken(:\n",), "mypaper.py does not import: SyntaxError"),
        ((), "mypaper.py: registers no inequality"),
        ((TRUE, TRUE.replace("def holds", "def other")), "mypaper.py: two inequalities are called 'mine-true'"),
        ((NEVER,), "mine-never: no instance satisfies its assumptions:"),
        ((FALSE.replace("{\"A\"", "{\"B\""),), "mypaper.py does not import: TypeError: mine-false: the function takes"),
    ],
)  # fmt: skip
def test_bad_files_exit_2_with_one_line(
    run: Callable[..., Result], paper: Callable[..., Path], parts: tuple[str, ...], message: str
) -> None:
    found = run(paper(*parts), "--examples", "20")
    assert found.code == 2
    assert message in found.err
    assert found.err.count("\n") == 1
    assert found.out == ""


def test_an_error_in_a_side_is_one_line_and_a_program(run: Callable[..., Result], paper: Callable[..., Path]) -> None:
    found = run(paper(RAISES), "--examples", "20")
    assert found.code == 2
    place = "line 8 of mypaper.py: return 1 / x, 1"
    assert found.err.endswith(f"mypaper.py: mine-raises: ZeroDivisionError: division by zero ({place}) at x=0\n")
    assert found.err.count("\n") == 1
    assert ran(found.out) == (1, "ZeroDivisionError: division by zero")
    assert run(paper(RAISES), "--examples", "20", "--json").out == ""


def test_the_rejection_rate_is_reported(run: Callable[..., Result], paper: Callable[..., Path]) -> None:
    message = run(paper(NEVER), "--examples", "20").err
    drawn, of = message.split("assumptions: ")[1].split(" were")[0].split(" of ")
    assert drawn == of
    assert int(drawn) >= 20


def test_unknown_names_are_suggested(run: Callable[..., Result], paper: Callable[..., Path], tmp_path: Path) -> None:
    assert "did you mean 'mine-true'?" in run(paper(TRUE), "--id", "mine-tru").err
    assert "did you mean 'L1.1-lipschitz'?" in run("--id", "L1.1-lipshitz").err
    missing = run(tmp_path / "nothing.py")
    assert missing.code == 2
    assert missing.err.endswith("nothing.py: no such file\n")


@pytest.mark.parametrize("arguments", [("--examples", "0"), ("--seed", "-1"), ("--json", "--latex")])
def test_bad_options_exit_2(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


def test_a_statement_may_be_a_sympy_relation(run: Callable[..., Result], paper: Callable[..., Path]) -> None:
    source = """
import sympy as sp
a, b = sp.symbols("a b", nonnegative=True)
@inequality("mine-means", sp.Le(sp.sqrt(a * b), (a + b) / 2), source="Euclid", attained=True,
            given={"a": st.floats(0, 9), "b": st.floats(0, 9)})
def means(a, b):
    return reals.sqrt(a * b), (a + b) / 2
"""
    assert "√a √b ≤ a/2 + b/2" in run(paper(source)).out
    latex = run(paper(source), "--latex").out
    assert r"$\displaystyle \sqrt{a} \sqrt{b} \leq \frac{a}{2} + \frac{b}{2}$" in latex
    assert "no mutants were given" in latex


def test_json_is_a_record(run: Callable[..., Result], paper: Callable[..., Path], tmp_path: Path) -> None:
    found = run(paper(TRUE, FALSE), "--examples", "60", "--json", "--seed", "7")
    assert found.code == 1
    (tmp_path / "record.json").write_text(found.out)
    record = records.read(tmp_path / "record.json")
    assert record["seed"] == 7
    assert record["file"] == "mypaper.py"
    true, false = record["findings"]
    assert (true["verdict"], false["verdict"]) == ("held", "refuted")
    assert true["mutants"] == {"largest entry": True}
    assert false["ratio"] > 1
    assert run(paper(TRUE, FALSE), "--examples", "60", "--json", "--seed", "7").out == json.dumps(
        record, indent=2, ensure_ascii=False
    ) + "\n"  # fmt: skip


def test_latex_is_a_longtable(run: Callable[..., Result], paper: Callable[..., Path]) -> None:
    found = run(paper(TRUE), "--examples", "60", "--latex")
    assert found.out.count(r"\begin{longtable}") == found.out.count(r"\end{longtable}") == 1
    assert r"$\displaystyle \|A\|_2 \le \|A\|_F$ & me & " in found.out


def test_one_lemma_of_the_package(run: Callable[..., Result]) -> None:
    found = run("--id", "L1.1", "--examples", "40", "--json")
    assert found.code == 0
    ids = [finding["id"] for finding in json.loads(found.out)["findings"]]
    assert {"L1.1-gradient", "L1.1-lipschitz"} <= set(ids)
    assert all(id.startswith("L1.1-") for id in ids)


def test_processes_find_what_one_process_finds(paper: Callable[..., Path]) -> None:
    path = paper(TRUE, FALSE)
    claims = list(load(path).values())
    seen: list[tuple[int, int]] = []
    together = examine_all(claims, 40, path=path, progress=lambda done, total: seen.append((done, total)))
    alone = [examine_all([claim], 40, path=path)[0] for claim in claims]
    assert together == alone
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_an_error_in_another_process_is_bad_input(paper: Callable[..., Path]) -> None:
    path = paper(TRUE, RAISES)
    with pytest.raises(SideError, match="mine-raises: ZeroDivisionError") as raised:
        examine_all(list(load(path).values()), 40, path=path)
    assert "    x=0,\n" in raised.value.program


def test_a_file_may_be_loaded_twice(paper: Callable[..., Path]) -> None:
    path = paper(TRUE)
    assert load(path)["mine-true"].id == load(path)["mine-true"].id == "mine-true"


def test_what_a_file_prints_is_no_result(run: Callable[..., Result], paper: Callable[..., Path]) -> None:
    """Nor what it prints in another process."""
    path = paper(LOUD, TRUE)
    alone = run(path, "--examples", "20", "--json", "--id", "mine-loud")
    assert [finding["id"] for finding in json.loads(alone.out)["findings"]] == ["mine-loud"]
    assert {"a module that prints", "an inequality that prints"} <= set(alone.err.splitlines())
    command = [sys.executable, "-m", "jacobound", "falsify", str(path), "--examples", "20", "--json", "--quiet"]
    both = subprocess.run(command, cwd=Path(jacobound.__file__).parent, capture_output=True, text=True, check=False)
    assert both.returncode == 0, both.stderr
    assert len(json.loads(both.stdout)["findings"]) == 2
    assert "an inequality that prints" in both.stderr
