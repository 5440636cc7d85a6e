"""Convolution and pooling over one or two spatial axes, with the paddings of ONNX."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value

_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d}
_MAX_POOLS = {3: F.max_pool1d, 4: F.max_pool2d}
_AVERAGE_POOLS = {3: F.avg_pool1d, 4: F.avg_pool2d}

Axes = tuple[int, ...]


@dataclass(frozen=True)
class _Window:
    """Attributes of convolution and pooling; ``same`` is None, "UPPER" or "LOWER"."""

    kernel: Axes
    stride: Axes
    dilation: Axes
    begin: Axes
    end: Axes
    same: str | None


def same_padding(
    tensor: Tensor, kernel: Axes, stride: Axes, dilation: Axes, upper: bool, value: float
) -> Tensor:
    """Pad so that stride s gives ceil(size / s) results (SAME_UPPER, SAME_LOWER).

    An odd total puts the extra row or column at the end when ``upper``, else at the beginning.
    """
    pads: list[int] = []
    sizes = tensor.shape[2:]
    for size, width, step, spread in zip(sizes, kernel, stride, dilation, strict=True):
        reach = spread * (width - 1) + 1
        total = max((-(-size // step) - 1) * step + reach - size, 0)
        small = total // 2
        pads = [small, total - small, *pads] if upper else [total - small, small, *pads]
    return F.pad(tensor, pads, value=value)


def _window(call: Call, kernel: Axes) -> _Window:
    axes = len(kernel)
    stride = call.integers("strides") or (1,) * axes
    dilation = call.integers("dilations") or (1,) * axes
    pads = call.integers("pads") or (0,) * (2 * axes)
    auto = call.attribute("auto_pad", "NOTSET")
    call.require("auto_pad", "NOTSET", ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
    if not len(stride) == len(dilation) == len(pads) // 2 == axes:
        raise call.refusal(f"its strides, dilations or pads do not fit a kernel of {axes} axes")
    if auto != "NOTSET":
        pads = (0,) * (2 * axes)
    same = auto.removeprefix("SAME_") if auto.startswith("SAME_") else None
    reach = [spread * (width - 1) for spread, width in zip(dilation, kernel, strict=True)]
    if same and set(stride) == {1} and not any(total % 2 for total in reach):
        pads, same = tuple(total // 2 for total in reach) * 2, None  # the same at every size
    return _Window(kernel, stride, dilation, pads[:axes], pads[axes:], same)


def _padded(call: Call, value: Value, window: _Window, fill: float) -> Value:
    """Pad explicitly where torch's padding, the same at both ends, does not fit."""
    if window.same:
        upper = window.same == "UPPER"
        shape = (window.kernel, window.stride, window.dilation)
        return call.emit(same_padding, value, *shape, upper, fill)
    pads = _torch_pads(window.begin, window.end)
    return call.emit(F.pad, value, pads, value=fill) if any(pads) else value


def _torch_pads(begin: Sequence[int], end: Sequence[int]) -> list[int]:
    """Order pads for F.pad: last axis first, each with its beginning and end."""
    return [pad for pair in zip(reversed(begin), reversed(end), strict=True) for pad in pair]


def _conv(call: Call) -> Value:
    value, weight = call.tensor(0), call.tensor(1)
    bias = call.tensor(2) if call.optional(2) is not None else None
    if value.rank not in _CONVOLUTIONS or weight.rank != value.rank:
        raise call.refusal(f"convolutions of {value.rank - 2} spatial axes are not supported")
    kernel = tuple(weight.example.shape[2:])
    if (declared := call.integers("kernel_shape")) not in (None, kernel):
        raise call.refusal(f"kernel_shape {declared} differs from that of its weights, {kernel}")
    window = _window(call, kernel)
    groups = call.attribute("group", 1)
    padding: Axes = (0,) * len(kernel)
    if window.same is None and window.begin == window.end:
        padding = window.begin
    else:
        value = _padded(call, value, window, 0.0)
    function = _CONVOLUTIONS[value.rank]
    return call.emit(function, value, weight, bias, window.stride, padding, window.dilation, groups)


def _pool_window(call: Call, value: Value) -> _Window:
    kernel = call.integers("kernel_shape")
    if kernel is None or value.rank not in _MAX_POOLS or len(kernel) != value.rank - 2:
        raise call.refusal(
            f"pooling of {value.rank - 2} spatial axes by a kernel of {kernel} is not supported"
        )
    return _window(call, kernel)


def _ceil_mode(call: Call, window: _Window, symmetric: bool) -> bool:
    """Return True if the number of windows is rounded up; never with SAME padding."""
    ceil = bool(call.attribute("ceil_mode", 0))
    if ceil and window.same is None and not symmetric:
        # After explicit padding torch would count windows that start in the padding at the end.
        raise call.refusal("ceil_mode=1 is supported with equal pads of at most half the kernel")
    return ceil and window.same is None


def _is_symmetric(window: _Window) -> bool:
    """Return True if the padding can be left to torch's pooling."""
    fits = all(2 * pad <= width for pad, width in zip(window.begin, window.kernel, strict=True))
    return window.same is None and window.begin == window.end and fits


def _max_pool(call: Call) -> Value:
    call.require("storage_order", 0, [0])
    value = call.tensor(0)
    window = _pool_window(call, value)
    symmetric = _is_symmetric(window)
    ceil = _ceil_mode(call, window, symmetric)
    padding = window.begin
    if not symmetric:
        value = _padded(call, value, window, float("-inf"))
        padding = (0,) * len(padding)
    function = _MAX_POOLS[value.rank]
    return call.emit(function, value, window.kernel, window.stride, padding, window.dilation, ceil)


def average_without_padding(padded: Tensor, mask: Tensor, kernel: Axes, stride: Axes) -> Tensor:
    """Average over the elements of each window that ``mask`` marks with 1."""
    pool = _AVERAGE_POOLS[padded.dim()]
    return pool(padded, kernel, stride) / pool(mask, kernel, stride)


def spatial_ones(tensor: Tensor) -> Tensor:
    """Return ones of shape (1, 1, spatial axes of ``tensor``)."""
    return torch.ones_like(tensor[:1, :1])


def _average_pool(call: Call) -> Value:
    value = call.tensor(0)
    window = _pool_window(call, value)
    if set(window.dilation) != {1}:
        raise call.refusal("dilations are not supported in average pooling")
    symmetric = _is_symmetric(window)
    ceil = _ceil_mode(call, window, symmetric)
    include = bool(call.attribute("count_include_pad", 0))
    function = _AVERAGE_POOLS[value.rank]
    shape = (window.kernel, window.stride)
    if symmetric:
        return call.emit(function, value, *shape, window.begin, ceil, include)
    padded = _padded(call, value, window, 0.0)
    if include:
        return call.emit(function, padded, *shape, (0,) * len(window.kernel))
    mask = _padded(call, call.emit(spatial_ones, value), window, 0.0)
    return call.emit(average_without_padding, padded, mask, *shape)


OPERATORS: dict[str, Operator] = {
    "Conv": _conv,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
}
