"""Convolution and pooling over one or two spatial axes, with the paddings of ONNX.

The functions have the inputs and attributes of their operators as parameters.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Operator, operator_of

_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d}
_MAX_POOLS = {3: F.max_pool1d, 4: F.max_pool2d}
_AVERAGE_POOLS = {3: F.avg_pool1d, 4: F.avg_pool2d}

Axes = tuple[int, ...]


class _Window(NamedTuple):
    """Steps of a window and the padding before and after each spatial axis.

    ``fixed`` says whether the padding is the same for all sizes of images.
    """

    strides: Axes
    dilations: Axes
    begin: Axes
    end: Axes
    fixed: bool


def _window(
    tensor: Tensor, kernel: Axes, strides: Axes, dilations: Axes, pads: Axes, auto_pad: str
) -> _Window:
    axes = len(kernel)
    strides, dilations = strides or (1,) * axes, dilations or (1,) * axes
    pads = pads or (0,) * (2 * axes)
    if tensor.dim() != axes + 2 or axes not in (1, 2):
        raise ValueError(f"windows of {axes} axes over {tensor.dim() - 2} are not supported")
    if not len(strides) == len(dilations) == len(pads) // 2 == axes:
        raise ValueError(f"strides, dilations or pads do not fit a kernel of {axes} axes")
    if auto_pad == "NOTSET":
        return _Window(strides, dilations, pads[:axes], pads[axes:], True)
    if auto_pad == "VALID":
        return _Window(strides, dilations, (0,) * axes, (0,) * axes, True)
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad={auto_pad!r} is not supported")
    # A window of stride s gives ceil(size / s) results.
    totals = [
        max((-(-size // step) - 1) * step + spread * (width - 1) + 1 - size, 0)
        for size, width, step, spread in zip(
            tensor.shape[2:], kernel, strides, dilations, strict=True
        )
    ]
    small = tuple(total // 2 for total in totals)
    large = tuple(total - total // 2 for total in totals)
    ends = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    return _Window(strides, dilations, *ends, set(strides) == {1})


def _padded(tensor: Tensor, window: _Window, fill: float) -> Tensor:
    pads = [pad for ends in zip(window.begin[::-1], window.end[::-1], strict=True) for pad in ends]
    return F.pad(tensor, pads, value=fill) if any(pads) else tensor


def conv(
    tensor: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    auto_pad: str = "NOTSET",
    dilations: Axes = (),
    group: int = 1,
    kernel_shape: Axes = (),
    pads: Axes = (),
    strides: Axes = (),
) -> Tensor:
    """Convolve as Conv-11 does."""
    kernel = tuple(weight.shape[2:])
    if kernel_shape not in ((), kernel):
        raise ValueError(f"kernel_shape {kernel_shape} differs from that of its weights, {kernel}")
    window = _window(tensor, kernel, strides, dilations, pads, auto_pad)
    padding = window.begin
    if not window.fixed or window.begin != window.end:
        tensor, padding = _padded(tensor, window, 0.0), (0,) * len(kernel)
    function = _CONVOLUTIONS[tensor.dim()]
    return function(tensor, weight, bias, window.strides, padding, window.dilations, group)


def _own_padding(window: _Window, kernel: Axes, ceil_mode: int) -> bool:
    """Return True if the padding can be left to torch's pooling."""
    fits = all(2 * pad <= width for pad, width in zip(window.begin, kernel, strict=True))
    own = window.fixed and window.begin == window.end and fits
    if ceil_mode and not own:
        # After explicit padding torch would count windows that start in the padding at the end.
        raise ValueError("ceil_mode=1 is supported with equal pads of at most half the kernel")
    return own


def _max_pool(
    tensor: Tensor,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Axes = (),
    kernel_shape: Axes = (),
    pads: Axes = (),
    storage_order: int = 0,
    strides: Axes = (),
) -> Tensor:
    if storage_order:
        raise ValueError("storage_order=1 is not supported")
    window = _window(tensor, kernel_shape, strides, dilations, pads, auto_pad)
    if auto_pad.startswith("SAME"):  # The windows fit exactly.
        ceil_mode = 0
    padding = window.begin
    if not _own_padding(window, kernel_shape, ceil_mode):
        tensor, padding = _padded(tensor, window, float("-inf")), (0,) * len(padding)
    function, ceil = _MAX_POOLS[tensor.dim()], bool(ceil_mode)
    pooled: Tensor = function(tensor, kernel_shape, window.strides, padding, window.dilations, ceil)
    return pooled


def _average_pool(
    tensor: Tensor,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Axes = (),
    kernel_shape: Axes = (),
    pads: Axes = (),
    strides: Axes = (),
) -> Tensor:
    if set(dilations) - {1}:
        raise ValueError("dilations are not supported in average pooling")
    window = _window(tensor, kernel_shape, strides, (), pads, auto_pad)
    if auto_pad.startswith("SAME"):
        ceil_mode = 0
    pool, steps, include = _AVERAGE_POOLS[tensor.dim()], window.strides, bool(count_include_pad)
    if _own_padding(window, kernel_shape, ceil_mode):
        return pool(tensor, kernel_shape, steps, window.begin, bool(ceil_mode), include)
    average = pool(_padded(tensor, window, 0.0), kernel_shape, steps)
    if include:
        return average
    inside = _padded(torch.ones_like(tensor[:1, :1]), window, 0.0)
    return average / pool(inside, kernel_shape, steps)


OPERATORS: dict[str, Operator] = {
    "Conv": operator_of(conv),
    "MaxPool": operator_of(_max_pool),
    "AveragePool": operator_of(_average_pool),
}
