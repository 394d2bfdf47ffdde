"""Plugs measurements of a network into the catalogue: from a module and data to rows of bounds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import nn

from bounds.budget import Budget
from bounds.calculus.stratification import Grid
from bounds.catalogue.assumptions import Setting, Violation
from bounds.catalogue.entry import Bound, Entry, HoldOut
from bounds.checks import check_settings, refuse_mismatch, refuse_nonfinite, refuse_outside, refuse_small
from bounds.empirical import Sides
from bounds.errors import InputError, unknown_name
from bounds.inputs import Data, as_data, check_fits, shared_samples
from bounds.inputs import measured as measured_data
from bounds.inputs.input_space import learned_inputs
from bounds.measure import data_norms, layer_norms, operator_norm, support_radius
from bounds.measure.load import NUMBER, load
from bounds.measurements import ATTACK_NORMS, LAYER_NORMS, DataMeasurement, LayerMeasurement, Measurements
from bounds.needs import Candidate, candidates, needs
from bounds.network import Segment, TracedNetwork
from bounds.network.modes import with_gradients
from bounds.plans import JacobianPlan, plan_jacobians, plan_layers
from bounds.readings import Settings
from bounds.robust_margins import RobustMargins
from bounds.rows import bound_row, empirical_risk, holdout_row, inapplicable_row
from bounds.sides import Exact, TwoSided, lower_end, upper_end
from bounds.untraced import Network, Untraced, traced, traced_or_not

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total); total 0 where unknown."""

MeasureRobust = Callable[[TracedNetwork, Sequence[float] | None, Data, Data], RobustMargins]
"""Measures robust margins, given the traced network and certified upper ends of the operator norms of a chain."""


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
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.record["notes"])
        return f"{notes}<table>{head}{''.join(map(_html_row, self.rows))}</table>"


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
    jacobian_samples: int | None = None,
    memory: Budget | str | None = None,
    seed: int = 0,
    name: str = "model",
    progress: Progress | None = None,
) -> Evaluation:
    """Every bound of the catalogue for a trained network (theory §4-§6).

    What no bound needs is measured only where it is cheap. A network that runs but cannot be traced gets the hold-out
    bounds; the other rows say why they do not apply.

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
        jacobian_samples: how many samples of each set Jacobians are measured on; if None, 1000 or, where the shapes
            say that this takes over a minute, fewer.
        memory: what each stage may take, a `Budget` or a text such as "6GiB"; a quarter of what is available if None.
        seed: of subsets and Lanczos starts.
        name: of the model, for records.
        progress: called with (stage, done, total).

    Returns:
        The table. Upper bounds, each with probability 1 - delta; raw values in log10.

    Raises:
        InputError: for data that do not fit the network, a network that does not run, is random or lets samples
            interact, bad settings, or too little memory.

    >>> x, y = torch.rand(64, 8, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2
    >>> table = evaluate(nn.Linear(8, 2, bias=False), (x, y), (x, y), keys=["golowich2018_frobenius"])
    >>> table.row("golowich2018_frobenius")["fixed_class"]["vacuous"]
    True
    """
    report = progress or (lambda stage, done, total: None)
    entries = check_settings(delta=delta, margin=margin, eps=eps, norm=norm, keys=keys, eta=eta)
    train, test = (measured_data(model, as_data(each, name=part)) for each, part in ((train, "train"), (test, "test")))
    refuse_small(train, test)
    refuse_outside(train, test)
    refuse_nonfinite(model)
    shared = shared_samples(train, test)
    memory = Budget.of(memory)
    report("tracing the network", 0, 1)
    network = traced_or_not(model, train, name)
    for data in (train, test):
        check_fits(data, network.input_shape, network.outputs, tokens=train.is_discrete)
    reference = None if init is None or isinstance(network, Untraced) else _reference(init, train, network)
    report("tracing the network", 1, 1)
    available = None if callable(robust) and isinstance(network, Untraced) else robust
    setting = Setting(len(train), norm if eps is not None else None, available is not None, train.box is not None)
    architecture = replace(network.architecture, obstacles=network.architecture.obstacles + learned_inputs(model))
    chosen = list(candidates(entries, architecture, setting, _spoilt(shared, len(test))))
    needed = needs(chosen)
    if needed.robust and callable(available) and not network.architecture.obstacles:
        needed = replace(needed, layers=needed.layers | {"s"})  # certificates of a chain use them
    layers = plan_layers(network, needed, everything=keys is None)
    measured = measure_network(network, train, reference, eps, norm, seed, report, wanted=layers.norms, memory=memory)
    if measured.failure() >= delta:
        raise InputError(f"delta = {delta:g}: not above {measured.failure():g}, what probabilistic norms already use")
    if callable(available):
        available = _robust(available, network, measured, (train, test), report) if needed.robust else None
    refuse_mismatch(available, train, test, norm, eps)
    jacobians = JacobianPlan()
    if isinstance(network, TracedNetwork):
        each, sizes = load(network, train.x[:1]), (len(train), len(test))
        jacobians = plan_jacobians(each, needed, norm, sizes, asked=jacobian_samples, everything=keys is None)
    function = network if isinstance(network, TracedNetwork) else network.forward
    sides = Sides(function, train, test, available, eps, norm, jacobians, seed, memory, report)
    settings = Settings(delta, margin, Grid(eta=eta))
    return Evaluation(
        {
            "format": "jacobound-evaluation",
            "version": 1,
            "model": {
                "name": name,
                "layers": [layer.name for layer in measured.architecture.layers],
                "parameters": sum(p.numel() for p in model.parameters()),
            },
            "data": _data_record(train, test, shared, network.outputs, measured.data),
            "settings": _settings_record(settings, sides, reference is not None, seed),
            "notes": [*network.notes, *filter(None, (_overlap(shared, len(test)), layers.note, jacobians.note))],
            "accuracy": sides.accuracy,
            "layers": [_layer_record(measured, i) for i, layer in enumerate(measured.layers) if layer.complete],
            "jacobians": sides.jacobian_summary(),
            "rows": _rows(chosen, measured, settings, sides, report),
        }
    )


def _robust(
    measure: MeasureRobust, network: Network, measured: Measurements, sets: tuple[Data, Data], report: Progress
) -> RobustMargins:
    assert isinstance(network, TracedNetwork)
    report("attacking and certifying", 0, 1)
    ends = [upper_end(layer.s) for layer in measured.layers if layer.s is not None]
    found = measure(network, ends if len(ends) == network.architecture.depth else None, *sets)
    report("attacking and certifying", 1, 1)
    return found


def measure_network(
    network: Network,
    train: Data,
    reference: TracedNetwork | None,
    eps: float | None,
    norm: str,
    seed: int,
    report: Progress,
    *,
    wanted: Collection[str] = LAYER_NORMS,
    memory: Budget | None = None,
) -> Measurements:
    """Norms of every segment, as far as wanted, and of the training inputs, typed by side (theory §7)."""
    segments = network.segments
    references: Sequence[Segment | None] = [None] * len(segments) if reference is None else reference.segments
    layers = []
    for number, (segment, origin) in enumerate(zip(segments, references, strict=True)):
        here = partial(_still, report, "measuring the layers", number, len(segments))
        here()
        layers.append(_measured_layer(segment, origin, seed, wanted, memory, here))
    report("measuring the layers", len(segments), len(segments))
    size = (memory or Budget.available()).pieces(3 * NUMBER * train.x[0].numel(), 1024, "a sample")
    norms = data_norms(train.batches(size), lambda done, total: report("measuring the data", done, len(train)))
    support = None if train.box is None else support_radius(network.input_shape, 2, train.box)
    attacked = None if train.box is None or eps is None else _support_p(network, norm, train.box)
    data = DataMeasurement(norms.n, norms.frobenius, norms.column_max, support, attacked, norms.sample_radius)
    return Measurements(
        network.architecture,
        tuple(layers),
        data,
        norm if eps is not None else None,
        eps or 0.0,
        _row_difference(network),
    )


def _still(report: Progress, stage: str, done: int, total: int, *within_step: int) -> None:
    """Progress within one step of a stage."""
    report(stage, done, total)


def _support_p(network: Network, norm: str, box: tuple[float, float]) -> Any:
    inverse = ATTACK_NORMS[norm]
    return support_radius(network.input_shape, 1 / inverse if inverse else float("inf"), box)


def _measured_layer(
    segment: Segment,
    reference: Segment | None,
    seed: int,
    wanted: Collection[str],
    memory: Budget | None,
    progress: Callable[[int, int], None],
) -> LayerMeasurement:
    s = operator_norm(segment, seed=seed, memory=memory, progress=progress) if "s" in wanted else None
    if not set(wanted) - {"s"}:
        return LayerMeasurement(s)
    norms = layer_norms(segment, reference, progress, memory)
    return LayerMeasurement(
        s=s,
        a=norms.frobenius,
        b=norms.two_one,
        g=norms.kernel_group,
        m=norms.row_sum,
        m_bias=norms.biased_row_sum,
        c=norms.offset,
        t=norms.parameter_distance,
    )


def _row_difference(network: Network) -> tuple[Exact, Exact] | None:
    """‖w‖_1 and ‖w‖_2 of the difference of the two rows of a linear network with two classes."""
    if network.architecture.depth != 1 or network.outputs != 2 or network.architecture.obstacles:
        return None
    probe = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    w = network.segments[0].adjoint(probe).flatten()
    return Exact(float(w.abs().sum())), Exact(float(w.norm()))


def _rows(
    chosen: Sequence[Candidate], measured: Measurements, settings: Settings, sides: Sides, report: Progress
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    entries = [list(group) for _, group in groupby(chosen, key=lambda candidate: candidate.entry.key)]
    for number, group in enumerate(entries):
        report("evaluating the catalogue", number, len(entries))
        rows += _collapsed([_row(candidate, measured, settings, sides) for candidate in group])
    report("evaluating the catalogue", len(entries), len(entries))
    return rows


def _row(candidate: Candidate, measured: Measurements, settings: Settings, sides: Sides) -> dict[str, Any]:
    entry, variant = candidate.entry, candidate.variant
    if candidate.reasons:
        return inapplicable_row(entry, variant, candidate.reasons)
    if isinstance(variant, HoldOut):
        return _holdout(entry, variant, settings, sides, measured.failure())
    return _applicable(entry, variant, measured, settings, sides)


def _applicable(entry: Entry, bound: Bound, measured: Measurements, settings: Settings, sides: Sides) -> dict[str, Any]:
    if bound.surrogate is None:
        sample, losses = sides.sample(bound.target), None
    else:
        sample, losses = sides.surrogate_sample(bound.surrogate)
    return bound_row(entry, bound, measured, settings, sample, empirical_risk(bound, sample, losses, sides.complete))


def _holdout(entry: Entry, variant: HoldOut, settings: Settings, sides: Sides, failure: float) -> dict[str, Any]:
    """Certificates may rest on probabilistic norms: their failure probability is taken out of delta."""
    if variant.target == "robust risk":
        assert sides.robust is not None
        certified = sides.robust.certified_test
        return holdout_row(entry, variant, len(certified), int((certified <= 0).sum()), None, settings, failure)
    errors = int((~sides.test.correct).sum())
    losses = None
    if entry.key == "holdout_bernstein":
        losses = np.clip(1 - sides.test.values.numpy() / settings.margin, 0, 1)
    return holdout_row(entry, variant, sides.m, errors, losses, settings)


def _collapsed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Variants that all fail for the same reasons say so once."""
    failed = [row for row in rows if row["status"] == "not applicable"]
    if len(failed) > 1 and len(failed) == len(rows) and all(row["reasons"] == failed[0]["reasons"] for row in rows):
        return [failed[0] | {"variant": ""}]
    return rows


def _reference(init: nn.Module, train: Data, network: TracedNetwork) -> TracedNetwork:
    """The traced initialisation, batch-norm at mean 0 and variance 1 so that it is independent of the data."""
    init = copy.deepcopy(init)
    for module in init.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
    reference = traced(init, train, "init")
    shapes = [[(s.in_shape, s.out_shape) for s in n.segments] for n in (reference, network)]
    if shapes[0] != shapes[1]:
        raise InputError("init: its layers have other shapes than the model's")
    return reference


def _overlap(shared: int, m: int) -> str:
    """A warning; empty without shared samples."""
    occur = f"{shared} of {m} held-out samples {'occurs' if shared == 1 else 'occur'} in the training set"
    return f"{occur}: do not trust the hold-out rows and the measured gaps" if shared else ""


def _spoilt(shared: int, m: int) -> list[Violation]:
    """Why hold-out bounds do not apply, if so."""
    if shared < m:
        return []
    because = f"all {m} held-out samples occur in the training set"
    return [Violation("samples that training never touched", because, "give a test set of its own")]


def _data_record(train: Data, test: Data, shared: int, classes: int, norms: DataMeasurement) -> dict[str, Any]:
    return {
        "name": train.label,
        "n": len(train),
        "m": len(test),
        "shared": shared,
        "input_shape": list(train.input_shape),
        "classes": classes,
        "units": "input units",
        "box": None if train.box is None else list(train.box),
        "sample_radius": None if norms.sample_radius is None else norms.sample_radius.value,
    }


def _settings_record(settings: Settings, sides: Sides, has_init: bool, seed: int) -> dict[str, Any]:
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
    assert isinstance(norms.s, TwoSided)
    shown = {"a": norms.a, "b": norms.b, "g": norms.g, "m": norms.m, "offset": norms.c}
    return {
        "name": layer.name,
        "kind": "convolution" if layer.convolution else "dense",
        "parameters": layer.parameters,
        "s": {"lower": lower_end(norms.s), "upper": upper_end(norms.s), "how": norms.s.upper.how},
        **{name: upper_end(side) for name, side in shown.items() if side is not None},
    }
