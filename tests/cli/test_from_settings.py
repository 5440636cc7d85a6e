"""Options derived from settings dataclasses."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from activeindex.cli.from_settings import add_settings, settings_from
from activeindex.runtime.fields import check_fields, option


@dataclass(frozen=True)
class Settings:
    """A field of every kind, and one that is no option."""

    steps: int = option(10, "steps", minimum=0, maximum=20)
    rate: float = option(0.5, "rate", minimum=0)
    tanh: bool = option(True, "squash")
    name: str | None = option(None, "name")
    folder: Path = option(Path("out"), "folder")
    loss: object = option("cossim", "loss", choices=("cossim", "mse"), importable=True)
    paths: tuple[Path, ...] = option((), "paths")
    other: int = 3

    def __post_init__(self) -> None:
        check_fields(self)


def parse(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_settings(parser, Settings)
    return settings_from(parser.parse_args(arguments), Settings)


def test_defaults_are_those_of_the_dataclass() -> None:
    assert parse() == Settings()


def test_values_are_read_by_the_types_of_the_fields() -> None:
    given = ("--steps", "3", "--rate", "1e-2", "--tanh", "False", "--name", "x", "--folder", "a")
    more = ("--loss", "mse", "--paths", "b", "c", "--paths", "d")
    expected = Settings(3, 0.01, False, "x", Path("a"), "mse", (Path("b"), Path("c"), Path("d")))
    assert parse(*given, *more) == expected
    assert parse("--tanh", "off", "--name", "None").name is None
    assert parse("--tanh").tanh is True


def test_a_function_is_imported_by_its_name() -> None:
    assert parse("--loss", "math:hypot").loss is math.hypot


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "-1"), "argument --steps: expected 0 to 20, found -1"),
        (("--steps", "x"), "argument --steps: expected a whole number, found 'x'"),
        (("--rate", "nan"), "argument --rate: expected 0 or more, found nan"),
        (("--rate", "x"), "argument --rate: expected a number, found 'x'"),
        (("--tanh", "perhaps"), "argument --tanh: expected True or False, found 'perhaps'"),
        (
            ("--loss", "hope"),
            "argument --loss: expected one of cossim, mse or your own as package.module:name, "
            "found 'hope'",
        ),
        (
            ("--loss", "math:nothing"),
            "argument --loss: loss: expected a callable 'nothing' in 'math', found None",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(argparse.ArgumentError) as caught:
        parse(*arguments)
    assert str(caught.value) == message
