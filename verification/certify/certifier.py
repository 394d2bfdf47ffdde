"""Certificates for a network: every route that applies, the best of all leads, and more work where it is worth it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.errors import InputError, unknown_name
from bounds.measure import operator_norm
from bounds.network import Segment, TracedNetwork, trace
from bounds.network.modes import with_gradients
from bounds.network.nonlinear import Activation, Nonlinear
from bounds.sides import failure_probability, upper_end
from verification.attack_set import AttackSet
from verification.certify import max_pool
from verification.certify.branching import branched, can_branch
from verification.certify.certificate import Certificate, loss_of_lead, nothing
from verification.certify.direct import direct_cap
from verification.certify.enclosure import Enclosure, Interval, enclose, refuse_opaque
from verification.certify.jacobian_range import changes, mean_value_range
from verification.certify.lipschitz import lipschitz_lead
from verification.certify.optimised import activations, optimised_lead
from verification.certify.relaxation import PIECEWISE_LINEAR, Functionals, Relaxation
from verification.certify.rounding import centred, gamma, outwards, sums
from verification.certify.second_order import second_order, why_not_second_order

NARROW = 512  # units of a layer up to which each gets a backward pass of intervals

EFFORTS = ("quick", "standard", "thorough")

# Every route with what it is and where it comes from; a sample's route is the one that gave its bound.
ROUTES = {
    "interval": "interval arithmetic up to the last layer, which is taken exactly (Gowal et al. 2018), with the hidden"
    " units' intervals of the relaxation",
    "relaxation": "backward linear relaxation of every margin (CROWN, Zhang et al. 2018), and of the loss as a whole"
    " (our derivation)",
    "optimised slopes": "the same with the free lines chosen by gradient ascent (alpha-CROWN, Xu et al. 2021)",
    "branching": "branch and bound on the signs of the worst hidden units (ReLU, leaky ReLU; Bunel et al. 2020, with"
    " the multipliers of beta-CROWN, Wang et al. 2021)",
    "jacobian interval": "mean value inequality with the Jacobian's interval over the set (theory L2.3)",
    "jacobian relaxation": "mean value inequality with a relaxation of the derivative (theory L2.3; our derivation)",
    "second order": "first order at the sample plus a bound of the second derivatives over the set (theory L2.4, L2.5,"
    " sharpened by our derivations; smooth networks)",
    "linear piece": "no unit can cross a kink on the set, so that the network is affine there and every surrogate that"
    " is at least R_lin is proved (theory L2.2)",
    "lipschitz": "global Lipschitz constants of the layers before the last (chains)",
    "combined": "the best margin bounds of several routes together",
}


@dataclass(frozen=True)
class Certified:
    """The best certificate per sample, float64, rounding included.

    Attributes:
        margin: lower bound of the worst-case margin, (n,), logits; -inf where nothing is certified.
        loss: upper bound of the robust cross-entropy, (n,), nats; +inf where nothing is certified.
        routes: which route gave the loss; "combined" where the best leads of several beat each of them.
        losses: the loss by route, (n,) each; +inf where a route does not apply. "linear piece" is finite exactly
            where no unit can cross a kink, so that the network is affine on the attack set (theory L2.2).
    """

    margin: Tensor
    loss: Tensor
    routes: tuple[str, ...]
    losses: dict[str, Tensor]


@with_gradients
def certify(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    norm: str,
    eps: float,
    *,
    box: tuple[float, float] | None = (0.0, 1.0),
    effort: str = "standard",
) -> Certified:
    """Certify a torch module on some samples: traces it, measures its operator norms, takes every route.

    Args:
        module: logits of a batch of inputs; looked at in eval mode and float64.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        norm: "l2", "linf" or "l1".
        eps: radius, input units.
        box: valid input values; None for the plain ball.
        effort: "quick", "standard" or "thorough", see `Certifier.certify`.

    Returns:
        Side: upper bound of the robust loss, lower bound of the worst-case margin.

    Raises:
        InputError: for a bad norm, radius, box, effort or label, or an opaque layer.
        TraceError: if the module cannot be traced.

    >>> linear = nn.Linear(2, 2).double()
    >>> linear.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    >>> linear.bias.data.zero_()
    tensor([0., 0.], dtype=torch.float64)
    >>> found = certify(linear, torch.zeros(1, 2), torch.tensor([0]), "l2", 0.5, box=None)
    >>> round(found.margin.item(), 9)  # -0.5·‖(3, -4)‖, as the attack finds
    -2.5
    """
    return Certifier.measured(trace(module, x[:2])).certify(x, y, AttackSet(norm, eps, box), effort=effort)


class Certifier:
    """Certificates for the samples of one network.

    Args:
        network: the traced network.
        s_upper: certified upper ends of the operator norms of a chain's layers, for the routes that use global
            constants; None leaves those routes out.
        failure: probability that one of these norms is wrong.

    Raises:
        InputError: if the network has an opaque layer; names it.
    """

    def __init__(self, network: TracedNetwork, s_upper: Sequence[float] | None = None, failure: float = 0.0) -> None:
        refuse_opaque(network)
        self.network, self.failure = network, failure
        self.s_upper = None if network.architecture.obstacles else s_upper
        self.relaxation = Relaxation(network)
        self.smooth = why_not_second_order(network) is None

    @classmethod
    def measured(cls, network: TracedNetwork, seed: int = 0) -> Certifier:
        """A certifier that knows the operator norms of a chain's layers.

        The norms' upper ends may be probabilistic; `failure` is the probability that one of them is wrong.

        Args:
            network: without opaque layers.
            seed: seed of the norm estimates.

        Raises:
            InputError: if the network has an opaque layer; names it.
        """
        refuse_opaque(network)
        if network.architecture.obstacles:
            return cls(network)
        norms = [operator_norm(segment, seed=seed) for segment in network.segments]
        return cls(network, [upper_end(norm) for norm in norms], sum(map(failure_probability, norms)))

    @with_gradients
    def certify(
        self,
        x: Tensor,
        y: Tensor,
        attack_set: AttackSet,
        *,
        goals: Tensor | None = None,
        effort: str = "standard",
        batch: int = 16,
    ) -> Certified:
        """Upper bounds of the robust loss and lower bounds of the worst-case margin.

        Args:
            x: inputs, (n, *input_shape), input units.
            y: labels, (n,).
            attack_set: the perturbations.
            goals: losses worth certifying, (n, m), nats; refinement of a sample stops at the smallest one, and
                needs none if it is +inf. Without goals every sample is refined.
            effort: "quick": no refinement; "standard": optimised slopes; "thorough": also branching.
            batch: samples at a time, which bounds the memory.

        Raises:
            InputError: for an unknown effort, an input outside the box, a label out of range.
        """
        if effort not in EFFORTS:
            raise unknown_name("effort", effort, EFFORTS)
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.network.outputs:
            raise InputError(
                f"labels from {int(y.min())} to {int(y.max())}: the network has {self.network.outputs} classes"
            )
        wanted = torch.full((len(x),), -math.inf) if goals is None else goals.amin(dim=1)
        batches = zip(x.double().split(batch), y.split(batch), wanted.split(batch), strict=True)
        with torch.no_grad():
            parts = [self._certify(inputs, labels, attack_set, goal, effort) for inputs, labels, goal in batches]
        return Certified(
            torch.cat([part.margin for part in parts]),
            torch.cat([part.loss for part in parts]),
            tuple(route for part in parts for route in part.routes),
            {route: torch.cat([part.losses[route] for part in parts]) for route in parts[0].losses},
        )

    def _certify(self, x: Tensor, y: Tensor, attack_set: AttackSet, goal: Tensor, effort: str) -> Certified:
        enclosure = enclose(self.network, x, attack_set, self._tighten)
        rows = _lead_rows(self.network, y)
        found = self._routes(enclosure, y, rows)
        if effort == "quick" or not activations(self.relaxation):
            return _best(found, y)
        open_samples = (_best(found, y).loss > goal) & (goal < math.inf)
        found["optimised slopes"] = self._optimised(found, enclosure, rows, y, open_samples)
        if effort == "thorough" and can_branch(self.relaxation):
            open_samples = (_best(found, y).loss > goal) & (goal < math.inf)
            found["branching"] = self._branched(found, enclosure, rows, y, open_samples, goal)
        return _best(found, y)

    def _tighten(self, enclosure: Enclosure, node: int) -> Interval:
        """The interval of hidden units by relaxation; for l1 attacks and narrow layers also by the mean value.

        An l1 attack moves few inputs, each by much: the range of a single derivative says more than lines do.
        """
        low, high = self.relaxation.tighten(enclosure, node)
        if enclosure.attack_set.norm == "l1" and low[0].numel() <= NARROW:
            below, above = mean_value_range(enclosure, node)
            jumps = _may_jump(enclosure).reshape(-1, *(1,) * (low.dim() - 1))
            low = torch.maximum(low, below.masked_fill(jumps, -math.inf))
            high = torch.minimum(high, above.masked_fill(jumps, math.inf))
        return low, high

    def _routes(self, enclosure: Enclosure, y: Tensor, rows: Tensor) -> dict[str, Certificate]:
        """The routes that every sample takes."""
        nowhere = nothing(enclosure.x, self.network.outputs, y)
        no_cap = nowhere.cap
        relaxed = self._zero_at(self.relaxation.minimum(enclosure, self._output, Functionals(rows)), y)
        found = {"interval": Certificate(self._zero_at(_interval_lead(enclosure, rows), y), no_cap)}
        found["relaxation"] = Certificate(relaxed, direct_cap(self.relaxation, enclosure, y, relaxed))
        at_x = self._zero_at(self._lead_at(enclosure.x, rows), y)
        jumps = _may_jump(enclosure)[:, None]
        for route, change in changes(enclosure, y).items():
            lead = (at_x - change).masked_fill(jumps, -math.inf)
            found[route] = Certificate(self._zero_at(lead - sums(2) * lead.abs(), y), no_cap)
        if self.smooth:
            to_second_order = second_order(enclosure, y, self.s_upper).masked_fill(jumps[:, 0], math.inf)
            found["second order"] = Certificate(nowhere.lead, to_second_order)
        affine = _is_affine(enclosure)[:, None]
        found["linear piece"] = Certificate(torch.where(affine, relaxed, nowhere.lead), no_cap)
        if self.s_upper is not None:
            found["lipschitz"] = lipschitz_lead(self.network, self.s_upper, enclosure.x, y, enclosure.attack_set)
        return found

    def _optimised(
        self, found: dict[str, Certificate], enclosure: Enclosure, rows: Tensor, y: Tensor, chosen: Tensor
    ) -> Certificate:
        refined = nothing(enclosure.x, self.network.outputs, y)
        if not bool(chosen.any()):
            return refined
        some = enclosure.subset(chosen)
        lead = self._zero_at(optimised_lead(self.relaxation, some, rows[chosen]), y[chosen])
        lead = torch.maximum(lead, found["relaxation"].lead[chosen])
        refined.lead[chosen] = lead
        refined.cap[chosen] = direct_cap(self.relaxation, some, y[chosen], lead)
        return refined

    def _branched(
        self,
        found: dict[str, Certificate],
        enclosure: Enclosure,
        rows: Tensor,
        y: Tensor,
        chosen: Tensor,
        goal: Tensor,
    ) -> Certificate:
        refined = nothing(enclosure.x, self.network.outputs, y)
        for i in chosen.nonzero()[:, 0].tolist():
            one = slice(i, i + 1)
            best = torch.stack([certificate.lead[one] for certificate in found.values()]).amax(dim=0)
            sample = enclosure.subset(torch.tensor([i]))
            leaves = branched(self.relaxation, sample, rows[one], best, float(goal[i]))
            refined.lead[one], refined.cap[one] = self._zero_at(leaves.lead, y[one]), leaves.cap
        return refined

    @property
    def _output(self) -> int:
        return len(self.network.nodes) - 1

    def _lead_at(self, x: Tensor, rows: Tensor) -> Tensor:
        """z_y - z_k at x from below: relaxation on the single point x."""
        point = AttackSet("linf", 0.0)
        return self.relaxation.minimum(enclose(self.network, x, point), self._output, Functionals(rows))

    def _zero_at(self, lead: Tensor, y: Tensor) -> Tensor:
        return lead.scatter(1, y[:, None], 0.0)


def _lead_rows(network: TracedNetwork, y: Tensor) -> Tensor:
    """e_y - e_k, (n, K, K)."""
    unit = torch.eye(network.outputs, dtype=torch.float64)
    return unit[y][:, None] - unit[None]


def _interval_lead(enclosure: Enclosure, rows: Tensor) -> Tensor:
    """Lower bounds of z_y - z_k from the interval before the last segment (or of the output)."""
    last = enclosure.network.nodes[-1]
    if not isinstance(last.operation, Segment):
        centre, radius = (end.flatten(1)[:, :, None] for end in centred(*enclosure.values[-1]))
        lowest = (rows @ centre - rows.abs() @ radius)[:, :, 0]
        return outwards(lowest, lowest, rows.shape[2])[0]
    segment = last.operation
    coefficients = segment.adjoint(rows.flatten(0, 1)).reshape(*rows.shape[:2], -1)
    centre, radius = (end.flatten(1)[:, :, None] for end in centred(*enclosure.values[last.inputs[0]]))
    sizes = enclosure.magnitudes[len(enclosure.values) - 1].flatten(1)[:, :, None]
    slack = (2 * gamma(segment) + sums(coefficients.shape[2] + rows.shape[2])) * (rows.abs() @ sizes)
    lowest = rows @ segment.offset.flatten()[:, None] + coefficients @ centre - coefficients.abs() @ radius - slack
    return outwards(lowest[:, :, 0], lowest[:, :, 0])[0]


def _is_affine(enclosure: Enclosure) -> Tensor:
    """Where no unit can cross a kink and no max-pool can change its winner on the attack set, (n,) bool."""
    affine = torch.ones(len(enclosure.x), dtype=torch.bool)
    for position, node in enumerate(enclosure.network.nodes):
        if not isinstance(node.operation, Nonlinear):
            continue
        for number, part in enumerate(node.operation.parts):
            low, high = enclosure.parts[position, number]
            if not isinstance(part, Activation):
                affine &= (max_pool.rivals(part, low, high).sum(dim=-1) == 1).flatten(1).all(dim=1)
            elif part.key in PIECEWISE_LINEAR:
                # Strictly above: where a unit is 0 at x, torch's J(x), and with it S, takes the slope on the left.
                affine &= ((low > 0) | (high <= 0)).flatten(1).all(dim=1)
            else:
                return torch.zeros_like(affine)
    return affine


def _may_jump(enclosure: Enclosure) -> Tensor:
    """Where a softplus may cross torch's threshold: it drops by log(1 + e^-20)/beta, which no derivative shows."""
    jumps = torch.zeros(len(enclosure.x), dtype=torch.bool)
    for (position, number), (_, high) in enclosure.parts.items():
        operation = enclosure.network.nodes[position].operation
        assert isinstance(operation, Nonlinear)
        part = operation.parts[number]
        if isinstance(part, Activation) and part.key == "softplus":
            jumps |= (high * dict(part.parameters).get("beta", 1.0) > 20).flatten(1).any(dim=1)
    return jumps


def _best(found: dict[str, Certificate], y: Tensor) -> Certified:
    losses = {route: certificate.loss for route, certificate in found.items()}
    lead = torch.stack([certificate.lead for certificate in found.values()]).amax(dim=0)
    single, index = torch.stack(list(losses.values())).min(dim=0)
    loss = torch.minimum(loss_of_lead(lead), single)
    names = list(losses)
    combined = loss < single - sums(lead.shape[1] + 10) * 4 * (1 + single.abs())
    routes = tuple("combined" if both else names[i] for both, i in zip(combined.tolist(), index.tolist(), strict=True))
    return Certified(Certificate(lead, loss).margin(y), loss, routes, losses)
