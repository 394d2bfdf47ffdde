"""From a module to torch's exported graph, with all that does not depend on the input evaluated."""

from __future__ import annotations

import io
import linecache
import logging
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from bounds.network.adapted import Adapted
from bounds.network.batch_size import of_batch_size
from bounds.network.checks import DISCONNECTED
from bounds.network.decompositions import DECOMPOSITIONS
from bounds.network.errors import InvalidNetwork, TraceError
from bounds.network.nodes import evaluate, in_double
from bounds.network.operators import Shape
from bounds.network.origin import function_name

# What the exporter raises for a network that runs: its own errors are RuntimeErrors, the others come from
# forward meeting a symbolic tensor.
REFUSALS = (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, LookupError)


# Operations that are the same before and after decomposition, which takes longer than the export itself.
PLAIN = frozenset(
    "adaptive_avg_pool2d avg_pool2d conv1d conv2d dropout elu flatten gelu leaky_relu linear max_pool2d relu reshape"
    " sigmoid silu softplus sym_size tanh view".split()
)


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported graph.

    Attributes:
        module: the module it comes from.
        input: the node of the network's input.
        output: the node whose value the network returns.
        nodes: all nodes in order of execution.
        constants: values of the nodes that do not depend on the input; tensors in float64.
        precision: the coarsest floating type on the way (autocast, casts in forward).
    """

    module: nn.Module
    input: fx.Node
    output: fx.Node
    nodes: tuple[fx.Node, ...]
    constants: Mapping[fx.Node, Any]
    precision: torch.dtype

    def is_tensor(self, node: fx.Node) -> bool:
        """Whether the node is one tensor that depends on the input (not a size, not a tuple)."""
        return (
            isinstance(node.meta.get("val"), Tensor) and node not in self.constants and node not in self.of_batch_size
        )

    @cached_property
    def of_batch_size(self) -> Mapping[fx.Node, Tensor | None]:
        """The nodes that depend on the batch size only; their value for one sample where all have the same."""
        return of_batch_size(self.input, self.nodes, self.constants)

    @cached_property
    def repeated(self) -> Mapping[fx.Node, Tensor]:
        """Values for one sample of the nodes that are the same for every sample."""
        return {node: value for node, value in self.of_batch_size.items() if value is not None}

    def shape(self, node: fx.Node) -> Shape | None:
        """Shape without the batch; None unless the first axis is the batch and the others are fixed."""
        sizes = node.meta["val"].shape
        if len(sizes) == 0 or not is_batch(sizes[0], self.input.meta["val"].shape[0]):
            return None
        fixed = [size if isinstance(size, int) else size.node.expr for size in sizes[1:]]
        return tuple(map(int, fixed)) if all(isinstance(size, int) or size.is_Integer for size in fixed) else None


def export(module: Adapted, pair: Tensor) -> Exported:
    """Exports a module in eval mode.

    Args:
        module: in eval mode, wrapped to return logits.
        pair: two inputs, of shape (2, *input_shape).

    Raises:
        TraceError: when the exporter refuses the module; says where.
    """
    program = _program(module, pair)
    nodes = tuple(program.graph.nodes)
    name = program.graph_signature.user_inputs[0]
    entry = next(node for node in nodes if node.name == name)
    output = next(node for node in nodes if node.name == program.graph_signature.user_outputs[0])
    constants = _constants(program, nodes)
    for node in nodes:
        _leave_wrapper(node)
    exported = Exported(module.module, entry, output, nodes, constants, _coarsest(nodes))
    if not exported.is_tensor(output):
        raise InvalidNetwork(DISCONNECTED)
    return exported


def _leave_wrapper(node: fx.Node) -> None:
    """Names modules as the user does: the adapted module is the root of their paths."""
    stack = list(node.meta.get("nn_module_stack", {}).items())[1:]
    node.meta["nn_module_stack"] = {
        key: (path.removeprefix("module").removeprefix("."), kind) for key, (path, kind) in stack
    }


def _coarsest(nodes: tuple[fx.Node, ...]) -> torch.dtype:
    """The floating type with the fewest digits among the values; float32 may stand for float64, which runs here."""
    values = (node.meta.get("val") for node in nodes)
    types = {value.dtype for value in values if isinstance(value, Tensor) and value.is_floating_point()}
    coarsest = max(types, key=lambda dtype: torch.finfo(dtype).eps)
    return coarsest if torch.finfo(coarsest).eps > torch.finfo(torch.float32).eps else torch.float64


def is_batch(size: Any, batch: torch.SymInt) -> bool:
    """Whether a size of a tensor is the batch size (compared as symbols, which adds no guard)."""
    return isinstance(size, torch.SymInt) and size.node.expr == batch.node.expr


def _program(module: nn.Module, pair: Tensor) -> ExportedProgram:
    try:
        with _silence():
            sizes = ({0: Dim("b", min=1)},)
            exported = torch.export.export(module, (pair,), dynamic_shapes=sizes)
            if all(function_name(node) in PLAIN for node in exported.graph.nodes if node.op == "call_function"):
                return exported
            program: ExportedProgram = exported.run_decompositions(DECOMPOSITIONS)
            return program
    except REFUSALS as error:
        raise TraceError(_cause(error)) from error


def _constants(program: ExportedProgram, nodes: tuple[fx.Node, ...]) -> dict[fx.Node, Any]:
    """Parameters and buffers, and every step that uses only them (weight-norm, for one)."""
    stored = {**program.constants, **program.state_dict}
    targets = {
        spec.arg.name: stored[spec.target]
        for spec in program.graph_signature.input_specs
        if spec.kind is not InputKind.USER_INPUT and spec.target in stored and hasattr(spec.arg, "name")
    }
    constants: dict[fx.Node, Any] = {}
    with torch.no_grad():
        for node in nodes:
            if node.op == "placeholder" and node.name in targets:
                constants[node] = _float64(targets[node.name])
            elif node.op == "call_function" and all(source in constants for source in node.all_input_nodes):
                constants[node] = evaluate(node, constants)
    return constants


def _float64(value: Any) -> Any:
    return in_double(value.detach().to("cpu", copy=True)) if isinstance(value, Tensor) else value


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter's warnings and log lines concern its own developers."""
    threshold = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
                yield
    finally:
        logging.disable(threshold)


def _cause(error: Exception) -> str:
    """One line: what the exporter objects to, and the line of the network that it points at."""
    text = str(error)
    if "Constraints violated" in text:
        return (
            "the network works for one batch size only: in forward, take the batch size from x.shape[0] "
            "(not from len(x) or a number)"
        )
    if "data-dependent" in text.lower() or "data dependent" in text.lower():
        what = "control flow depends on the input's values"
    else:
        what = f"the network cannot be exported: {text.strip().splitlines()[0] if text.strip() else error!r}"
    return f"{what}{_place(error)}"


def _place(error: Exception) -> str:
    """The innermost line of the network's own code in the traceback."""
    torch_folder = str(Path(torch.__file__).parent)
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if not file.startswith(torch_folder) and file != __file__:
            line = linecache.getline(file, number).strip()
            return f", in {frame.f_code.co_qualname} ({Path(file).name}, line {number}{line and ': '}{line})"
    return ""
