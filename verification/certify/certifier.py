"""Certificates for a network: every route that applies, the best of all leads, and more work where it is worth it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bounds.budget import COMFORTABLE, Budget
from bounds.errors import InputError, unknown_name
from bounds.measure import operator_norm
from bounds.network import TracedNetwork, trace
from bounds.network.modes import with_gradients
from bounds.network.nonlinear import Activation, Nonlinear
from bounds.sides import failure_probability, upper_end
from verification.attack_set import AttackSet
from verification.certify import max_pool
from verification.certify.branching import branched, can_branch
from verification.certify.certificate import Certificate, loss_of_lead, nothing
from verification.certify.direct import direct_cap
from verification.certify.enclosure import Enclosure, Interval, enclose, refuse_opaque
from verification.certify.jacobian_range import CHANGES, changes, mean_value_range
from verification.certify.lipschitz import lipschitz_lead
from verification.certify.optimised import activations, optimised_lead
from verification.certify.relaxation import PIECEWISE_LINEAR, Relaxation
from verification.certify.rivals import Rivals
from verification.certify.rounding import sums
from verification.certify.routes import BATCH, SECONDS, Planner, Routes
from verification.certify.second_order import second_order, why_not_second_order
from verification.certify.work import Work, to_nobody

EFFORTS = tuple(SECONDS)

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
    memory: Budget | str | None = None,
) -> Certified:
    """Certify a torch module on some samples: traces it, measures its operator norms, takes every route that fits.

    Args:
        module: logits of a batch of inputs; looked at in eval mode and float64.
        x: inputs, (n, *shape), input units.
        y: labels, (n,), int64.
        norm: "l2", "linf" or "l1".
        eps: radius, input units.
        box: valid input values; None for the plain ball.
        effort: "quick", "standard" or "thorough", see `Certifier.certify`.
        memory: what it may take, as "6GiB"; a quarter of what is available by default.

    Returns:
        Side: upper bound of the robust loss, lower bound of the worst-case margin.

    Raises:
        InputError: for a bad norm, radius, box, effort, memory or label, or an opaque layer.
        TraceError: if the module cannot be traced.

    >>> linear = nn.Linear(2, 2).double()
    >>> linear.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    >>> linear.bias.data.zero_()
    tensor([0., 0.], dtype=torch.float64)
    >>> found = certify(linear, torch.zeros(1, 2), torch.tensor([0]), "l2", 0.5, box=None)
    >>> round(found.margin.item(), 9)  # -0.5·‖(3, -4)‖, as the attack finds
    -2.5
    """
    budget = Budget.of(memory)
    certifier = Certifier.measured(trace(module, x[:2]), budget=budget)
    return certifier.certify(x, y, AttackSet(norm, eps, box), effort=effort)


class Certifier:
    """Certificates for the samples of one network.

    Args:
        network: the traced network.
        s_upper: certified upper ends of the operator norms of a chain's layers, for the routes that use global
            constants; None leaves those routes out.
        failure: probability that one of these norms is wrong.
        budget: memory that a certificate may take; a quarter of what is available by default.

    Raises:
        InputError: if the network has an opaque layer; names it. If the intervals of one sample do not fit.
    """

    def __init__(
        self,
        network: TracedNetwork,
        s_upper: Sequence[float] | None = None,
        failure: float = 0.0,
        budget: Budget | None = None,
    ) -> None:
        refuse_opaque(network)
        self.network, self.failure = network, failure
        self.budget = budget or Budget.available()
        self.s_upper = None if network.architecture.obstacles else s_upper
        self.relaxation = Relaxation(network, min(self.budget.memory, COMFORTABLE) // 8)
        applicable = {"jacobian interval", "jacobian relaxation"}
        applicable |= {"second order"} if why_not_second_order(network) is None else set()
        applicable |= {"lipschitz"} if self.s_upper is not None else set()
        applicable |= {"optimised slopes"} if activations(self.relaxation) else set()
        applicable |= {"branching"} if can_branch(self.relaxation) else set()
        self._planner = Planner(network, self.relaxation.costs, self.budget, frozenset(applicable))
        self._at_once(1)

    @classmethod
    def measured(cls, network: TracedNetwork, seed: int = 0, budget: Budget | None = None) -> Certifier:
        """A certifier that knows the operator norms of a chain's layers.

        The norms' upper ends may be probabilistic; `failure` is the probability that one of them is wrong.

        Args:
            network: without opaque layers.
            seed: seed of the norm estimates.
            budget: memory that a certificate may take.

        Raises:
            InputError: if the network has an opaque layer; names it.
        """
        refuse_opaque(network)
        if network.architecture.obstacles:
            return cls(network, budget=budget)
        norms = [operator_norm(segment, seed=seed) for segment in network.segments]
        return cls(network, [upper_end(norm) for norm in norms], sum(map(failure_probability, norms)), budget)

    def routes(self, norm: str, effort: str) -> Routes:
        """What is done per sample, and what is left out because it does not fit.

        Raises:
            InputError: for an unknown effort.
        """
        if effort not in EFFORTS:
            raise unknown_name("effort", effort, EFFORTS)
        return self._planner.routes(norm, effort)

    @with_gradients
    def certify(
        self,
        x: Tensor,
        y: Tensor,
        attack_set: AttackSet,
        *,
        goals: Tensor | None = None,
        effort: str = "standard",
        batch: int = BATCH,
        tell: Callable[[str], None] = to_nobody,
    ) -> Certified:
        """Upper bounds of the robust loss and lower bounds of the worst-case margin.

        Args:
            x: inputs, (n, *input_shape), input units.
            y: labels, (n,).
            attack_set: the perturbations.
            goals: losses worth certifying, (n, m), nats; refinement of a sample stops at the smallest one, and
                needs none if it is +inf. Without goals every sample is refined.
            effort: "quick": no refinement; "standard": optimised slopes; "thorough": also branching. Of this, what
                fits into the time that the effort allows a sample by estimate; see `routes`.
            batch: samples at a time; fewer where the budget does not hold them.
            tell: called often, with what is being done.

        Raises:
            InputError: for an unknown effort, an input outside the box, a label out of range.
        """
        routes, work = self.routes(attack_set.norm, effort), Work.within(self.budget, tell)
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.network.outputs:
            raise InputError(
                f"labels from {int(y.min())} to {int(y.max())}: the network has {self.network.outputs} classes"
            )
        wanted = torch.full((len(x),), -math.inf) if goals is None else goals.amin(dim=1)
        at_once = self._at_once(batch)
        batches = zip(x.double().split(at_once), y.split(at_once), wanted.split(at_once), strict=True)
        with torch.no_grad():
            parts = [_Batch(self, routes, attack_set, work).certify(*each) for each in batches]
        return Certified(
            torch.cat([part.margin for part in parts]),
            torch.cat([part.loss for part in parts]),
            tuple(route for part in parts for route in part.routes),
            {route: torch.cat([part.losses[route] for part in parts]) for route in parts[0].losses},
        )

    def _at_once(self, batch: int) -> int:
        """How many samples' intervals the budget holds, at most a batch."""
        return self.budget.pieces(2 * self.relaxation.costs.state, batch, "certifying one sample")


@dataclass(frozen=True)
class _Batch:
    """Some samples on their way through the routes.

    Attributes:
        certifier: of the network.
        routes: what is to be done.
        attack_set: the perturbations.
        work: what may be held, and who is told.
    """

    certifier: Certifier
    routes: Routes
    attack_set: AttackSet
    work: Work

    def certify(self, x: Tensor, y: Tensor, goal: Tensor) -> Certified:
        """The best certificates; refinement stops at the goals."""
        enclosure = enclose(self.network, x, self.attack_set, self._tighten, self.work)
        rivals = Rivals.chosen(enclosure, y, self.routes.classes)
        found = self._without_refinement(enclosure, rivals)
        for route, refine in (("optimised slopes", self._optimised), ("branching", self._branched)):
            if route in self.routes.taken:
                open_samples = (_best(found, y).loss > goal) & (goal < math.inf)
                found[route] = refine(found, enclosure, rivals, open_samples, goal)
        return _best(found, y)

    @property
    def network(self) -> TracedNetwork:
        return self.certifier.network

    @property
    def relaxation(self) -> Relaxation:
        return self.certifier.relaxation

    def _tighten(self, enclosure: Enclosure, node: int) -> Interval:
        """The interval of hidden units by relaxation; for l1 attacks and narrow layers also by the mean value.

        An l1 attack moves few inputs, each by much: the range of a single derivative says more than lines do.
        """
        low, high = enclosure.values[node]
        if node in self.routes.hidden:
            low, high = self.relaxation.tighten(enclosure, node)
        if node in self.routes.by_mean_value:
            below, above = mean_value_range(enclosure, node)
            jumps = _may_jump(enclosure).reshape(-1, *(1,) * (low.dim() - 1))
            low = torch.maximum(low, below.masked_fill(jumps, -math.inf))
            high = torch.minimum(high, above.masked_fill(jumps, math.inf))
        return low, high

    def _without_refinement(self, enclosure: Enclosure, rivals: Rivals) -> dict[str, Certificate]:
        """The routes that every sample takes."""
        y, taken = rivals.y, self.routes.taken
        nowhere = nothing(enclosure.x, self.network.outputs, y)
        found = {"interval": Certificate(rivals.low, nowhere.cap)}
        relaxed = rivals.low
        if "relaxation" in taken:
            relaxed = rivals.among_all(self.relaxation.lead(enclosure, rivals.rows))
            found["relaxation"] = Certificate(relaxed, direct_cap(self.relaxation, enclosure, rivals, relaxed))
        jumps = _may_jump(enclosure)[:, None]
        for route, lead in self._by_jacobian(enclosure, rivals).items():
            lead = rivals.among_all(lead.masked_fill(jumps, -math.inf))
            found[route] = Certificate(lead, nowhere.cap)
        if "second order" in taken:
            to_second_order = second_order(enclosure, y, self.certifier.s_upper).masked_fill(jumps[:, 0], math.inf)
            found["second order"] = Certificate(nowhere.lead, to_second_order)
        affine = _is_affine(enclosure)[:, None]
        found["linear piece"] = Certificate(torch.where(affine, relaxed, nowhere.lead), nowhere.cap)
        if "lipschitz" in taken:
            assert self.certifier.s_upper is not None
            found["lipschitz"] = lipschitz_lead(self.network, self.certifier.s_upper, enclosure.x, y, self.attack_set)
        return found

    def _by_jacobian(self, enclosure: Enclosure, rivals: Rivals) -> dict[str, Tensor]:
        """Leads of the chosen classes by the mean value inequality, (n, R) per route."""
        routes = [route for route in CHANGES if route in self.routes.taken]
        if not routes:
            return {}
        # z_y - z_k at x from below: relaxation on the single point x
        at_x = self.relaxation.lead(enclosure.at_x(), rivals.rows).masked_fill(rivals.classes == rivals.y[:, None], 0.0)
        leads = {}
        for route, change in changes(enclosure, rivals.y, rivals.classes, routes).items():
            lead = at_x - change
            leads[route] = lead - sums(2) * lead.abs()
        return leads

    def _optimised(
        self, found: dict[str, Certificate], enclosure: Enclosure, rivals: Rivals, chosen: Tensor, goal: Tensor
    ) -> Certificate:
        refined = nothing(enclosure.x, self.network.outputs, rivals.y)
        for samples in chosen.nonzero()[:, 0].split(self.routes.refined_at_once):
            if len(samples):
                some, theirs = enclosure.subset(samples), rivals.subset(samples)
                lead = theirs.among_all(optimised_lead(self.relaxation, some, theirs.rows))
                lead = torch.maximum(lead, found["relaxation"].lead[samples])
                refined.lead[samples] = lead
                refined.cap[samples] = direct_cap(self.relaxation, some, theirs, lead)
        return refined

    def _branched(
        self, found: dict[str, Certificate], enclosure: Enclosure, rivals: Rivals, chosen: Tensor, goal: Tensor
    ) -> Certificate:
        refined = nothing(enclosure.x, self.network.outputs, rivals.y)
        best = torch.stack([certificate.lead for certificate in found.values()]).amax(dim=0)
        for one in chosen.nonzero():
            sample, theirs = enclosure.subset(one), rivals.subset(one)
            leaves = branched(self.relaxation, sample, theirs.rows, theirs.of(best[one]), float(goal[one]))
            refined.lead[one], refined.cap[one] = theirs.among_all(leaves.lead), theirs.with_the_others(leaves.cap)
        return refined


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
