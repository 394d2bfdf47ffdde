"""From an exported graph to the nodes of a traced network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import fx

from bounds.network.exporting import Exported
from bounds.network.heads import find_head
from bounds.network.lowering import Lowered, Primitive, lower
from bounds.network.nodes import Add, Concatenate, Input, Node, Opaque
from bounds.network.nonlinear import Activation, MaxPool, Nonlinear
from bounds.network.operators import Operation, Pad, Rearrange, Reshape, Shape
from bounds.network.origin import calls, function_name, label
from bounds.network.segment import Segment

Region = Callable[[fx.Node], str | None]


@dataclass(frozen=True, eq=False)
class Part:
    """What one or more merged steps amount to.

    Attributes:
        lowered: the operation and the steps whose values it takes.
        labels: the steps' names with their weight: modules 2, functions 1, mere moves of entries 0.
    """

    lowered: Lowered
    labels: tuple[tuple[int, str], ...]

    @property
    def primitives(self) -> tuple[Primitive, ...]:
        """The primitive operations; none for a join or an opaque region."""
        operation = self.lowered.operation
        return operation if isinstance(operation, tuple) else ()

    @property
    def is_affine(self) -> bool:
        """Whether these are affine operations (the primitives of a part are all affine or all not)."""
        return isinstance(self.primitives[0], Operation)


def build(exported: Exported) -> tuple[Node, ...]:
    """The nodes in order of execution, the input first; consecutive affine (nonlinear) steps are one node."""
    shape = exported.shape(exported.input)
    assert shape is not None
    position = {exported.input: 0}
    nodes = [Node(Input(shape), ())]
    for step, part in _merged(_parts(exported)).items():
        inputs = tuple(position[source] for source in part.lowered.inputs)
        position[step] = len(nodes)
        in_shape = exported.shape(part.lowered.inputs[0]) or ()
        operation = _operation(part, in_shape, _join_place(exported, step, nodes), nodes[inputs[0]].name)
        nodes.append(Node(operation, inputs))
    return tuple(nodes)


def _parts(exported: Exported) -> dict[fx.Node, Part]:
    """The parts that the output needs, in order of execution, without identities; the output comes last."""
    lowered = {
        step: lower(exported, step)
        for step in exported.nodes
        if exported.is_tensor(step) and step is not exported.input
    }
    unknown = {step for step, found in lowered.items() if found is None}
    region = _regions(exported, unknown)

    def source(step: fx.Node) -> fx.Node:
        found = lowered.get(step)
        is_identity = found is not None and found.operation == () and region(step) is None
        return source(found.inputs[0]) if found is not None and is_identity else step

    parts: dict[fx.Node, Part] = {}
    waiting = [source(exported.output)]
    while waiting:
        step = waiting.pop()
        if step is exported.input or step in parts:
            continue
        found = lowered[step]
        if found is None or region(step) is not None:
            found = _opaque(exported, step, region, unknown)
        inputs = tuple(source(node) for node in found.inputs)
        parts[step] = Part(replace(found, inputs=inputs), (_label(exported, step, found),))
        waiting += inputs
    return {step: parts[step] for step in exported.nodes if step in parts}


def _regions(exported: Exported, unknown: set[fx.Node]) -> Region:
    """The opaque region of a step: the module call with something unknown in it, the step alone, or none."""
    modules, alone, (head, after) = set(), set(), find_head(exported)
    for step in unknown.difference(head):
        inside = calls(step)
        if inside and inside[-1].is_one_thing(exported.module):
            modules.add(inside[-1].key)
        else:
            alone.add(step)

    def region(step: fx.Node) -> str | None:
        if step in head or (step in after and step not in unknown):  # stands alone, for it may have to be left out
            return head[0].name if step in head else None
        outermost = next((call.key for call in calls(step) if call.key in modules), None)
        return step.name if outermost is None and step in alone else outermost

    return region


def _opaque(exported: Exported, step: fx.Node, region: Region, unknown: set[fx.Node]) -> Lowered:
    """The steps of a region that `step` needs, as one operation."""
    arguments: set[fx.Node] = set()
    needed = {step}
    waiting = [step]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source in exported.constants or source in exported.repeated or source in needed:
                continue
            if exported.is_tensor(source) and (source is exported.input or region(source) != region(step)):
                arguments.add(source)
            else:
                needed.add(source)
                waiting.append(source)
    inputs = tuple(node for node in exported.nodes if node in arguments)
    steps = tuple(node for node in exported.nodes if node in needed)
    used = {node for member in steps for node in member.all_input_nodes}
    constants = {node: value for node, value in exported.constants.items() if node in used}
    repeated = {node: value for node, value in exported.repeated.items() if node in used}
    inside = calls(step)
    call = next((call for call in inside if call.key == region(step)), None)
    if call is None and inside and inside[-1].kind.startswith("torch.nn."):  # a head
        call = inside[-1]
    functions = tuple(dict.fromkeys(function_name(node) for node in steps if node in unknown))
    kind = call.kind.rpartition(".")[2] if call else ""
    name = f"{call.path} ({kind})" if call else label(exported.module, step)
    return Lowered(Opaque(name, (kind, *functions), inputs, steps, constants, repeated), inputs)


def _merged(parts: dict[fx.Node, Part]) -> dict[fx.Node, Part]:
    """Merges a part with the one before if both are of one kind and nothing else uses what is in between."""
    uses = Counter(source for part in parts.values() for source in part.lowered.inputs)
    merged: dict[fx.Node, Part] = {}
    for step, part in parts.items():
        source = part.lowered.inputs[0]
        before = merged.get(source)
        joined = before and before.primitives and part.primitives and before.is_affine == part.is_affine
        if before and joined and uses[source] == 1:
            del merged[source]
            lowered = Lowered(before.primitives + part.primitives, before.lowered.inputs)
            part = Part(lowered, before.labels + part.labels)
        merged[step] = part
    return merged


def _label(exported: Exported, step: fx.Node, found: Lowered) -> tuple[int, str]:
    operation = found.operation
    if isinstance(operation, tuple) and all(isinstance(move, Pad | Rearrange | Reshape) for move in operation):
        return 0, label(exported.module, step)
    inside = calls(step)
    is_module = bool(inside) and inside[-1].is_one_thing(exported.module)
    return 2 if is_module else 1, label(exported.module, step)


def _join_place(exported: Exported, step: fx.Node, nodes: list[Node]) -> str:
    """Where a join is: the submodule whose forward has it, else the layer that was executed last."""
    inside = calls(step)
    if inside and inside[-1].path:
        return f"in {inside[-1].path}"
    layers = [node.name for node in nodes if isinstance(node.operation, Segment | Opaque)]
    return f"after {layers[-1] if layers else nodes[0].name}"


def _readable(name: str) -> str:
    """Numbers alone, as in a Sequential, do not read as the name of a layer."""
    return name if any(character.isalpha() for character in name) else f"layer {name}"


def _operation(
    part: Part, in_shape: Shape, join_place: str, before: str
) -> Segment | Nonlinear | Add | Concatenate | Opaque:
    """The finished operation of a part, named for messages."""
    operation = part.lowered.operation
    if isinstance(operation, Add):
        return replace(operation, name=f"residual join {join_place}")
    if isinstance(operation, Concatenate):
        return replace(operation, name=f"concatenation {join_place}")
    if isinstance(operation, Opaque):
        return operation
    if part.is_affine:
        heaviest = max(weight for weight, _ in part.labels)
        names = dict.fromkeys(name for weight, name in part.labels if weight == heaviest)
        return Segment(_readable("+".join(names)), tuple(op for op in operation if isinstance(op, Operation)))
    functions = tuple(op for op in operation if isinstance(op, Activation | MaxPool))
    keys = "+".join("max-pool" if isinstance(op, MaxPool) else op.key for op in functions)
    return Nonlinear(f"{keys} after {before}", functions, in_shape)
