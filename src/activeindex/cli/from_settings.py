"""Options derived from settings: each default, bound and help text stands once."""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, TypeVar, get_args

from activeindex.errors import InputError
from activeindex.runtime.fields import NUMBERS, import_name, problem_with

_Settings = TypeVar("_Settings")

# Earlier names of options.
_ALIASES = {"descriptor_views": ["--code_views"]}

_NONE = frozenset({"", "None", "none"})
_BOOLEANS = {
    **dict.fromkeys(("1", "on", "true", "yes"), True),
    **dict.fromkeys(("0", "off", "false", "no"), False),
}


def add_settings(
    parser: argparse._ActionsContainer,
    settings: type,
    *only: str,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    shown: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Add an option for every field of a dataclass that has a help text.

    Args:
        parser: Parser or group that gets the options.
        settings: Dataclass whose fields are declared with
            :func:`~activeindex.runtime.fields.option`.
        only: Names of the fields, where not all of them are options.
        defaults: Defaults that differ from those of the dataclass.
        shown: Defaults to show in the help where another option decides on them.
    """
    for field in dataclasses.fields(settings):
        if "help" not in field.metadata or (only and field.name not in only):
            continue
        default = defaults.get(field.name, field.default)
        rules = {**field.metadata, "default": default}
        if default is dataclasses.MISSING:
            rules |= {"default": None, "required": True}
        if shown.get(field.name) is not None:
            rules["help"] += f" (default: {shown[field.name]})"
        add_option(parser, field.name, field.type, **rules)


def settings_from(
    options: argparse.Namespace, settings: type[_Settings], **others: Any
) -> _Settings:
    """Build a settings dataclass from its options.

    Args:
        options: Parsed options.
        settings: Dataclass whose options :func:`add_settings` added.
        others: Values of its other fields.
    """
    return settings(**values_from(options, settings), **others)


def values_from(options: object, settings: type) -> dict[str, Any]:
    """Values of the options of a dataclass, from parsed options or from settings."""
    names = [f.name for f in dataclasses.fields(settings) if "help" in f.metadata]
    values = {name: getattr(options, name) for name in names}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def add_option(
    parser: argparse._ActionsContainer,
    name: str,
    kind: Any,
    help: str,
    default: Any = None,
    *,
    required: bool = False,
    metavar: str | None = None,
    **rules: Any,
) -> None:
    """Add one option.

    Args:
        parser: Parser or group that gets the option.
        name: Its name, without dashes.
        kind: Type of its value; of an optional type, ``None`` is a value. An option of a tuple
            takes several values and may be repeated.
        help: Help text.
        default: Value where the option is not given.
        required: Whether it has to be given.
        metavar: Name of the value in the help text.
        rules: See :mod:`activeindex.runtime.fields`.
    """

    def read(text: str) -> Any:
        value = _parse(text, name, kind, rules)
        if problem := problem_with(value, rules):
            raise argparse.ArgumentTypeError(problem)
        return value

    more: dict[str, Any] = {}
    if kind is bool:
        more = {"nargs": "?", "const": True}  # Without a value it means True.
        metavar = "BOOL"
    elif isinstance(default, tuple):
        more = {"nargs": "+", "action": "extend"}
        default = list(default)
    elif "choices" in rules and metavar is None:
        own = ["MODULE:NAME"] if rules.get("importable") else []
        metavar = "{" + ",".join([*rules["choices"], *own]) + "}"
    parser.add_argument(
        f"--{name}",
        *_ALIASES.get(name, ()),
        type=read,
        default=default,
        required=required,
        metavar=metavar,
        help=help,
        **more,
    )


def _parse(text: str, name: str, kind: Any, rules: Mapping[str, Any]) -> Any:
    kinds = [each for each in get_args(kind) or (kind,) if each not in (NoneType, ...)]
    if NoneType in get_args(kind) and text in _NONE:
        return None
    if rules.get("importable") and ":" in text:
        try:
            return import_name(text, name)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    if bool in kinds:
        if text.lower() not in _BOOLEANS:
            raise argparse.ArgumentTypeError(f"expected True or False, found {text!r}")
        return _BOOLEANS[text.lower()]
    if Path in kinds:
        return _existing_spelling(Path(text)) if name.startswith("fts_") else Path(text)
    for number, (_, called) in NUMBERS.items():
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                raise argparse.ArgumentTypeError(f"expected {called}, found {text!r}") from None
    return text


def _existing_spelling(path: Path) -> Path:
    """Path of a feature file; the seed also spells ``fts.pt`` as ``fts.pth``."""
    other = path.with_suffix(".pt")
    return other if path.suffix == ".pth" and other.is_file() and not path.exists() else path
