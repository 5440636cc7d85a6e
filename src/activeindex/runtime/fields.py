"""Dataclass fields with a help text, choices and bounds.

A settings dataclass declares its fields with :func:`option` and calls :func:`check_fields` in its
``__post_init__``. The command line derives its options from the same fields. Keys of the metadata:

``help``
    One line for ``--help``.
``choices``
    The values that are allowed, a tuple.
``minimum``, ``maximum``
    Bounds of a number, inclusive.
``importable``
    Whether a callable is taken beside the choices, on the command line as ``package.module:name``.
``metavar``
    The name of the value in ``--help``.
"""

import dataclasses
import importlib
import json
import math
import numbers
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType, NoneType
from typing import Any, get_args

from activeindex.errors import InputError, reason_of

NUMBERS: Mapping[type, tuple[type, str]] = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
}


def option(default: Any, help: str, **rules: Any) -> Any:
    """Declare a dataclass field with a help text and rules; see the module."""
    return dataclasses.field(default=default, metadata={"help": help, **rules})


def check_fields(settings: Any) -> None:
    """Check the fields of a dataclass against their types of numbers, choices and bounds.

    NumPy's numbers become Python's, as JSON needs them.

    Raises:
        InputError: Naming the field, what was expected and what was found.
    """
    for field in dataclasses.fields(settings):
        value = checked(getattr(settings, field.name), field.name, field.type, field.metadata)
        object.__setattr__(settings, field.name, value)


def checked(
    value: Any, name: str, kind: Any, rules: Mapping[str, Any] = MappingProxyType({})
) -> Any:
    """Check one value, and return it as a Python number if its type is one.

    Args:
        value: The value.
        name: Its name, for messages.
        kind: Its type, which may be optional.
        rules: See the module.

    Raises:
        InputError: If it is of another type, or breaks a rule.

    Example:
        >>> checked(2.5, "iterations", int)
        Traceback (most recent call last):
        activeindex.errors.InputError: iterations: expected a whole number, found 2.5
    """
    kinds = get_args(kind) or (kind,)
    if not (value is None and NoneType in kinds):
        for number, (wanted, called) in NUMBERS.items():
            if number in kinds:
                if not isinstance(value, wanted) or isinstance(value, bool):
                    raise InputError(f"{name}: expected {called}, found {value!r}")
                value = value if isinstance(value, int | float) else number(value)
    if problem := problem_with(value, rules):
        raise InputError(f"{name}: {problem}")
    return value


def problem_with(value: Any, rules: Mapping[str, Any]) -> str | None:
    """Check a value against the choices and bounds of a field.

    Args:
        value: The value; None is always allowed.
        rules: Metadata of the field.

    Returns:
        What was expected and what was found; None if the value is fine.

    Example:
        >>> problem_with(-1, {"minimum": 0})
        'expected 0 or more, found -1'
    """
    choices, minimum = rules.get("choices"), rules.get("minimum")
    own = rules.get("importable", False)
    if value is None:
        return None
    if choices and value not in choices and not (own and callable(value)):
        others = " or your own as package.module:name" if own else ""
        return f"expected one of {', '.join(choices)}{others}, found {value!r}"
    maximum = rules.get("maximum", math.inf)
    if minimum is not None and not (minimum <= value <= maximum and value < math.inf):
        wanted = f"{minimum} or more" if maximum == math.inf else f"{minimum} to {maximum}"
        return f"expected {wanted}, found {value}"
    return None


def import_name(text: str, option: str) -> Callable[..., Any]:
    """The callable that ``package.module:name`` stands for.

    Args:
        text: A module that can be imported, and a name in it.
        option: Named in errors.

    Raises:
        InputError: If the text has another form, the module cannot be imported, or there is no
            callable of that name in it.

    Example:
        >>> import_name("math:hypot", "loss_f")(3, 4)
        5.0
    """
    module, _, name = text.partition(":")
    if not (module and name):
        raise InputError(f"{option}: expected package.module:name, found {text!r}")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # Where a module of one's own lies, as for python -m.
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise InputError(f"{option}: cannot import {module!r} ({reason_of(error)})") from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise InputError(f"{option}: expected a callable {name!r} in {module!r}, found {found!r}")
    called: Callable[..., Any] = found
    return called


def name_of(value: Callable[..., Any]) -> str:
    """``module:qualname`` of a callable, which stands for it in records and journals.

    An object that can be called goes by the name of its class, a partial function by that of its
    function.

    Example:
        >>> import json
        >>> name_of(json.loads)
        'json:loads'
    """
    if isinstance(value, partial):
        return f"partial of {name_of(value.func)}"
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"


OTHER_FUNCTIONS = {
    "functions": "results of other functions of the same names (their code, arguments and state "
    "are compared)"
}
"""Explanation of differing values of :func:`functions_hash`, for a journal."""


def functions_hash(settings: Any) -> str | None:
    """Hash the callables of settings that :func:`name_of` does not tell apart.

    These are partial functions, lambdas, functions in functions, and objects that can be called.

    Returns:
        Their hash in hexadecimal, the same in every process; None if there are none.
    """
    import hashlib  # Loads OpenSSL, which --help does not need.

    unclear = [_state_of(each) for each in _callables(settings) if not _is_named(each)]
    return hashlib.sha256(repr(unclear).encode()).hexdigest() if unclear else None


def _callables(value: Any) -> Iterator[Callable[..., Any]]:
    if dataclasses.is_dataclass(value) and not callable(value):
        value = tuple(_fields_of(value).values())
    if isinstance(value, tuple):
        for each in value:
            yield from _callables(each)
    elif callable(value):
        yield value


def _is_named(value: Callable[..., Any]) -> bool:
    return "<" not in getattr(value, "__qualname__", "<")


def _state_of(value: Any) -> Any:
    """Text, and lists of it, of what a value computes with."""
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, _state_of(value.co_consts)]
    if isinstance(value, FunctionType):
        if _is_named(value):
            return name_of(value)
        inside = [cell.cell_contents for cell in value.__closure__ or ()]
        return [_state_of(each) for each in (value.__code__, value.__defaults__, inside)]
    if isinstance(value, partial):
        return [_state_of(each) for each in (value.func, value.args, [*value.keywords.items()])]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [*_fields_of(value).values()]
    if isinstance(value, tuple | list):
        return [_state_of(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(map(repr, value))
    try:
        return pickle.dumps(value)
    except Exception:  # Objects refuse to be pickled with anything.
        return name_of(type(value))


def as_json(settings: Any) -> dict[str, Any]:
    """Fields of a dataclass as JSON: callables by :func:`name_of`, paths as text."""
    values: dict[str, Any] = json.loads(json.dumps(_fields_of(settings), default=_as_json))
    return values


def _fields_of(settings: Any) -> dict[str, Any]:
    """Fields by name; ``dataclasses.asdict`` would copy a network that a loss holds."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


def _as_json(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields_of(value)
    return name_of(value) if callable(value) else str(value)
