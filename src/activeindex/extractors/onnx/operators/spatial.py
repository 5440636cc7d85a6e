"""Convolution and pooling over one or two spatial axes, and resizing of two.

The functions have the inputs and attributes of their operators as parameters. Of Resize there is as
much as torch has the same arithmetic for.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from activeindex.extractors.onnx.tracing import Call, Operator, Value, operator_of

_CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d}
_MAX_POOLS = {3: F.max_pool1d, 4: F.max_pool2d}
_AVERAGE_POOLS = {3: F.avg_pool1d, 4: F.avg_pool2d}

_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda source: (source - 0.5).ceil(),
    "round_prefer_ceil": lambda source: (source + 0.5).floor(),
    "floor": torch.floor,
    "ceil": torch.ceil,
}

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
    strides: Axes = (),
) -> Tensor:
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


def _spatial(call: Call, numbers: Any, axes: Axes | None, image: Value) -> Any:
    """Pick the numbers of axes 2 and 3 and refuse a change of the others."""
    shape = numbers.example if isinstance(numbers, Value) else numbers
    axes = tuple(range(4)) if axes is None else tuple(axis % 4 for axis in axes)
    if len(shape) != len(axes):
        raise call.refusal(f"{len(shape)} scales or sizes do not fit axes {axes}")
    if not {2, 3} <= set(axes):
        raise call.refusal(f"resizing axes {axes} is not supported, expected 2 and 3")
    for axis, number in zip(axes, shape, strict=True):
        kept = (1.0, image.example.shape[axis]) if isinstance(number, int) else (1.0,)
        if axis < 2 and number not in kept and axis != 0:
            raise call.refusal("resizing channels is not supported (is the image NHWC here?)")
    return call.emit(pick, numbers, axes) if isinstance(numbers, Value) else pick(numbers, axes)


def pick(numbers: tuple[Any, ...], axes: Axes) -> tuple[Any, ...]:
    """Return the numbers that belong to axes 2 and 3."""
    return tuple(numbers[axes.index(axis)] for axis in (2, 3))


def resize_nearest(
    tensor: Tensor, sizes: Any, scales: Any, coordinates: str, rounding: str
) -> Tensor:
    """Nearest neighbour with the coordinate transforms and roundings of Resize-19."""
    for axis in (2, 3):
        size = tensor.shape[axis]
        scale = sizes[axis - 2] / size if scales is None else scales[axis - 2]
        length = int(size * scale) if sizes is None else sizes[axis - 2]
        index = torch.arange(length, device=tensor.device, dtype=torch.float32)
        if coordinates == "align_corners":
            source = index * (size - 1) / max(length - 1, 1)
        elif coordinates == "asymmetric":
            source = index / scale
        elif coordinates == "pytorch_half_pixel" and length == 1:
            source = index * 0
        else:
            source = (index + 0.5) / scale - 0.5
        nearest = _ROUNDINGS[rounding](source).clamp(0, size - 1)
        tensor = tensor.index_select(axis, nearest.to(torch.int64))
    return tensor


def _resize(call: Call) -> Value:
    value = call.tensor(0)
    if value.rank != 4:
        raise call.refusal(f"resizing of {value.rank} axes is not supported, expected 4")
    mode = call.require("mode", "nearest", ["nearest", "linear", "cubic"])
    coordinates = call.require("coordinate_transformation_mode", "half_pixel", _COORDINATES)
    rounding = call.require("nearest_mode", "round_prefer_floor", list(_ROUNDINGS))
    cubic_a = call.attribute("cubic_coeff_a", -0.75)
    axes = call.integers("axes")
    scales = sizes = None
    if (given := call.optional(3)) is not None:
        sizes = _spatial(call, call.sizes(given, "sizes"), axes, value)
    elif (given := call.optional(2)) is not None:
        scales = _spatial(call, call.sizes(given, "scales"), axes, value)
    else:
        raise call.refusal("it has neither scales nor sizes")
    if mode == "nearest":
        return call.emit(resize_nearest, value, sizes, scales, coordinates, rounding)
    if coordinates == "asymmetric":
        raise call.refusal(f"mode={mode!r} with coordinates 'asymmetric' is not supported")
    if mode == "cubic" and cubic_a != -0.75:
        raise call.refusal(f"cubic_coeff_a={cubic_a} is not supported, expected -0.75")
    smooth, align = f"bi{mode}", coordinates == "align_corners"
    return call.emit(F.interpolate, value, sizes, scales, mode=smooth, align_corners=align)


OPERATORS: dict[str, Operator] = {
    "Conv": operator_of(conv),
    "MaxPool": operator_of(_max_pool),
    "AveragePool": operator_of(_average_pool),
    "Resize": _resize,
}
