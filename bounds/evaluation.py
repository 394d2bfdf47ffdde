"""Plugs measurements of a network into the catalogue: from a module and data to rows of bounds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import numpy as np
import torch
from torch import nn

from bounds import symbols
from bounds.calculus.arithmetic import Points, point
from bounds.calculus.evaluator import Evaluator
from bounds.calculus.jacobian_cover import JACOBIAN_NORMS
from bounds.calculus.stratification import Grid
from bounds.catalogue.assumptions import Setting
from bounds.catalogue.entry import Bound, Entry, HoldOut
from bounds.checks import check_settings, refuse_mismatch, refuse_nonfinite, refuse_outside, refuse_small
from bounds.errors import InputError, unknown_name
from bounds.inputs import Data, as_data, check_fits
from bounds.measure import data_norms, jacobian_norms, layer_norms, margins, operator_norm, support_radius
from bounds.measurements import ATTACK_NORMS, DataMeasurement, LayerMeasurement, Measurements
from bounds.network import Segment, TracedNetwork, TraceError, trace
from bounds.network.errors import InvalidNetwork
from bounds.network.modes import with_gradients
from bounds.readings import Settings
from bounds.robust_margins import RobustMargins
from bounds.rows import Sample, bound_row, empirical_risk, holdout_row, inapplicable_row, violations
from bounds.sides import Exact, lower_end, upper_end

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total); total 0 where unknown."""

MeasureRobust = Callable[[TracedNetwork, Sequence[float]], RobustMargins]
"""Measures robust margins, given the traced network and certified upper ends of its operator norms."""


@dataclass(frozen=True)
class Evaluation:
    """The table of bounds for one network; `record` is its JSON form (see `bounds.records`)."""

    record: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per bound and variant, hold-out rows first."""
        return list(self.record["rows"])

    def row(self, bound: str, variant: str = "") -> dict[str, Any]:
        """The row of one bound.

        Raises:
            InputError: if there is none.
        """
        for row in self.rows:
            if (row["bound"], row["variant"]) == (bound, variant):
                return row
        raise unknown_name("row", f"{bound} {variant}".strip(), (f"{r['bound']} {r['variant']}" for r in self.rows))

    def _repr_html_(self) -> str:
        head = "<tr><th>bound<th>log10 raw, fixed class<th>guaranteed<th>log10 raw, a posteriori<th>why</tr>"
        return f"<table>{head}{''.join(map(_html_row, self.rows))}</table>"


def _html_row(row: dict[str, Any]) -> str:
    fixed, posterior = row["fixed_class"], row["a_posteriori"]
    numbers = (
        (f"{fixed['raw_log10']:.2f}", f"{fixed['guaranteed']:.4g}", f"{posterior['raw_log10']:.2f}")
        if fixed and posterior
        else ("–", "–", "–")
    )
    cells = (f"{row['bound']} {row['variant']}", *numbers, row["sentence"])
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells) + "</tr>"


@with_gradients
def evaluate(
    model: nn.Module,
    train: object,
    test: object,
    *,
    init: nn.Module | None = None,
    eps: float | None = None,
    norm: str = "l2",
    robust: RobustMargins | MeasureRobust | None = None,
    margin: float = 1.0,
    delta: float = 0.05,
    eta: float = 0.05,
    keys: Sequence[str] | None = None,
    jacobian_samples: int = 1000,
    seed: int = 0,
    name: str = "model",
    progress: Progress | None = None,
) -> Evaluation:
    """Every bound of the catalogue for a trained network (theory §4-§6).

    Args:
        model: maps inputs (batch, *input_shape) to logits (batch, K); evaluated in eval mode and float64.
        train: the training sample: `Data`, a pair of tensors, a Dataset or a DataLoader. No augmented copies.
        test: samples untouched by training, selection and batch-norm statistics.
        init: the initialisation, as the reference M_i; zero if None.
        eps: attack radius, input units; None for the standard bounds only.
        norm: attack norm, "l1", "l2" or "linf".
        robust: attacked and certified margins for this attack set, or a function that measures them; without them
            robust gaps are "not measured".
        margin: gamma of the fixed-class values, logits; it must not be chosen from the data.
        delta: failure probability of each row.
        eta: step of the stratification grid.
        keys: catalogue keys; all if None.
        jacobian_samples: how many training samples Jacobians are measured on.
        seed: of subsets and Lanczos starts.
        name: of the model, for records.
        progress: called with (stage, done, total).

    Returns:
        The table. Upper bounds, each with probability 1 - delta; raw values in log10.

    Raises:
        InputError: for data that do not fit the network, a network that cannot be traced, bad settings.

    >>> x, y = torch.rand(64, 8, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2
    >>> table = evaluate(nn.Linear(8, 2, bias=False), (x, y), (x, y), keys=["golowich2018_frobenius"])
    >>> table.row("golowich2018_frobenius")["fixed_class"]["vacuous"]
    True
    """
    report = progress or (lambda stage, done, total: None)
    entries = check_settings(delta=delta, margin=margin, eps=eps, norm=norm, keys=keys, eta=eta)
    settings = Settings(delta, margin, Grid(eta=eta))
    train, test = as_data(train, name="train"), as_data(test, name="test")
    refuse_small(train, test)
    refuse_outside(train, test)
    refuse_nonfinite(model)
    report("tracing the network", 0, 1)
    network = _traced(model, train, name)
    for data in (train, test):
        check_fits(data, network.input_shape, network.outputs)
    reference = None if init is None else _reference(init, train, network)
    report("tracing the network", 1, 1)
    measured = measure_network(network, train, reference, eps, norm, seed, report)
    if measured.failure() >= delta:
        raise InputError(f"delta = {delta:g}: not above {measured.failure():g}, what probabilistic norms already use")
    if callable(robust):
        report("attacking and certifying", 0, 1)
        robust = robust(network, [upper_end(layer.s) for layer in measured.layers])
        report("attacking and certifying", 1, 1)
    refuse_mismatch(robust, train, test, norm, eps)
    sides = _Sides(network, train, test, robust, eps, norm, jacobian_samples, seed, report)
    rows = []
    for number, entry in enumerate(entries):
        report("evaluating the catalogue", number, len(entries))
        rows += _rows(entry, measured, settings, sides)
    report("evaluating the catalogue", len(entries), len(entries))
    return Evaluation(
        {
            "format": "jacobound-evaluation",
            "version": 1,
            "model": {
                "name": name,
                "layers": [layer.name for layer in measured.architecture.layers],
                "parameters": sum(p.numel() for p in model.parameters()),
            },
            "data": {
                "name": train.label,
                "n": len(train),
                "m": len(test),
                "input_shape": list(train.input_shape),
                "classes": network.outputs,
                "units": "input units",
                "box": None if train.box is None else list(train.box),
                "sample_radius": sides.sample_radius,
            },
            "settings": _settings_record(settings, sides, init is not None, seed),
            "accuracy": {"train": 1 - sides.error(sides.train), "test": 1 - sides.error(sides.test)},
            "layers": [_layer_record(measured, i) for i in range(len(measured.layers))],
            "jacobians": sides.jacobian_summary(),
            "rows": rows,
        }
    )


def measure_network(
    network: TracedNetwork,
    train: Data,
    reference: TracedNetwork | None,
    eps: float | None,
    norm: str,
    seed: int,
    report: Progress,
) -> Measurements:
    """Norms of every segment and of the training inputs, typed by side (theory §7)."""
    segments = network.segments
    references: Sequence[Segment | None] = [None] * len(segments) if reference is None else reference.segments
    layers = []
    for number, (segment, origin) in enumerate(zip(segments, references, strict=True)):
        report("measuring the layers", number, len(segments))
        layers.append(_measured_layer(segment, origin, seed))
    report("measuring the layers", len(segments), len(segments))
    norms = data_norms(train.batches(1024), lambda done, total: report("measuring the data", done, len(train)))
    support = None if train.box is None else support_radius(network.input_shape, 2, train.box)
    attacked = None if train.box is None or eps is None else _support_p(network, norm, train.box)
    data = DataMeasurement(norms.n, norms.frobenius, norms.column_max, support, attacked)
    return Measurements(
        network.architecture,
        tuple(layers),
        data,
        norm if eps is not None else None,
        eps or 0.0,
        _row_difference(network),
    )


def _support_p(network: TracedNetwork, norm: str, box: tuple[float, float]) -> Any:
    inverse = ATTACK_NORMS[norm]
    return support_radius(network.input_shape, 1 / inverse if inverse else float("inf"), box)


def _measured_layer(segment: Segment, reference: Segment | None, seed: int) -> LayerMeasurement:
    norms = layer_norms(segment, reference)
    return LayerMeasurement(
        s=operator_norm(segment, seed=seed),
        a=norms.frobenius,
        b=norms.two_one,
        g=norms.kernel_group,
        m=norms.row_sum,
        m_bias=norms.biased_row_sum,
        c=norms.offset,
        t=norms.parameter_distance,
    )


def _row_difference(network: TracedNetwork) -> tuple[Exact, Exact] | None:
    """‖w‖_1 and ‖w‖_2 of the difference of the two rows of a linear network with two classes."""
    if network.architecture.depth != 1 or network.outputs != 2 or network.architecture.obstacles:
        return None
    probe = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    w = network.segments[0].adjoint(probe).flatten()
    return Exact(float(w.abs().sum())), Exact(float(w.norm()))


class _Sides:
    """The empirical side: margins, attacked margins and surrogate losses, each measured when first needed."""

    def __init__(
        self,
        network: TracedNetwork,
        train: Data,
        test: Data,
        robust: RobustMargins | None,
        eps: float | None,
        norm: str,
        jacobian_samples: int,
        seed: int,
        report: Progress,
    ) -> None:
        self.n, self.m = len(train), len(test)
        self.box, self.eps, self.norm = train.box, eps, norm
        self.robust = robust
        self.train = margins(network, train, progress=partial(report, "margins on the training set"))
        self.test = margins(network, test, progress=partial(report, "margins on the test set"))
        self.sample_radius = data_norms(train.batches(1024)).sample_radius.value
        parts = [data.subset(min(jacobian_samples, len(data)), seed) for data in (train, test)]
        self.complete = len(parts[0]) == self.n
        self.jacobians = []
        for which, part in zip(("training", "test"), parts, strict=True):
            stage = f"Jacobians on {len(part)} {which} samples"
            norms = jacobian_norms(network, part, progress=partial(report, stage))
            losses = margins(network, part).losses
            self.jacobians.append((norms, losses))

    @staticmethod
    def error(measured: Any) -> float:
        return float(measured.error)

    def sample(self, target: str) -> Sample:
        """Margins behind a bound on this target."""
        if target == "robust risk":
            if self.robust is None:
                uncertified = np.full(self.n, -1.0)
                return Sample(uncertified, None, None, "gap not measured")
            robust = self.robust
            sizes = f"attacked, on {len(robust.attacked_test)} test and {len(robust.attacked_train)} training samples"
            return Sample(robust.certified_train, robust.attacked_train, robust.attacked_test, sizes)
        values = self.train.values.numpy()
        return Sample(values, values, self.test.values.numpy(), f"on {self.m} test and {self.n} training samples")

    def surrogate_sample(self, surrogate: str) -> tuple[Sample, np.ndarray]:
        """Surrogate losses, nats, on the subsets that Jacobians were measured on."""
        losses = [self._surrogate(surrogate, norms, loss) for norms, loss in self.jacobians]
        sizes = f"on {len(losses[1])} test and {len(losses[0])} training samples"
        return Sample(self.train.values.numpy(), losses[0], losses[1], sizes), losses[0]

    def _surrogate(self, surrogate: str, norms: Any, losses: torch.Tensor) -> np.ndarray:
        inverse = ATTACK_NORMS[self.norm]
        q = 1 / (1 - inverse) if inverse < 1 else float("inf")
        by_name = {
            "margin": norms.margins[q],
            "spectral": norms.spectral,
            "frobenius": norms.frobenius,
            "row-sum": norms.row_sum,
            "entrywise": norms.entrywise_l1,
        }
        values = {symbols.epsilon: point.mpf(self.eps or 0.0)}
        factor = float(Evaluator((), values, 1, Points())(JACOBIAN_NORMS[surrogate].coefficient))
        result: np.ndarray = (losses + factor * by_name[surrogate]).numpy()
        return result

    def jacobian_summary(self) -> dict[str, Any]:
        """Means over the training subset (estimates of nothing but that subset; exact to rounding per sample)."""
        norms, _ = self.jacobians[0]
        named = {
            "spectral": norms.spectral,
            "frobenius": norms.frobenius,
            "entrywise_l1": norms.entrywise_l1,
            "row_sum": norms.row_sum,
            "margin_l2": norms.margins[2],
        }
        return {
            "samples": len(norms.spectral),
            **{key: {"mean": float(v.mean()), "max": float(v.max())} for key, v in named.items()},
        }


def _rows(entry: Entry, measured: Measurements, settings: Settings, sides: _Sides) -> list[dict[str, Any]]:
    data = measured.data
    setting = Setting(data.n, measured.attack_norm, sides.robust is not None, data.support is not None)
    rows: list[dict[str, Any]] = []
    for variant in entry.variants:
        if isinstance(variant, HoldOut):
            rows += _holdout(entry, variant, settings, sides, measured.failure())
            continue
        if variant.surrogate and setting.attack_norm not in (None, *JACOBIAN_NORMS[variant.surrogate].attack):
            continue  # a surrogate for another attack norm
        reasons = violations(variant, measured.architecture, setting)
        if reasons:
            rows.append(inapplicable_row(entry, variant, reasons))
            continue
        rows.append(_applicable(entry, variant, measured, settings, sides))
    return _collapsed(rows)


def _applicable(
    entry: Entry, bound: Bound, measured: Measurements, settings: Settings, sides: _Sides
) -> dict[str, Any]:
    if bound.surrogate is None:
        sample, losses = sides.sample(bound.target), None
    else:
        sample, losses = sides.surrogate_sample(bound.surrogate)
    return bound_row(entry, bound, measured, settings, sample, empirical_risk(bound, sample, losses, sides.complete))


def _holdout(entry: Entry, variant: HoldOut, settings: Settings, sides: _Sides, failure: float) -> list[dict[str, Any]]:
    """Certificates may rest on probabilistic norms: their failure probability is taken out of delta."""
    if variant.target == "robust risk":
        if sides.robust is None:
            return []
        certified = sides.robust.certified_test
        errors = int((certified <= 0).sum())
        return [holdout_row(entry, variant, len(certified), errors, None, settings, failure)]
    errors = int((~sides.test.correct).sum())
    losses = None
    if entry.key == "holdout_bernstein":
        losses = np.clip(1 - sides.test.values.numpy() / settings.margin, 0, 1)
    return [holdout_row(entry, variant, sides.m, errors, losses, settings)]


def _collapsed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Variants that all fail for the same reasons say so once."""
    failed = [row for row in rows if row["status"] == "not applicable"]
    if len(failed) > 1 and len(failed) == len(rows) and all(row["reasons"] == failed[0]["reasons"] for row in rows):
        return [failed[0] | {"variant": ""}]
    return rows


def _traced(module: nn.Module, data: Data, name: str) -> TracedNetwork:
    try:
        return trace(module, data.x[:2].to(torch.float32))
    except (TraceError, InvalidNetwork) as error:
        raise type(error)(f"{name}, on {data.name}: {error}") from error


def _reference(init: nn.Module, train: Data, network: TracedNetwork) -> TracedNetwork:
    """The traced initialisation, batch-norm at mean 0 and variance 1 so that it is independent of the data."""
    init = copy.deepcopy(init)
    for module in init.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    reference = _traced(init, train, "init")
    shapes = [[(s.in_shape, s.out_shape) for s in n.segments] for n in (reference, network)]
    if shapes[0] != shapes[1]:
        raise InputError("init: its layers have other shapes than the model's")
    return reference


def _settings_record(settings: Settings, sides: _Sides, has_init: bool, seed: int) -> dict[str, Any]:
    attack = None
    if sides.eps is not None:
        box = sides.robust.box if sides.robust is not None else None
        attack = {"norm": sides.norm, "eps": sides.eps, "box": None if box is None else list(box)}
    return {
        "delta": settings.delta,
        "eta": settings.grid.eta,
        "t0": settings.grid.t0,
        "t_min": settings.grid.t_min,
        "margin": settings.margin,
        "reference": "init" if has_init else "zero",
        "attack_set": attack,
        "seed": seed,
    }


def _layer_record(measured: Measurements, position: int) -> dict[str, Any]:
    layer, norms = measured.architecture.layers[position], measured.layers[position]
    return {
        "name": layer.name,
        "kind": "convolution" if layer.convolution else "dense",
        "parameters": layer.parameters,
        "s": {"lower": lower_end(norms.s), "upper": upper_end(norms.s), "how": norms.s.upper.how},  # type: ignore[union-attr]
        "a": upper_end(norms.a),
        "b": upper_end(norms.b),
        "g": upper_end(norms.g),
        "m": upper_end(norms.m),
        "offset": upper_end(norms.c),
    }
