"""Filters: conditions on the images of a store, in a small part of SQL.

A filter may come from a stranger. It is parsed here and refused at the first place that is not in
the grammar; engines get known columns, operators and constants only, with the same meaning::

    filter     = term { ( "AND" | "OR" ) term }                  AND binds more tightly
    term       = "NOT" term | "(" filter ")" | condition
    condition  = column comparison ( constant | column ) | constant comparison column
               | column [ "NOT" ] "IN" "(" constant { "," constant } ")"
               | column [ "NOT" ] "LIKE" string
               | column "IS" [ "NOT" ] "NULL"
               | string [ "NOT" ] "IN" column                    of lists of texts
    comparison = "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    constant   = number | string

Strings stand in single quotes, which are doubled inside them. In the pattern of LIKE, ``%`` is any
text, ``_`` any character, and everything else itself, in its case. As in SQL, a condition on a null
is neither true nor false, and no image matches it or its negation; but a null is a list of nothing.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeAlias

from activeindex.errors import InputError

Columns: TypeAlias = Mapping[str, type[int | float | str | list[str]]]
"""Columns that a filter can name, in lower case, and the types of their values; a list of texts is
kept as ``json.dumps`` writes it."""

LONGEST = 10_000
"""Characters in a filter."""

DEEPEST = 12
"""Parentheses and NOTs inside each other; the parsers of SQLite and Lance end soon after."""

MOST_CONDITIONS = 256
"""Conditions in a filter, which SQLite and Lance parse by recursion."""

_EXPECTED = {int: "a whole number", float: "a number", str: "a 'string'", list: "'string' IN it"}
_OPPOSITE = {
    **{"=": "!=", "==": "!=", "!=": "=", "<>": "="},
    **{"<": ">=", "<=": ">", ">": "<=", ">=": "<"},
}
_LONGEST_SHOWN = 60
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_TOKEN = re.compile(
    r"""\s* (?: (?P<number> [+-]? (?:[0-9]+\.?[0-9]*|\.[0-9]+) (?:[eE][+-]?[0-9]+)? )
              | (?P<string> '(?:[^']|'')*+' )
              | (?P<word> [A-Za-z_][A-Za-z_0-9]* )
              | (?P<sign> [<>=!]=|<>|[<>=(),] )
              | (?P<other> '.*|\S ) | (?P<end> \Z) )""",
    re.VERBOSE | re.DOTALL,
)


class _Constant(NamedTuple):
    """A value, or a pattern of LIKE."""

    value: int | float | str
    is_pattern: bool = False

    def quoted(self) -> str:
        """Write the constant in Lance's SQL, where backslashes escape characters of patterns."""
        if not isinstance(self.value, str):
            return repr(self.value)
        text = self.value.replace("\\", "\\\\") if self.is_pattern else self.value
        return "'" + text.replace("'", "''") + "'"


_Part: TypeAlias = str | _Constant


@dataclass(frozen=True)
class Filter:
    """A filter that was parsed; both engines let the same images through."""

    parts: tuple[_Part, ...]

    def for_sqlite(self) -> tuple[str, list[int | float | str]]:
        """Return a condition in SQL with ``?`` for each constant, and the constants."""
        sql = " ".join(part if isinstance(part, str) else "?" for part in self.parts)
        return sql, [part.value for part in self.parts if not isinstance(part, str)]

    def for_lance(self) -> str:
        """Return a condition in SQL."""
        return " ".join(part if isinstance(part, str) else part.quoted() for part in self.parts)


def parse_filter(text: str, columns: Columns) -> Filter:
    """Parse a filter; see the module for the grammar.

    Args:
        text: The filter; columns and keywords may be spelled in any case.
        columns: Columns that it can name.

    Raises:
        InputError: If it is malformed, too long or too deep, names another column, or compares
            values of different types; the message names the position, from 1.

    Example:
        >>> found = parse_filter("name like 'o''s/%'", {"psnr": float, "name": str})
        >>> found.for_sqlite()
        ('name IS NOT NULL AND name LIKE ?', ["o's/%"])
        >>> found.for_lance()
        "name IS NOT NULL AND name LIKE 'o''s/%'"
    """
    if len(text) > LONGEST:
        raise InputError(
            f"where: expected a filter of at most {LONGEST:,} characters, found {len(text):,}"
        )
    return _Parser(text, columns).parse()


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


class _Parser:
    """Reads a filter and writes it in the SQL of both engines.

    Negations are written into the conditions (``<`` becomes ``>=``, and AND becomes OR), and each
    condition asks for a value: Lance simplifies ``NOT (x = 1 AND x = 2)`` to true, even of nulls.
    """

    def __init__(self, text: str, columns: Columns) -> None:
        self._text, self._columns = text, columns
        self._following = _TOKEN.finditer(text)
        self._token = _Token("", "", 0)
        self._conditions = 0

    def parse(self) -> Filter:
        if odd := _NOT_TEXT.search(self._text):
            self._refuse("text in UTF-8", _Token("other", odd[0], odd.start()))
        self._advance()
        parts = self._filter(0, negated=False)
        if self._token.kind != "end":
            self._refuse("AND, OR or the end")
        return Filter(tuple(parts))

    def _filter(self, depth: int, negated: bool) -> list[_Part]:
        return self._joined("OR", self._conjunction, depth, negated)

    def _conjunction(self, depth: int, negated: bool) -> list[_Part]:
        return self._joined("AND", self._term, depth, negated)

    def _joined(
        self, word: str, read: Callable[[int, bool], list[_Part]], depth: int, negated: bool
    ) -> list[_Part]:
        parts = read(depth, negated)
        if self._token.text.upper() != word:
            return parts
        joint = word if not negated else "AND" if word == "OR" else "OR"
        while self._takes(word):
            parts += [joint, *read(depth, negated)]
        return ["(", *parts, ")"] if joint == "OR" else parts

    def _term(self, depth: int, negated: bool) -> list[_Part]:
        if depth > DEEPEST:
            self._refuse(f"at most {DEEPEST} parentheses and NOTs inside each other")
        if self._takes("NOT"):
            return self._term(depth + 1, not negated)
        if self._takes("("):
            parts = self._filter(depth + 1, negated)
            self._take(")")
            return parts
        self._conditions += 1
        if self._conditions > MOST_CONDITIONS:
            self._refuse(f"at most {MOST_CONDITIONS} conditions")
        return self._condition(negated)

    def _condition(self, negated: bool) -> list[_Part]:
        if self._token.kind in ("number", "string"):
            first = self._advance()
            if self._token.text.upper() in ("IN", "NOT"):
                return self._membership(self._constant(first, str), negated)
            sign, column = self._comparison(negated), self._column()
            return [*_known(column), self._constant(first, self._columns[column]), sign, column]
        column = self._column()
        kind = self._columns[column]
        if self._takes("IS"):
            negated ^= self._takes("NOT")
            self._take("NULL")
            return [column, "IS NOT NULL" if negated else "IS NULL"]
        if kind is list:
            self._refuse(f"IS NULL, or 'string' IN {column}")
        if self._token.text in _OPPOSITE:
            sign = self._comparison(negated)
            if self._columns.get(self._token.text.lower()) is kind:
                other = self._column()
                return [*_known(column), *_known(other), column, sign, other]
            return [*_known(column), column, sign, self._value(kind)]
        word = ["NOT"] if negated ^ self._takes("NOT") else []
        if self._takes("IN"):
            self._take("(")
            values: list[_Part] = [self._value(kind)]
            while self._takes(","):
                values += [",", self._value(kind)]
            self._take(")")
            return [*_known(column), column, *word, "IN", "(", *values, ")"]
        if kind is str and self._takes("LIKE"):
            pattern = self._value(kind)._replace(is_pattern=True)
            return [*_known(column), column, *word, "LIKE", pattern]
        self._refuse("a comparison, IN, LIKE or IS NULL")

    def _membership(self, word: _Constant, negated: bool) -> list[_Part]:
        negated ^= self._takes("NOT")
        self._take("IN")
        column = self._column(list)
        # A quote after a bracket or a space begins a string: those inside one follow a backslash.
        quoted = json.dumps(word.value)
        here: list[_Part] = ["instr(", column, ",", _Constant("[" + quoted), ")"]
        there: list[_Part] = ["instr(", column, ",", _Constant(" " + quoted), ")"]
        if negated:
            return ["(", column, "IS NULL OR", *here, "= 0 AND", *there, "= 0 )"]
        return [*_known(column), "(", *here, "> 0 OR", *there, "> 0 )"]

    def _comparison(self, negated: bool) -> str:
        sign = self._token.text
        if sign not in _OPPOSITE:
            self._refuse("a comparison")
        self._advance()
        return _OPPOSITE[sign] if negated else sign

    def _column(self, kind: type | None = None) -> str:
        name = self._token.text.lower()
        there = [each for each, its in self._columns.items() if kind in (None, its)]
        if name not in there:
            from difflib import get_close_matches

            near = get_close_matches(name, there, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self._refuse(f"a column ({', '.join(there)})", hint=hint)
        self._advance()
        return name

    def _value(self, kind: type) -> _Constant:
        constant = self._constant(self._token, kind)
        self._advance()
        return constant

    def _constant(self, token: _Token, kind: type) -> _Constant:
        if kind is str and token.kind == "string":
            return _Constant(token.text[1:-1].replace("''", "'"))
        if kind is float and token.kind == "number" and math.isfinite(float(token.text)):
            return _Constant(float(token.text) + 0.0)  # Lance tells -0.0 from 0.0.
        whole = kind is int and re.fullmatch("[+-]?[0-9]{1,19}", token.text)
        if whole and abs(number := int(token.text)) < 2**63:
            return _Constant(number)
        self._refuse(_EXPECTED[kind], token)

    def _take(self, text: str) -> None:
        if not self._takes(text):
            self._refuse(text)

    def _takes(self, text: str) -> bool:
        """Take the next token if it is this keyword or sign."""
        if taken := self._token.text.upper() == text:
            self._advance()
        return taken

    def _advance(self) -> _Token:
        """Return the token, and go on to the next."""
        taken, found = self._token, next(self._following)
        kind = str(found.lastgroup)
        self._token = _Token(kind, found[kind], found.start(kind))
        return taken

    def _refuse(self, expected: str, token: _Token | None = None, hint: str = "") -> NoReturn:
        _, text, place = token or self._token
        found = repr(_shortened(text)) if text else "the end"
        raise InputError(
            f"where {_shortened(self._text)!r}, column {place + 1}: expected {expected}, found "
            f"{found}{hint}"
        )


def _known(column: str) -> list[_Part]:
    return [column, "IS NOT NULL AND"]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
