"""Code blocks of README and the pages of docs/."""

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "training/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)

_FENCE = re.compile(r"^( *)```(\w*|{[\w-]+})\s*$")
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")
_COMMAND = re.compile(r"^(\w+=\S+ )*(activeindex|python3? -m activeindex[.\w]*) ")
_INLINE = re.compile(r"`((?:activeindex|python -m activeindex\.\w+) [^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``language`` is empty where the page names none."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of this package as a page gives it.

    Attributes:
        where: Page and line.
        words: As a shell would split them, without ``activeindex``.
        whole: Whether it can be given like this; in the text, or before an ellipsis, it may lack
            options that it requires.
    """

    where: str
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.where} {' '.join(self.words)}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, those in lists too, in order."""
    found: list[Block] = []
    begun: tuple[int, str, str] | None = None
    inside: list[str] = []
    note = None
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        fence = _FENCE.match(line)
        if begun is None:
            if fence is not None:
                begun, inside = (number, fence[1], fence[2]), []
            elif line.strip():
                comment = _NOT_RUN.search(line)
                note = comment and comment[1]
        elif fence is not None:
            text = "\n".join(one.removeprefix(begun[1]) for one in inside)
            found.append(Block(page, begun[0], begun[2], text, note))
            begun = note = None
        else:
            inside.append(line)
    assert begun is None, f"{page}: the block of line {begun and begun[0]} has no end"
    return found


def commands(page: Path) -> list[Command]:
    """The commands of this package in a page's blocks and in its text."""
    found = []
    for block in blocks(page):
        lines = block.text.replace("\\\n", " ").splitlines()
        found += [_command(str(block), line, True) for line in lines if _COMMAND.match(line)]
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        where = f"{page.relative_to(ROOT)}:{number}"
        found += [_command(where, text, False) for text in _INLINE.findall(line)]
    return [command for command in found if not {"--help", "--version"} & {*command.words}]


def _command(where: str, line: str, in_block: bool) -> Command:
    words = shlex.split(line, comments=True)
    while "=" in words[0]:  # Variables of the environment.
        words = words[1:]
    if words[0] != "activeindex":
        words = ["", words[2].removeprefix("activeindex").lstrip("."), *words[3:]]
    ends = (number for number, word in enumerate(words) if word in ("|", ">", "&&", "&"))
    words = words[: next(ends, len(words))]
    given = [
        word
        for before, word in pairwise(words)
        # A variable that is no option's value stands for any options.
        if word not in ("…", "") and (not word.startswith("$") or before.startswith("--"))
    ]
    return Command(where, tuple(given), in_block and "…" not in words)
