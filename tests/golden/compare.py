"""Compare two trees that ``make.py`` made: one of an older version, one of a newer.

    python tests/golden/compare.py OLD NEW [--lines N]

Files are compared byte for byte, but for what the tables below write down: JSON and what commands
say after the mapping, stores by what ``store get`` and ``search --json`` print of them, reports by
their text and images. Prints what differs and exits with 1, or prints one line and exits with 0.
"""

import argparse
import difflib
import fnmatch
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

# The mapping: what may differ between two versions. Extend it only on purpose.

IGNORED = (
    "*/times.jsonl",  # Seconds per stage, date, versions and machine of each start.
    "reports/*/times.csv",  # The same seconds.
    "stores/*",  # SQLite and Lance files: what `get` and `search` say stands for them.
)
"""Files that are not compared."""

RENAMED_FILES: dict[str, str] = {}
"""Files of OLD that NEW calls otherwise: a regular expression to a replacement."""

RENAMED: dict[str, str] = {
    "code_views": "descriptor_views",
    "generation": "quantiser",  # In what `store get` and `search --json` print.
}
"""JSON keys of OLD that NEW calls otherwise, at any depth of any file."""

DROPPED: frozenset[str] = frozenset({"extractor_sha256"})  # Now extractor.sha256.
"""JSON keys of OLD that NEW has no more, at any depth."""

ADDED: frozenset[str] = frozenset({"noise"})
"""JSON keys of NEW that OLD did not have, at any depth."""

IDENTITIES = frozenset({"extractor", "quantiser"})
"""JSON keys whose values are identities: texts in 0.1, fields since 0.2 (docs/files.md)."""

REWORDED: tuple[tuple[str, str], ...] = ()
"""What NEW says in other words, in said/ and in texts of JSON: regular expressions for OLD."""

VARYING = (
    (r"\b\d+(\.\d+)? (s|min|h)\b", "<time>"),  # Elapsed.
    (r", img/s [\d.e+]+", ", img/s <rate>"),
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|\+00:00)?", "<date>"),
    (r"(?<![^\s\"'=])/[^\s\"']*/src/activeindex\b", "<package>"),  # Where the package is.
    (r"(?<![^\s\"'=])/[^\s\"']*/inputs/", "<OUT>/inputs/"),  # Of a tree that was moved, too.
    (r"\bactiveindex \d+\.\d+\.\d+(\.?\w+)?", "activeindex <version>"),
)
"""What differs from run to run, in said/ and in texts of JSON; applied to both trees.

Besides these, the tree's own path becomes ``<OUT>``.
"""

VARYING_KEYS = frozenset({"version", "activeindex"})
"""JSON keys whose text is a version of this package."""

VARYING_LINES = (r": going on, \d+",)
"""Lines of said/ that are left out: said once a minute, as far as the stage has come."""

VARYING_SECTIONS = frozenset({"times"})
"""Sections of reports, by id, that are left out: seconds."""

DRAWN = frozenset({"cx", "cy", "d", "height", "points", "r", "width", "x", "x1", "x2", "y", "y1"})
"""Attributes of elements in charts that are compared besides texts and images."""

SHOWN_LAST = ("said/help*.txt", "said/bad-*.txt")
"""Help texts and error messages are the first thing that a new wording changes."""


class Tree:
    """One of the two trees, read through the mapping.

    Args:
        root: Its folder.
        old: Whether names and words are those before a renaming.
    """

    def __init__(self, root: Path, old: bool) -> None:
        self.root = root.resolve()
        self._old = old
        self.files: dict[str, Path] = {}
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            ignored = any(fnmatch.fnmatchcase(name, pattern) for pattern in IGNORED)
            if not ignored and (path.is_symlink() or path.is_file()):
                self.files[self._renamed(name)] = path

    def mapped(self, value: Any) -> Any:
        """A JSON value with the mapping applied."""
        if isinstance(value, dict):
            gone = DROPPED if self._old else ADDED
            pairs = ((k, v) for k, v in value.items() if k not in gone)
            renamed = ((RENAMED.get(k, k) if self._old else k, v) for k, v in pairs)
            return {k: self._mapped_value(str(k), v) for k, v in renamed}
        if isinstance(value, list):
            return [self.mapped(each) for each in value]
        return self.text(value) if isinstance(value, str) else value

    def _mapped_value(self, key: str, value: Any) -> Any:
        if key in VARYING_KEYS and isinstance(value, str):
            return "<version>"
        return _identity(value) if key in IDENTITIES else self.mapped(value)

    def text(self, text: str) -> str:
        """A text with the mapping applied."""
        text = text.replace(str(self.root), "<OUT>")
        for pattern, replacement in (*VARYING, *(REWORDED if self._old else ())):
            text = re.sub(pattern, replacement, text)
        return text

    def lines(self, name: str) -> list[str]:
        """What is compared of a file, a text for each line, item or value."""
        path = self.files[name]
        if path.is_symlink():
            return [f"link to {self.text(str(path.readlink()))}"]
        read = next((read for end, read in _READERS.items() if name.endswith(end)), None)
        if name.startswith("said/"):
            read = _said
        return _bytes(self, path) if read is None else read(self, path)

    def _renamed(self, name: str) -> str:
        for pattern, replacement in RENAMED_FILES.items() if self._old else ():
            name = re.sub(pattern, replacement, name)
        return name


def _identity(value: Any) -> Any:
    """The text that 0.1 wrote for an identity, or for several."""
    if isinstance(value, list):
        return " and ".join(_identity(each) or "" for each in value)
    if not isinstance(value, dict):
        return value
    whitening = value.get("whitening")
    parts = (value["name"], value.get("pooling"), whitening and f"whitening:{whitening[:12]}")
    text = f"{'+'.join(filter(None, parts))} ({value['sha256'][:12]})"
    return f"{text} at {value['input_size']} px" if "input_size" in value else text


# Readers: a file to the lines that are compared.


def _json(tree: Tree, path: Path) -> list[str]:
    return list(_leaves(tree.mapped(json.loads(path.read_text()))))


def _jsonl(tree: Tree, path: Path) -> list[str]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return list(_leaves(tree.mapped(lines)))


def _said(tree: Tree, path: Path) -> list[str]:
    """JSON in what a command prints is compared as JSON."""
    head, marker, rest = path.read_text().partition("--- standard output\n")
    output, other, error = rest.partition("\n--- standard error\n")
    lines = [*head.splitlines(), marker.strip()]
    try:
        lines += _leaves(tree.mapped(json.loads(output)))
    except ValueError:
        for line in output.splitlines():
            if any(re.search(pattern, line) for pattern in VARYING_LINES):
                continue
            lines += _leaves(tree.mapped(json.loads(line))) if line.startswith("{") else [line]
    lines += [other.strip(), *error.splitlines()]
    return [tree.text(line) for line in lines]


def _leaves(value: Any, where: str = "") -> Iterator[str]:
    """A line for each value that holds no others, with its place; keys in order of the alphabet."""
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _leaves(value[key], f"{where}.{key}")
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from _leaves(each, f"{where}[{number}]")
    else:
        yield f"{where or '.'} = {json.dumps(value)}"


def _text(tree: Tree, path: Path) -> list[str]:
    return path.read_bytes().decode(errors="surrogateescape").split("\n")


class _Page(HTMLParser):
    """The texts, images and charts of a page, without its style and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[str] = []
        self._hidden = 0
        self._section = ""
        self._charts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("style", "script")
        self._charts += tag == "svg"
        if tag == "section":
            self._section = dict(attrs).get("id") or ""
        if self._section in VARYING_SECTIONS:
            return
        self.items += [f"image {value}" for key, value in attrs if key == "src"]
        if self._charts:
            self.items += [f"chart {tag} {key} {value}" for key, value in attrs if key in DRAWN]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")
        self._charts -= tag == "svg"

    def handle_data(self, data: str) -> None:
        if not self._hidden and self._section not in VARYING_SECTIONS and data.strip():
            self.items.append(" ".join(data.split()))


def _html(tree: Tree, path: Path) -> list[str]:
    page = _Page()
    page.feed(path.read_text())
    return [item if item.startswith("image ") else tree.text(item) for item in page.items]


def _bytes(tree: Tree, path: Path) -> list[str]:
    data = path.read_bytes()
    return [f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}"]


_READERS: dict[str, Callable[[Tree, Path], list[str]]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".csv": _text,
    ".txt": _text,
    ".tex": _text,
    ".html": _html,
}


# Differences


def compare(old: Tree, new: Tree, shown: int) -> Iterator[str]:
    """A paragraph for each file that differs."""
    names = sorted({*old.files, *new.files}, key=lambda name: (_last(name), name))
    for name in names:
        if name not in new.files:
            yield f"only in OLD: {name}"
        elif name not in old.files:
            yield f"only in NEW: {name}"
        else:
            before, after = old.lines(name), new.lines(name)
            if before != after:
                yield f"{name}: {_magnitude(old.files[name], new.files[name])}\n" + "\n".join(
                    _difference(before, after, shown)
                )


def _last(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in SHOWN_LAST)


def _difference(before: list[str], after: list[str], shown: int) -> Iterable[str]:
    difference = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    lines = [
        line if len(line) <= 200 else f"{line[:200]} …"
        for line in difference
        if not line.startswith("@@")
    ]
    left = len(lines) - shown
    return [f"    {line}" for line in lines[:shown]] + (
        [f"    … and {left} more lines"] if left > 0 else []
    )


def _magnitude(old: Path, new: Path) -> str:
    """How far two images or tensors are from each other, where they can be subtracted."""
    try:
        first, second = _array(old), _array(new)
        if first.shape != second.shape:
            return f"shape {first.shape} and {second.shape}"
        distance = abs(first.astype(float) - second.astype(float))
        return (
            f"{(distance > 0).sum()} of {distance.size} values differ, by {distance.max()} at most"
        )
    except (ValueError, OSError, LookupError):
        return "differs"


def _array(path: Path) -> Any:
    import numpy as np

    if path.suffix in (".pt", ".pth"):
        import torch

        return torch.load(path, weights_only=True).numpy()
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix in (".png", ".jpg", ".jpeg", ".webp"):
        from PIL import Image

        return np.asarray(Image.open(path))
    raise LookupError(path.suffix)


def main() -> int:
    """Compare the trees; 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--lines", type=int, default=12, help="shown of each file (default: 12)")
    options = parser.parse_args()
    old, new = Tree(options.old, old=True), Tree(options.new, old=False)
    differences = list(compare(old, new, options.lines))
    if not differences:
        print(f"equal: {len(old.files)} files of {options.old} and {options.new}")
        return 0
    print("\n".join(differences))
    print(f"{len(differences)} of {len({*old.files, *new.files})} files differ")
    return 1


if __name__ == "__main__":
    sys.exit(main())
