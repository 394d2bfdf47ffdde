"""Values written as source come back bit for bit, or are refused; programs of counterexamples run anywhere."""

from __future__ import annotations

import json
import math
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from enum import Enum, Flag
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sympy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from verification.inequalities import SideError, assert_holds, examine, inequality, load
from verification.inequalities.inequality import Comparison
from verification.inequalities.laboratory import found_again
from verification.inequalities.literals import Names, UnwritableError, source
from verification.inequalities.program import Budget, refuting
from verification.inequalities.strategies.networks import Affine, Convolution


class Point(NamedTuple):
    x: float
    y: Any


class Colour(Enum):
    RED = 1


class Access(Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Box:
    side: Any
    area: float = field(init=False, default=0.0)

    class Inner(NamedTuple):
        z: float


@dataclass(init=False)
class Odd:
    side: float

    def __init__(self, twice: float) -> None:
        self.side = twice / 2


def again(value: Any) -> Any:
    """The value of its source, in a namespace that holds nothing but the imports it asks for."""
    names = Names()
    text = source(value, names)
    space: dict[str, Any] = {}
    exec("\n".join(names.imports()), space)  # noqa: S102
    return eval(text, space)


def same(one: Any, other: Any) -> bool:
    """Equal in type and in every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        alike = (one.dtype, one.shape, one.requires_grad) == (other.dtype, other.shape, other.requires_grad)
        bits = (t.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8) for t in (one, other))
        return alike and torch.equal(*bits)
    if isinstance(one, np.ndarray | np.generic):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and np.asarray(one).tobytes() == np.asarray(other).tobytes()
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=True)
        return len(one) == len(other) and all(same(k, key) and same(v, entry) for (k, v), (key, entry) in pairs)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if is_dataclass(one) and not isinstance(one, type):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(one == other)


FLOATS = st.floats() | st.sampled_from([-0.0, math.nan, -math.nan, math.inf, 5e-324])
SHAPES = st_np.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
DTYPES = st.sampled_from(
    ["f2", "f4", "f8", ">f4", "i1", "i8", ">i4", "u2", "?", "c8", "c16", "U3", "S2", "M8[D]", "m8[ns]", "g"]
).map(np.dtype) | st.just(np.dtype([("a", "<f4"), ("b", "<i2", (2,))]))  # fmt: skip
ARRAYS = st.builds(
    lambda dtype, shape, order, bits: np.asarray(
        np.frombuffer(bits.ljust(dtype.itemsize * 27, bits[-1:] or b"\0"), dtype, math.prod(shape)).reshape(shape),
        order=order,
    ),
    DTYPES.filter(lambda dtype: dtype.kind not in "?USg"), SHAPES, st.sampled_from("CF"), st.binary(max_size=200),
) | DTYPES.flatmap(lambda dtype: st_np.arrays(dtype, SHAPES))  # fmt: skip
TENSORS = st.builds(
    lambda values, dtype, grad: torch.tensor(values, dtype=dtype).requires_grad_(grad and dtype.is_floating_point),
    st.lists(st.floats(-1e4, 1e4), max_size=3) | st.floats(-9, 9) | st.lists(st.just([]), max_size=2),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int64, torch.bool,
                     torch.complex64, torch.uint8, torch.float8_e4m3fn]),
    st.booleans(),
)  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | FLOATS | st.complex_numbers() | st.text(max_size=3)
    | st.binary(max_size=3) | st.fractions() | st.decimals(allow_nan=False)
    | ARRAYS.filter(lambda array: array.size > 0).map(lambda array: array.reshape(-1)[0])
)  # fmt: skip
HASHABLE = st.integers() | st.text(max_size=2) | st.fractions()
VALUES = st.recursive(
    SCALARS | ARRAYS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.tuples(inner, inner) | st.dictionaries(HASHABLE, inner)
        | st.sets(HASHABLE, max_size=3) | st.frozensets(HASHABLE, max_size=3)
        | st.builds(Point, FLOATS, inner) | st.builds(Box, inner)
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=150, database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(VALUES)
def test_values_come_back_bit_for_bit(value: Any) -> None:
    assert same(again(value), value)


@pytest.mark.parametrize(
    "value",
    [
        sympy.Rational(1, 3),
        sympy.pi * sympy.sqrt(2) + sympy.Symbol("x", positive=True),
        sympy.Float("0.1", 40),
        sympy.oo,
        Colour.RED,
        Access.READ | Access.WRITE,
        Box.Inner(0.5),
        np.linalg.norm,
        max,
        Box,
        np.float32,
        torch.float32,
        torch.Size([2, 3]),
        range(2, 5),
        Decimal("NaN"),
        struct.unpack("d", struct.pack("Q", 0x7FF8000000000001))[0],
        torch.tensor([struct.unpack("d", struct.pack("Q", 0x7FF8000000000001))[0]]),
        torch.tensor([[1 + 2j, 3.0]]).conj().T,
        torch.zeros(0, 3, dtype=torch.bfloat16),
        Affine(np.eye(2), np.ones(2)),
        Convolution(np.ones((1, 1, 2, 2)), np.zeros(1), (1, 3, 3), padding=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_else_strategies_produce_comes_back(value: Any) -> None:
    found = again(value)
    assert type(found) is type(value)
    assert same(found, value) or value != value and str(found) == str(value)


def test_parameters_come_back() -> None:
    for grad in (True, False):
        found = again(torch.nn.Parameter(torch.tensor([0.1]), requires_grad=grad))
        assert isinstance(found, torch.nn.Parameter) and found.requires_grad is grad and found.item() == np.float32(0.1)


def test_short_values_are_readable() -> None:
    assert source(np.array([1.5, -2.0, 0.1], np.float32), Names()) == "np.array([1.5, -2.0, 0.1], dtype=np.float32)"
    assert source(torch.tensor([0.1]), Names()) == "torch.tensor([0.1], dtype=torch.float32)"
    assert source({"x": [0.1, -math.inf]}, Names()) == "{'x': [0.1, -inf]}"


@pytest.mark.parametrize(
    "value",
    [
        lambda x: x,
        object(),
        torch.nn.Linear(1, 1),
        Odd(2.0),
        np.array([object()]),
        np.ma.masked_array([1.0]),
        torch.eye(2).to_sparse(),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f4")], align=True)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_source_is_refused(value: Any) -> None:
    with pytest.raises(UnwritableError):
        source([value], Names())


def test_what_a_fresh_process_cannot_import_is_refused() -> None:
    class Here:
        """Of a script, as it says."""

    Here.__module__, Here.__qualname__ = "__main__", "Here"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["__main__"], "Here", Here, raising=False)
        with pytest.raises(UnwritableError):
            source(Here, Names())
        assert source(Here, Names("__main__", "paper")) == "paper.Here"


def test_names_do_not_meet() -> None:
    names = Names("mine", "paper", {"left"})
    assert names.of("mine", "f") == "paper.f"
    assert [names.of(m, n) for m, n in (("a", "left"), ("a", "max"), ("b", "max"), ("a", "max"), ("c", "np"))] == [
        "left_", "max_", "max__", "max_", "np_"
    ]  # fmt: skip
    assert names.imports() == ["from a import left as left_, max as max_", "from b import max as max__",
                               "from c import np as np_"]  # fmt: skip


PAPER = """
import hashlib
import numpy as np
import torch
from dataclasses import dataclass
from typing import Any
from hypothesis import assume, strategies as st
from verification.inequalities import inequality
from beside import Circle

@dataclass(frozen=True)
class Square:
    side: Any

def text(value):
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{value.requires_grad}{value.tolist()}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.tobytes()}"
    return f"{type(value).__name__}{value.__dict__ if hasattr(value, '__dict__') else value}"

def claim(id, given, **how):
    return inequality(id, "a", source="me", given=given, recheck=False, **how)

@claim("mine-any", {"value": st.none()})
def of_anything(value):
    return 1 + int(hashlib.sha256(text(value).encode()).hexdigest()[:12], 16) / 2**48, 1.0

@claim("mine-float32", {"x": st.lists(st.floats(0, 1, width=32), min_size=9).map(lambda x: np.array(x, np.float32))})
def float32(x):
    return abs(float(np.cumsum(x)[-1]) - float(x.astype(np.float64).sum())), 0.0

@claim("mine-shapes", {"square": st.builds(Square, st.floats(1, 2)), "circle": st.builds(Circle, st.floats(1, 2))})
def shapes(square, circle):
    return square.side + circle.radius, 1.5

unnamed = claim("mine-lambda", {"t": st.just(torch.tensor(0.5, dtype=torch.bfloat16))})(lambda t: (t, t / 2))

@claim("mine-object", {"f": st.sampled_from([lambda: 2.0, lambda: 1.0]), "x": st.floats(1, 2)})
def of_an_object(f, x):
    return f() * x, 1.25

@inequality("mine-identity", "a", source="me", relation="==", given={"x": st.floats(1, 2)})
def identity(x):
    return x + 2.0**-45 * x, x
"""


@pytest.fixture(scope="module")
def my_paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a name that cannot be imported, beside one that it imports."""
    folder = tmp_path_factory.mktemp("a folder.with dots")
    (folder / "beside.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Circle:\n    radius: float\n"
    )
    (folder / "my-paper.py").write_text(PAPER, encoding="utf-8")
    return folder / "my-paper.py"


def run_all(programs: list[str], folder: Path) -> list[tuple[str, str]]:
    """What programs print, and the error that each ends with; all in one fresh process, in a folder of its own."""
    driver = (
        "import contextlib, io, json, sys\nends = []\nfor program in json.load(sys.stdin):\n"
        "    out = io.StringIO()\n    try:\n        with contextlib.redirect_stdout(out):\n"
        "            exec(compile(program, 'program', 'exec'), {'__name__': '__main__'})\n"
        "        error = ''\n    except Exception as raised:\n        error = repr(raised)\n"
        "    ends.append((out.getvalue(), error))\nprint(json.dumps(ends))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", driver],
        input=json.dumps(programs),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [(out, error) for out, error in json.loads(done.stdout)]


def test_programs_fail_with_the_sides_that_were_found(my_paper: Path, tmp_path: Path) -> None:
    claims = load(my_paper)
    wanted, programs = [], []

    @settings(max_examples=60, database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(SCALARS | ARRAYS | TENSORS)
    def collect(value: Any) -> None:
        comparison = claims["mine-any"].compare({"value": value})
        programs.append(refuting(claims["mine-any"], {"value": value}, comparison, Budget(1, 0)))
        wanted.append((comparison.left, comparison.right))

    collect()
    found = [examine(claim, 100) for id, claim in claims.items() if id not in {"mine-any"}]
    assert {finding.verdict for finding in found} == {"refuted"}
    ends = run_all(programs + [str(finding.counterexample) for finding in found], tmp_path)
    assert {error for _, error in ends} == {"AssertionError()"}
    printed = [tuple(map(float, out.split())) for out, _ in ends]
    assert printed[: len(wanted)] == wanted
    for finding, (left, right) in zip(found, printed[len(wanted) :], strict=True):
        if finding.relation == "<=":
            assert finding.ratio == (left / right if right else None)


def test_an_argument_without_source_is_found_again(my_paper: Path) -> None:
    claim = load(my_paper)["mine-object"]
    found = str(examine(claim, 100, seed=3).counterexample)
    assert "# No source can be written of f (a function): the same search finds it again.\n" in found
    assert "found = found_again(paper.of_an_object, examples=100, seed=3)\n" in found
    assert "    f=found['f'],\n" in found
    assert claim.compare(found_again(claim, 100, seed=3)).verdict == "violated"


def test_the_ascent_keeps_dtypes_and_named_tuples() -> None:
    seen = set()

    def sides(x: Any, y: Any, point: Any) -> tuple[float, float]:
        seen.add((x.dtype, type(y), type(point)))
        return float(x.sum()), 2.0**20

    arrays = st.just(np.array([1.0, 2.0], np.float16))
    claim = inequality(
        "test", "a", source="test", recheck=False,
        given={"x": arrays, "y": st.just(np.float32(0.5)), "point": st.builds(Point, st.floats(0, 1), st.none())},
    )(sides)  # fmt: skip
    assert examine(claim, 40).verdict == "held"
    assert seen == {(np.dtype(np.float16), np.float32, Point)}


def local(function: Callable[..., Any], given: dict[str, Any], **how: Any) -> Any:
    return inequality("test-local", "a", source="test", given=given, **how)(function)


def test_a_local_function_is_said_to_be_one() -> None:
    claim = local(lambda x: (x, x / 2), {"x": st.just(1.0)})
    text = refuting(claim, {"x": 1.0}, Comparison(1.0, 0.5, 0.0), Budget(1, 0))
    assert "# Its function, here called sides, is not defined at the top of a module: copy it to here.\n" in text
    with pytest.raises(AssertionError):
        exec(text, {"sides": claim})  # noqa: S102


def log(x: float) -> tuple[float, float]:
    return 0.5, math.log(x)


def multiline(x: float) -> tuple[float, float]:
    raise KeyError("one\ntwo") if x == 0 else OverflowError("one\ntwo")


@pytest.mark.parametrize(
    ("function", "how", "message"),
    [
        (lambda x: (x, x / 0), {}, r"ZeroDivisionError: float division by zero \(line \d+ of test_literals.py: .*\)"),
        (lambda x: (x, math.nan), {}, r"NaN on the right side \(left = 0.0, right = nan\)"),
        (lambda x: (math.nan, x), {}, r"NaN on the left side"),
        (log, {}, r"ValueError: math domain error \(line \d+ of test_literals.py: return 0.5, math.log\(x\)\)"),
        (lambda x: None, {}, "TypeError: cannot unpack non-iterable NoneType object"),
        (lambda x: (np.ones(2), 1.0), {}, "ValueError: The truth value of an array"),
        (multiline, {}, r"KeyError: 'one\\ntwo' "),
    ],
)  # fmt: skip
def test_an_error_in_a_side_names_the_instance(function: Any, how: Any, message: str) -> None:
    claim = local(function, {"x": st.floats(0, 1)}, **how)
    with pytest.raises(SideError) as raised:
        examine(claim, 20)
    assert re.fullmatch(rf"test-local: {message}.* at x=0\.0", str(raised.value))
    assert raised.value.program.startswith(f"# {raised.value}\n")
    assert "    x=0.0,\n" in raised.value.program
    assert raised.value.__notes__[-1] == raised.value.program
    with pytest.raises((ArithmeticError, AssertionError, ValueError, TypeError, KeyError)):
        exec(raised.value.program, {"sides": claim})  # noqa: S102
    assert found_again(claim, 20) == {"x": 0.0}


def test_an_error_in_a_mutant_or_in_35_digits_says_so() -> None:
    mutant = local(lambda x, c=1.0: (x / c, x), {"x": st.just(2.0)}, mutants={"no room": {"c": 0.0}})
    with pytest.raises(SideError, match=r"^test-local, mutant 'no room': ZeroDivisionError.* at x=") as raised:
        assert_holds(mutant, 20)
    assert "    **sides.mutants['no room'],\n" in raised.value.program
    with pytest.raises(ZeroDivisionError):
        exec(raised.value.program, {"sides": mutant})  # noqa: S102
    plain = local(lambda x: (math.nextafter(x, 9.0) + 0 * torch.tensor(x).item(), x), {"x": st.just(2.0)})
    with pytest.raises(SideError, match=r"^test-local, in 35 digits: .* say recheck=False if it cannot") as raised:
        examine(plain, 20)
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        exec(raised.value.program, {"sides": plain})  # noqa: S102
