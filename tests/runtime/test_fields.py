"""What journals know a callable by: its name, and a hash where names do not tell two apart."""

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from math import hypot
from typing import Any

from activeindex.runtime.fields import functions_hash, name_of


@dataclass(frozen=True)
class Settings:
    loss_f: Any


@dataclass(frozen=True)
class Weighted:
    weight: float

    def __call__(self, value: float) -> float:
        return self.weight * value


def times(factor: int) -> Any:
    return lambda value: factor * value


def test_functions_of_one_name_have_hashes_of_their_own() -> None:
    different: list[Any] = [
        *(lambda x: x + 1, lambda x: x + 2, lambda x, y=1: x + 1),
        *(partial(hypot, 3), partial(hypot, 4), partial(max, 3), partial(max, key=3)),
        *(times(2), times(3), Weighted(2.0), Weighted(3.0), partial(times(2), 1)),
    ]
    hashes = [functions_hash(Settings(each)) for each in different]
    assert len({*hashes}) == len(different)
    assert functions_hash(Settings(times(2))) == functions_hash(Settings(times(2)))
    assert functions_hash(Settings(("none", times(2)))) is not None


def test_functions_that_a_module_names_need_no_hash() -> None:
    assert functions_hash(Settings(hypot)) is None
    assert functions_hash(Settings("mse")) is None
    assert name_of(partial(hypot, 3)) == "partial of math:hypot"


def test_the_hash_is_the_same_in_every_process() -> None:
    script = (
        "from tests.runtime.test_fields import *\n"
        "print(functions_hash(Settings((times(2), partial(max, key=frozenset('abc')), "
        "lambda x: x in {'a', 'b', 'c'}))))"
    )
    said = [subprocess.check_output([sys.executable, "-c", script]) for _ in range(2)]
    assert said[0] == said[1] != b"None\n"
