from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp

from bounds.errors import InputError
from bounds.measure import margins
from bounds.measure.margin import margins_of_logits
from tests.bounds.measure.oracles import Sample
from tests.cases import CASES


@settings(deadline=None, max_examples=50)
@given(
    logits=st.lists(st.floats(-300, 300), min_size=2, max_size=6),
    label=st.integers(0, 5),
)
def test_agrees_with_multiple_precision(logits: list[float], label: int) -> None:
    label %= len(logits)
    margin, loss = margins_of_logits(torch.tensor([logits], dtype=torch.float64), torch.tensor([label]))
    others = [z for k, z in enumerate(logits) if k != label]
    assert margin.item() == logits[label] - max(others)
    with mp.workdps(400):
        exact = mp.log(mp.fsum(mp.exp(mp.mpf(z)) for z in logits)) - mp.mpf(logits[label])
        assert abs(mp.mpf(loss.item()) - exact) <= mp.mpf("1e-11") * exact


def test_statistics_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.0], [0.0, 4.0]])
    result = margins(lambda x: x, Sample(logits, torch.tensor([0, 0, 0, 0, 1])), batch_size=2)
    assert result.values.tolist() == [2.0, -1.0, 0.0, 0.5, 4.0]
    assert result.values.dtype == torch.float64
    assert result.correct.tolist() == [True, False, False, True, True]
    assert math.isclose(result.error, 2 / 5)
    assert math.isclose(result.ramp(1.0), (0 + 1 + 1 + 0.5 + 0) / 5)
    assert math.isclose(result.hard(0.5), 3 / 5)
    assert (result.quantile(0.0), result.quantile(0.5), result.quantile(1.0)) == (-1.0, 0.5, 4.0)
    assert result.quantile(0.625) == 1.25


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), gamma=st.floats(1e-3, 10))
def test_zero_one_below_ramp_below_hard(seed: int, gamma: float) -> None:
    """Theory L1.4."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(30, 4, generator=generator).round(decimals=1)
    result = margins(lambda x: x, Sample(logits, torch.randint(4, (30,), generator=generator)))
    assert result.error <= result.ramp(gamma) <= result.hard(gamma)


def test_runs_a_module_in_eval_mode_without_touching_it() -> None:
    case = CASES["mlp-batch-norm"]
    module = case.module().float().train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    x, y = case.inputs(7).float(), torch.arange(7) % 3
    result = margins(module, Sample(x, y), batch_size=3)
    logits = module.double().eval()(x.double())
    torch.testing.assert_close(result.losses, torch.nn.functional.cross_entropy(logits, y, reduction="none"))
    assert all(torch.equal(value.float(), before[key].float()) for key, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("logits", "y", "message"),
    [
        (torch.zeros(2, 0), [0, 0], "classes"),
        (torch.zeros(2, 3), [0, 3], "outside 0..2"),
        (torch.tensor([[0.0, 7.0]]), [0], "not finite"),
        (torch.zeros(0, 2), [], "no samples"),
    ],
)
def test_refuses_what_has_no_margin(logits: torch.Tensor, y: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        margins(lambda x: torch.where(x == 7.0, torch.nan, x), Sample(logits, torch.tensor(y, dtype=torch.int64)))


def test_refuses_a_margin_that_is_not_positive() -> None:
    result = margins(lambda x: x, Sample(torch.zeros(1, 2), torch.tensor([0])))
    for gamma in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="gamma must be positive"):
            result.ramp(gamma)
