"""What keeps a network from being a chain of layers and known nonlinearities, why, and what would help."""

from __future__ import annotations

from collections.abc import Sequence

from bounds.activations import DEFINITIONS
from bounds.architecture import Obstacle, in_words
from bounds.network.moves import MOVES
from bounds.network.nodes import Add, Concatenate, Node, Opaque
from bounds.network.nonlinear import Nonlinear

_KNOWN = f"use one of {', '.join(DEFINITIONS)}"
_PRODUCT = ("a product of values that both depend on the input", "join branches by sums or concatenations")
_NORMALISATION = (
    "a normalisation by statistics of the input",
    "use batch-norm, whose statistics are constants in eval mode",
)
_ATTENTION = ("a softmax inside the network, as in attention", "use convolutions and dense layers")
_RECURRENT = ("recurrent, with products of values that depend on the input", "use convolutions and dense layers")
_DISCRETE = ("a comparison, rounding or sorting of values", "use functions that are Lipschitz")
_COMPLEX = ("a Fourier transform or complex numbers", "write it as a product with a constant matrix")
_WINDOWS = ("a max-pool whose windows differ", "use a max-pool with windows of one size")
_ACTIVATION = ("an elementwise activation whose constants are not in the package", _KNOWN)
_MOVE = (
    "a move of entries that depends on the input, mixes samples or interleaves branches",
    "move entries by constants, and join branches by sums or concatenations",
)
_UNKNOWN = ("an operation that is not known", f"use affine layers and max-pools; as activation, {_KNOWN}")

_REASONS: dict[str, tuple[str, str]] = {
    # classes of modules, whose steps would tell less
    **dict.fromkeys("GRU GRUCell LSTM LSTMCell RNN RNNCell".split(), _RECURRENT),
    **dict.fromkeys(
        "MultiheadAttention Transformer TransformerEncoderLayer TransformerDecoderLayer".split(), _ATTENTION
    ),
    **dict.fromkeys("LocalResponseNorm GroupNorm LayerNorm RMSNorm CrossMapLRN2d".split(), _NORMALISATION),
    # torch's operations
    **dict.fromkeys("gru lstm rnn_tanh rnn_relu gru_cell lstm_cell rnn_tanh_cell rnn_relu_cell".split(), _RECURRENT),
    **dict.fromkeys(
        "scaled_dot_product_attention softmax _softmax log_softmax _log_softmax _safe_softmax logsumexp".split(),
        _ATTENTION,
    ),
    **dict.fromkeys(
        "layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm _fused_rms_norm norm"
        " linalg_vector_norm linalg_norm var std var_mean std_mean rsqrt".split(),
        _NORMALISATION,
    ),
    **dict.fromkeys(
        "mul multiply div divide true_divide matmul mm bmm einsum tensordot inner dot bilinear _trilinear glu"
        " addcdiv cumprod prod outer conv1d conv2d conv3d linear".split(),
        _PRODUCT,
    ),
    **dict.fromkeys(
        "gt ge lt le eq ne round floor ceil trunc frac sign sgn heaviside sort argsort topk kthvalue median argmax"
        " argmin embedding bucketize unique floor_divide remainder fmod logical_and logical_or logical_not isnan"
        " nonzero".split(),
        _DISCRETE,
    ),
    **dict.fromkeys("view_as_real view_as_complex complex polar angle real imag stft".split(), _COMPLEX),
    **dict.fromkeys(
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d"
        " fractional_max_pool3d".split(),
        _WINDOWS,
    ),
    **dict.fromkeys(
        "abs acos asin atan celu clamp clamp_max clamp_min cos cosh elu erf exp exp2 expm1 hardshrink hardsigmoid"
        " hardswish hardtanh leaky_relu log log1p log2 log10 log_sigmoid logit mish pow prelu reciprocal relu6 rrelu"
        " selu sin sinc sinh softplus softshrink sqrt square tan threshold xlogy".split(),
        _ACTIVATION,
    ),
    **dict.fromkeys(MOVES, _MOVE),
}


def obstacles(nodes: Sequence[Node]) -> list[Obstacle]:
    """Everything that keeps a network from being a chain, in order of execution."""
    return list(dict.fromkeys(filter(None, map(_in_the_middle, nodes)))) + _ends(nodes)


def why_not_bounded(nodes: Sequence[Node]) -> str | None:
    """The layers whose formula is not known, in one sentence; None if there are none.

    >>> import torch
    >>> from bounds.network import trace
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Mish(), torch.nn.Linear(2, 2))
    >>> why_not_bounded(trace(network, torch.zeros(1, 2)).nodes)[:80]
    '1 (Mish): an elementwise activation whose constants are not in the package; use '
    """
    found = [_opaque(node.operation) for node in nodes if isinstance(node.operation, Opaque)]
    return in_words(list(dict.fromkeys(found))) if found else None


def _in_the_middle(node: Node) -> Obstacle | None:
    if isinstance(node.operation, Add | Concatenate):
        why, remedy = "chain bounds do not cover joins", "use a network without skip connections and concatenations"
        return Obstacle("join", node.name, why, remedy)
    return _opaque(node.operation) if isinstance(node.operation, Opaque) else None


def _opaque(operation: Opaque) -> Obstacle:
    reasons = (
        _COMPLEX if function.startswith(("fft_", "_fft")) else _REASONS.get(function)
        for function in operation.functions
    )
    return Obstacle("opaque", operation.name, *next(filter(None, reasons), _UNKNOWN))


def _ends(nodes: Sequence[Node]) -> list[Obstacle]:
    """What keeps the network from starting and ending with an affine layer."""
    found = []
    first, last = nodes[min(1, len(nodes) - 1)], nodes[-1]
    if isinstance(first.operation, Nonlinear) or len(nodes) == 1:
        found.append(Obstacle("ends", first.name, "no affine layer comes before it", "start with an affine layer"))
    if isinstance(last.operation, Nonlinear):
        found.append(Obstacle("ends", last.name, "no affine layer comes after it", "end with an affine layer"))
    return found
