"""Values of a graph under translation, and the builder that folds or emits them.

Every ONNX operator is translated by a function that calls :meth:`Call.emit` with functions of
torch. When all arguments are known at load time the function is run at once (constant folding);
otherwise it becomes a node of a :class:`torch.fx.Graph`, and is run on the ``meta`` device, so that
the rank, the type and a probe size of every value are known to the operators that follow.

Three kinds of value exist: constants (a real tensor), tensors computed from the image, and *sizes*:
numbers computed from shapes, which stay Python numbers at run time so that shape arithmetic
costs nothing on a device and can be traced by ``torch.compile``.
"""

import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves, tree_map_only

from activeindex.errors import InputError
from activeindex.extractors.onnx.graph import GraphNode, ImageGraph

Number = int | float
Sizes = Number | tuple[Number, ...]

#: Images in the probe: two, so that a batch of one baked into the graph is noticed.
PROBE_BATCH = 2
#: Height and width of the probe where the graph leaves them free.
PROBE_SIZE = 224

_LARGEST = 1 << 30
"""Most numbers in a tensor that is computed from the probe's images."""

LONGEST = 1 << 20
"""Most sizes in a list."""

_WITHOUT_EFFECT = frozenset({"extrapolation_value", "momentum", "ratio", "saturate", "seed"})
"""Attributes of training, and of types and modes that are refused by themselves."""

_NEUTRAL: dict[str, Sequence[Any]] = {
    "antialias": (0,),
    "block_size": (0,),
    "exclude_outside": (0,),
    "keep_aspect_ratio_policy": ("stretch",),
    "output_dtype": (0, 1, 10, 16),  # Floats of any width are the network's.
    "precision": (0, 1),
    "qk_matmul_output_mode": (0,),
    "softcap": (0.0,),
    "softmax_precision": (1,),
    "stash_type": (1,),
    "storage_order": (0,),
    "training_mode": (0,),
}
"""Attributes that are supported with values that need no translation."""

T = TypeVar("T")


@dataclass(frozen=True)
class Quantisation:
    """Scale and zero point of a quantised activation, which stays in real units."""

    scale: float
    zero_point: int


@dataclass(frozen=True, eq=False)
class Value:
    """An edge of the graph.

    Attributes:
        example: The constant itself; for a computed tensor a ``meta`` tensor of its type and of
            the probe's shape; for sizes their numbers in the probe.
        node: The fx node that computes it, or None for a constant.
        quantisation: Set between QuantizeLinear and DequantizeLinear.
    """

    example: Any
    node: fx.Node | None = None
    quantisation: Quantisation | None = None

    @property
    def is_constant(self) -> bool:
        """True if the value is known at load time."""
        return self.node is None

    @property
    def is_sizes(self) -> bool:
        """True if the value is Python numbers computed from shapes."""
        return not isinstance(self.example, Tensor)

    @property
    def rank(self) -> int:
        """Number of axes."""
        if isinstance(self.example, Tensor):
            return self.example.dim()
        return 1 if isinstance(self.example, tuple) else 0


class Builder:
    """Builder of the fx graph and of the constants that it reads.

    Args:
        source: The ONNX graph, for its path, opset and input.
    """

    def __init__(self, source: ImageGraph) -> None:
        self.source = source
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        image = source.image
        size = (image.height or PROBE_SIZE, image.width or PROBE_SIZE)
        shape = (3, *size) if image.layout == "NCHW" else (*size, 3)
        example = torch.empty(PROBE_BATCH, *shape, device="meta")
        self.image = Value(example, self.graph.placeholder("image"))
        stored = sum(tensor.numel() for tensor in source.initialisers.values())
        self._folded, self._most_folded = 0, (1 << 26) + 16 * stored
        self._attributes: dict[int, tuple[Value, fx.Node]] = {}

    def emit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Value:
        """Run ``function`` if all its arguments are constant, else add it to the graph."""
        values = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Value)]
        examples = tree_map_only(Value, operator.attrgetter("example"), (args, kwargs))
        probes, options = tree_map_only(Tensor, operator.methodcaller("to", "meta"), examples)
        with torch.device("meta"):  # Shapes first: a file may ask for terabytes.
            probe = function(*probes, **options)
        if all(value.is_constant for value in values):
            self._folded += probe.numel() if isinstance(probe, Tensor) else 1
            if self._folded > self._most_folded:
                raise ValueError(f"computes constants of more than {self._most_folded:,} values")
            result = function(*examples[0], **examples[1])
            return Value(result if isinstance(result, Tensor) else torch.tensor(result))
        if isinstance(probe, Tensor):
            if probe.numel() > _LARGEST:
                raise ValueError(f"gives {tuple(probe.shape)} for {PROBE_BATCH} images, too large")
        else:
            numbers = tree_leaves(probe)
            if len(numbers) > LONGEST or not all(abs(number) < 1 << 63 for number in numbers):
                raise ValueError(f"makes {len(numbers):,} sizes, too many or too large")
        nodes, options = tree_map_only(Value, self._reference, (args, kwargs))
        return Value(probe, self.graph.call_function(function, nodes, options))

    def _reference(self, value: Value) -> fx.Node:
        if value.node is not None:
            return value.node
        known = self._attributes.get(id(value))
        if known is None:
            name = f"constant_{len(self.constants)}"
            # Expanded or transposed views would be registered with their whole storage.
            self.constants[name] = value.example.contiguous()
            with self.graph.inserting_after(self.image.node):
                known = (value, self.graph.get_attr(name))
            self._attributes[id(value)] = known  # keeps the value alive, hence its id unique
        return known[1]


@dataclass
class Call:
    """One node of the ONNX graph under translation.

    Attributes:
        builder: Where operations go.
        node: The record of the node.
        inputs: Its input values, None where left out.
    """

    builder: Builder
    node: GraphNode
    inputs: Sequence[Value | None]
    _read: set[str] = field(default_factory=set)

    @property
    def opset(self) -> int:
        """Version of the operator set."""
        return self.builder.source.opset

    @property
    def title(self) -> str:
        """Beginning of messages: the file, the node and its operator."""
        return f"{self.builder.source.path}: node {self.node.name!r} ({self.node.operator})"

    def refusal(self, reason: str) -> InputError:
        """Make an error that names the file, the node, its operator and the reason."""
        return InputError(f"{self.title}: {reason}")

    def emit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Value:
        """Apply a function of torch to values and plain arguments."""
        return self.builder.emit(function, *args, **kwargs)

    def options(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return the attributes that are parameters of a function, checked by defaults."""
        if not self.node.attributes:
            return {}
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError:  # Functions of torch that are written in C++.
            return {}
        return {
            it.name: self.attribute(it.name, None if it.default is it.empty else it.default)
            for it in parameters
            if it.name in self.node.attributes
        }

    def input(self, position: int) -> Value:
        """Return a required input."""
        value = self.optional(position)
        if value is None:
            raise self.refusal(f"input {position} is missing")
        return value

    def optional(self, position: int) -> Value | None:
        """Return an input, or None if it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def tensors(self) -> list[Value | None]:
        """Return all inputs as tensors; see :meth:`as_tensor`."""
        return [None if value is None else self.as_tensor(value) for value in self.inputs]

    def tensor(self, position: int) -> Value:
        """Return a required input as a tensor; see :meth:`as_tensor`."""
        return self.as_tensor(self.input(position))

    def as_tensor(self, value: Value) -> Value:
        """Return the value, or a tensor of sizes on the image's device."""
        if value.is_sizes:
            return self.emit(sizes_to_tensor, value, self.builder.image)
        return value

    def constant(self, position: int, meaning: str) -> Tensor:
        """Return a required input that must be known at load time."""
        value = self.input(position)
        if not value.is_constant:
            raise self.refusal(f"its {meaning} must be constant, but is computed from the image")
        example: Tensor = value.example
        return example

    def sizes(self, value: Value, meaning: str) -> Any:
        """Return a shape-like input: numbers if constant, else a value to emit with."""
        if value.is_sizes:
            return value
        if not value.is_constant:
            reason = "is computed from pixel values, which is not supported"
            raise self.refusal(f"its {meaning} {reason}")
        if value.rank > 1:
            raise self.refusal(f"its {meaning} has {value.rank} axes, expected a list of numbers")
        items = value.example.tolist()
        return tuple(items) if isinstance(items, list) else items

    def scalar_or_tensor(self, position: int, rank: int) -> Any:
        """Return an input for arithmetic; a constant of one element becomes a number.

        Numbers follow the dtype of the tensor that they meet and need no device. ``rank`` is that
        of the other operand: a constant of more axes must stay a tensor, as it widens the result.
        """
        value = self.input(position)
        if value.is_constant and value.example.numel() == 1 and value.rank <= rank:
            return value.example.item()
        if value.is_sizes and value.rank == 0:
            return value
        return self.as_tensor(value)

    def attribute(self, name: str, default: T) -> T:
        """Return an attribute of the type of its default value.

        Raises:
            InputError: The attribute is of another type.
        """
        self._read.add(name)
        found = self.node.attributes.get(name)
        if found is None:
            return default
        if default is not None and not isinstance(found, type(default)):
            raise self.refusal(f"attribute {name} has an unexpected type: {found!r}")
        return found  # type: ignore[return-value]

    def integers(self, name: str, position: int | None = None) -> tuple[int, ...] | None:
        """Return integers: an attribute, or, in later operator sets, a constant input."""
        if position is not None and self.optional(position) is not None:
            return tuple(self.constant(position, name).tolist())
        found: tuple[int, ...] = self.attribute(name, ())
        return found if name in self.node.attributes else None

    def require(self, name: str, default: T, supported: Sequence[Any]) -> T:
        """Return an attribute; refuse the node unless it has one of the supported values."""
        found = self.attribute(name, default)
        if found not in supported:
            expected = " or ".join(repr(item) for item in supported)
            raise self.refusal(f"{name}={found!r} is not supported, expected {expected}")
        return found

    def check_attributes(self) -> None:
        """Refuse attributes that no translation has looked at, unless they change nothing."""
        for name in sorted(self.node.attributes.keys() - self._read - _WITHOUT_EFFECT):
            if name not in _NEUTRAL:
                raise self.refusal(f"attribute {name} is not supported")
            self.require(name, _NEUTRAL[name][0], _NEUTRAL[name])


Operator = Callable[[Call], Value | Sequence[Value]]


def operator_of(
    function: Callable[..., Any], sizes_from: int | None = None
) -> Callable[[Call], Value]:
    """Translate an operator by a function of its inputs and attributes.

    Args:
        function: Takes tensors and attributes.
        sizes_from: First of the inputs that the function takes as Python numbers instead.
    """

    def translate(call: Call) -> Value:
        if sizes_from is None:
            return call.emit(function, *call.tensors(), **call.options(function))
        inputs = [call.tensor(position) for position in range(sizes_from)]
        sizes = [
            None if value is None else call.sizes(value, f"input {position}")
            for position, value in enumerate(call.inputs[sizes_from:], start=sizes_from)
        ]
        return call.emit(function, *inputs, *sizes, **call.options(function))

    return translate


def sizes_to_tensor(sizes: Sizes, like: Tensor) -> Tensor:
    """Make a tensor of sizes on the device of ``like``: int64, or floats of its dtype."""
    numbers = sizes if isinstance(sizes, tuple) else (sizes,)
    dtype = like.dtype if any(isinstance(number, float) for number in numbers) else torch.int64
    return torch.tensor(sizes, dtype=dtype, device=like.device)
