"""What README and the pages of docs/ show as commands can be given as it stands there."""

import importlib
import re
from pathlib import Path

import pytest

from activeindex.cli import COMMANDS, run
from tests.docs.pages import PAGES, Command, commands

ALL_COMMANDS = sorted({str(one): one for page in PAGES for one in commands(page)}.items())


@pytest.mark.parametrize("command", [one for _, one in ALL_COMMANDS], ids=str)
def test_commands_and_their_options_exist(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *words = command.words
    assert name in COMMANDS
    if command.whole:
        # All but what the command does.
        monkeypatch.setattr(importlib.import_module(f"activeindex.cli.{name}"), "run", id)
        assert run(command.words) == 0
        return
    actions = [word for word in words[:1] if name in ("keys", "store")]
    with pytest.raises(SystemExit):
        run([name, *actions, "--help"])
    known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_the_commands_of_the_readme_protect_pictures(after: Path) -> None:
    released = {path.name for path in (after / "RELEASED").glob("*.png")}
    assert released == {path.name for path in (after / "PICTURES").iterdir()}
