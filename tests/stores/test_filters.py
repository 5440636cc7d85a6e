"""Filters mean the same in both engines, and what is not in their grammar is refused."""

import json
import math
import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activeindex.errors import InputError
from activeindex.indexing.artefact import TrainedIndex
from activeindex.stores.filters import DEEPEST, LONGEST, MOST_CONDITIONS, parse_filter
from activeindex.stores.ingest import NewImages
from activeindex.stores.records import FILTERABLE, FILTERABLE_2
from activeindex.stores.store import Store
from tests.indexing.trained import features
from tests.stores.conftest import ENGINES

NAMES = (
    *("a.jpg", "A.jpg", "summer/a.jpg", "summer/b_1.png", "50%.png", "it's.png", "x\\y.png"),
    *("line\nbreak.png", "コピー.png", "é.png", "e\u0301.png", "😀.png", "''", "\\", "NULL", " "),
)
MEASURED = (None, 0.0, -0.0, 1.0, 40.0, 40.5, math.inf, 1e-300, 5e-324, 1.7e308, -3.25, math.nan)

TAGS = ("red", "Red", 'x"red', '["red', ', "red"', "b_c", "%", "é", "\\", "red\\", "'", "a b")


def row(number: int) -> dict[str, Any]:
    """Values of the columns of an image; NaN counts as null, and some have no record."""
    measured = [MEASURED[(number * step) % len(MEASURED)] for step in (1, 5, 7)]
    psnr, linf, ssim = (None if each is None or math.isnan(each) else each for each in measured)
    recorded = number % 4 > 0
    return {
        "id": number,
        "name": NAMES[number % len(NAMES)] + str(number // len(NAMES)) * (number >= len(NAMES)),
        "sha256": f"{number:064x}" if recorded else None,
        "psnr": psnr if recorded else None,
        "linf": linf if recorded else None,
        "ssim": ssim if recorded else None,
        "tags": None if number % 5 == 0 else [TAGS[number % 12], TAGS[number % 7]][: number % 3],
        "metadata": f'{{"camera": "{number % 3}"}}' if number % 2 else None,
        **dict.fromkeys(("distance_before", "distance_after", "disabled_until")),
    }


ROWS = [row(number) for number in range(48)]


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory: pytest.TempPathFactory, trained: TrainedIndex
) -> Iterator[list[Store]]:
    """A store of each engine, and one of Lance whose columns are indexed."""
    records = {
        each["name"]: {key: each[key] for key in ("name", "sha256", "linf", "ssim")}
        | ({} if each["psnr"] is None else {"psnr": each["psnr"]})
        for each in ROWS
        if each["sha256"]
    }
    images = NewImages([each["name"] for each in ROWS], features(len(ROWS), 64), records)
    made = []
    for engine in (*ENGINES, "lance://"):
        store = Store.create(f"{engine}{tmp_path_factory.mktemp('store') / 'store'}", trained)
        given = [each["metadata"] and json.loads(each["metadata"]) for each in ROWS]
        store.add(images, tags=[each["tags"] for each in ROWS], metadata=given)
        made.append(store)
    made[-1].compact()
    yield made
    for store in made:
        store.close()


Evaluate: TypeAlias = Callable[[dict[str, Any]], bool | None]
"""True, False or unknown, of the columns of an image."""


class Said(NamedTuple):
    """A filter as text, and in Python."""

    text: str
    holds: Evaluate


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    **{"=": operator.eq, "==": operator.eq, "!=": operator.ne, "<>": operator.ne},
    **{"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
}
TEXTS = st.sampled_from(NAMES) | st.text("aA.%_'\\\n éコ😀", max_size=4)
CONSTANTS: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(0, 50),
    float: st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([each for each in MEASURED if each is not None and math.isfinite(each)]),
    str: TEXTS,
}


def known(function: Callable[..., bool], *values: Any) -> bool | None:
    return None if None in values else function(*values)


def spelled(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def like(value: str, pattern: str) -> bool:
    parts = [{"%": ".*", "_": "."}.get(one, re.escape(one)) for one in pattern]
    return re.fullmatch("".join(parts), value, re.DOTALL) is not None


@st.composite
def conditions(draw: st.DrawFn) -> Said:
    column = draw(st.sampled_from(sorted(FILTERABLE_2)))
    kind: type = FILTERABLE_2[column]
    sign = draw(st.sampled_from(sorted(COMPARISONS)))
    compare, negated = COMPARISONS[sign], draw(st.booleans())
    shown = draw(st.sampled_from([column, column.upper()]))
    form = draw(st.sampled_from(["value", "turned", "column", "in", "null", "like"]))
    if kind is list and form != "null":
        word = draw(st.sampled_from(TAGS))
        text = f"{spelled(word)} {'NOT ' * negated}IN {shown}"
        return Said(text, lambda row: (word in (row["tags"] or ())) is not negated)
    if form == "null":
        text = f"{shown} IS {'NOT ' * negated}NULL"
        return Said(text, lambda row: (row[column] is None) is not negated)
    constants = CONSTANTS[kind]
    if form == "in":
        values = draw(st.lists(constants, min_size=1, max_size=4))
        text = f"{shown} {'NOT ' * negated}in ({', '.join(map(spelled, values))})"
        return Said(
            text, lambda row: known(lambda one: (one in values) is not negated, row[column])
        )
    if form == "like" and kind is str:
        pattern = draw(TEXTS)
        text = f"{shown} {'not ' * negated}LIKE {spelled(pattern)}"
        return Said(
            text, lambda row: known(lambda one: like(one, pattern) is not negated, row[column])
        )
    if form == "column":
        alike = [name for name in sorted(FILTERABLE_2) if FILTERABLE_2[name] is kind]
        other = draw(st.sampled_from(alike))
        return Said(f"{shown}{sign}{other}", lambda row: known(compare, row[column], row[other]))
    value = draw(constants)
    if form == "turned":
        text = f"{spelled(value)} {sign} {shown}"
        return Said(text, lambda row: known(compare, value, row[column]))
    return Said(f"{shown} {sign} {spelled(value)}", lambda row: known(compare, row[column], value))


def not_(inner: Said) -> Said:
    return Said(f"NOT {inner.text}", lambda row: known(operator.not_, inner.holds(row)))


def joined(terms: list[Said], words: list[str]) -> Said:
    """Terms in parentheses, joined without any: AND binds more tightly than OR."""
    pairs = list(zip(words, terms[1:], strict=False))
    text = terms[0].text + "".join(f" {word} {term.text}" for word, term in pairs)

    def holds(row: dict[str, Any]) -> bool | None:
        groups = [[terms[0].holds(row)]]
        for word, term in pairs:
            if word.upper() == "OR":
                groups.append([])
            groups[-1].append(term.holds(row))
        found = [False if False in group else None if None in group else True for group in groups]
        return True if True in found else None if None in found else False

    return Said(f"({text})", holds)


def larger(inner: st.SearchStrategy[Said]) -> st.SearchStrategy[Said]:
    words = st.lists(st.sampled_from(["AND", "or"]), min_size=2, max_size=2)
    return inner.map(not_) | st.builds(joined, st.lists(inner, min_size=1, max_size=3), words)


@given(said=st.recursive(conditions(), larger, max_leaves=6))
def test_both_engines_let_through_what_a_filter_says(stores: list[Store], said: Said) -> None:
    expected = [row["id"] for row in ROWS if said.holds(row)]
    for store in stores:
        assert store.select(said.text).tolist() == expected, store


@pytest.mark.parametrize(
    ("text", "place", "expected", "found"),
    [
        ("psnr >", 7, "a number", "the end"),
        ("psnr > 'a'", 8, "a number", "\"'a'\""),
        ("psnr > NULL", 8, "a number", "'NULL'"),
        ("psnr > id", 8, "a number", "'id'"),
        ("psnr > 1e999", 8, "a number", "'1e999'"),
        ("id = 1.5", 6, "a whole number", "'1.5'"),
        ("id = 9223372036854775808", 6, "a whole number", "'9223372036854775808'"),
        ("name = abc", 8, "a 'string'", "'abc'"),
        ("name = 'abc", 8, "a 'string'", '"\'abc"'),
        ('name = "abc"', 8, "a 'string'", "'\"'"),
        ("'a' = id", 1, "a whole number", "\"'a'\""),
        ("1 + id", 3, "a comparison", "'+'"),
        ("id IN ()", 8, "a whole number", "')'"),
        ("id IN (1, 2", 12, ")", "the end"),
        ("id IN (SELECT id FROM codes)", 8, "a whole number", "'SELECT'"),
        ("id LIKE '1'", 4, "a comparison, IN, LIKE or IS NULL", "'LIKE'"),
        ("psnr BETWEEN 1 AND 2", 6, "a comparison, IN, LIKE or IS NULL", "'BETWEEN'"),
        ("name IS 3", 9, "NULL", "'3'"),
        ("id = 1; DELETE FROM images", 7, "AND, OR or the end", "';'"),
        ("id = 1) UNION SELECT id FROM codes WHERE (1", 7, "AND, OR or the end", "')'"),
        ("id = 1 -- all", 8, "AND, OR or the end", "'-'"),
        ("(id = 1", 8, ")", "the end"),
        ("psnr = TRUE", 8, "a number", "'TRUE'"),
        ("tags = 'red'", 6, "IS NULL, or 'string' IN tags", "'='"),
        ("tags IN ('red')", 6, "IS NULL, or 'string' IN tags", "'IN'"),
        ("'red' = tags", 1, "'string' IN it", "\"'red'\""),
        ("'red' IN ('red')", 10, "a column (tags)", "'('"),
        ("'red' IN name", 10, "a column (tags)", "'name'"),
        ("'red' NOT LIKE tags", 11, "IN", "'LIKE'"),
        ("7 IN tags", 1, "a 'string'", "'7'"),
        ("name = 'a\0'", 10, "text in UTF-8", "'\\x00'"),
        ("name = '\udcff'", 9, "text in UTF-8", "'\\udcff'"),
        ("id = 1 AND \x1b[31m", 12, "a column", "'\\x1b'"),
        ("abs(id) = 1", 1, "a column", "'abs'"),
        ("(SELECT 1) = 1", 2, "a column", "'SELECT'"),
        ("", 1, "a column", "the end"),
        ("(" * 40, DEEPEST + 2, f"at most {DEEPEST} parentheses", "'('"),
        ("NOT " * 40, 4 * DEEPEST + 5, f"at most {DEEPEST} parentheses", "'NOT'"),
        ("id=1 OR " * 300, 8 * MOST_CONDITIONS + 1, "at most 256 conditions", "'id'"),
    ],
)
def test_a_filter_is_refused_at_the_first_place_that_is_not_in_the_grammar(
    text: str, place: int, expected: str, found: str
) -> None:
    with pytest.raises(InputError) as refused:
        parse_filter(text, FILTERABLE_2)
    message = str(refused.value)
    assert f", column {place}: expected {expected}" in message
    assert f", found {found}" in message
    assert message.isprintable()


def test_a_mistyped_column_is_suggested() -> None:
    with pytest.raises(InputError, match=r"column 12: expected a column .*; did you mean psnr\?"):
        parse_filter("id > 7 AND pnsr > 40", FILTERABLE)


@pytest.mark.parametrize(
    "text",
    [
        " OR ".join(["NOT (name LIKE '%a%b%c%')"] * MOST_CONDITIONS),
        f"name LIKE '{'%a' * 4000}b' OR name LIKE '{'_' * 1900}'",
        f"name LIKE '{'%_é' * 3000}'",
        f"id IN ({', '.join(map(str, range(1800)))})",
        "(" * DEEPEST + "id = 1" + ")" * DEEPEST,
        *(
            prefix + f"(id > 0 {one} id < 9 {other} " * DEEPEST + "id = 1" + ")" * DEEPEST
            for prefix in ("", "psnr > 1 OR ", "name = 'a' AND ")
            for one, other in (("AND", "OR"), ("OR", "AND"))
        ),
        *(
            f"NOT (id > 0 {one} id < 9 {other} " * (DEEPEST // 2) + "id = 1" + ")" * (DEEPEST // 2)
            for one, other in (("AND", "OR"), ("OR", "AND"))
        ),
        "NOT " * DEEPEST + "id = 1",
        *(
            f"{word}(id > 0 OR id < 9 AND " * DEEPEST + f"{word}'red' IN tags" + ")" * DEEPEST
            for word in ("", "id > 7 AND 'red' NOT IN tags OR ")
        ),
    ],
)
def test_the_largest_filters_are_answered(stores: list[Store], text: str) -> None:
    assert len(text) <= LONGEST
    first, *others = (store.select(text).tolist() for store in stores)
    assert others == [first, first]


def test_a_longer_filter_is_refused(stores: list[Store], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 10,000 characters, found 10,001"):
        stores[0].select("'" * (LONGEST + 1))
