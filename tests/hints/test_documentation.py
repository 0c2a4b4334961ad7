"""Commands in README.md, CONTRIBUTING.md and docs/: the programs' own parsers accept them.

Code blocks hold commands to type. Between backticks in text, a command may be cut short (``nnUNetv2_train --c``); those
with the number of a dataset are complete.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.printed import obstacle

FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
#: A command between backticks.
INLINE = re.compile(r"(?<!`)`((?:plansguard|nnUNetv2_\w+) [^`]*)`")
PROGRAM = re.compile(r"(?:plansguard|nnUNetv2_\w+)")
#: What a script fills in, and placeholders of text -> a value.
VALUES = {"$trainer": "nnUNetTrainer_500steps", "${how[@]}": "--c", "N": "500", "PATH": "a.pth", "NAME": "NewPlans"}
#: Stands for words that are left out.
CUT = re.compile(r"\.\.\.")
#: Where commands name the number of a dataset.
NUMBER = re.compile(r"(-d|-s|-t|train) \d+")


def in_blocks(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands in code blocks: those typed, those printed after *Next*, and those behind launchers."""
    for kind, text in BLOCK.findall(path.read_text(encoding="utf-8")):
        for line in text.replace("\\\n", " ").splitlines() if kind in ("", "console", "bash", "sh") else ():
            if kind == "console" and not line.startswith(("$ ", "  plansguard ", "  nnUNetv2_")):
                continue
            for part in re.split(r" && | \|\| |; ", line):
                yield line, _words(part)


def in_text(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands between backticks with the number of a dataset."""
    for text in INLINE.findall(BLOCK.sub("", path.read_text(encoding="utf-8"))):
        words = _words(text.replace("\\|", "|").partition("|")[0])
        if NUMBER.search(text) and len(words) > 3:
            yield text, words


def _words(line: str) -> list[str]:
    """The words from the program on; none where a line has no command of the two."""
    if not PROGRAM.search(line) or line.lstrip().startswith("#"):
        return []
    words = [VALUES.get(word, word) for word in shlex.split(line, comments=True)]
    start = next((at for at, word in enumerate(words) if PROGRAM.fullmatch(word)), len(words))
    return words[start:]


COMMANDS = {
    f"{path.relative_to(ROOT)}: {text}": words
    for path in FILES
    for text, words in (*in_blocks(path), *in_text(path))
    if len(words) > 1 and not any(CUT.search(word) for word in words)
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=list(COMMANDS))
def test_a_command_is_accepted(words: list[str]) -> None:
    assert obstacle(words) is None


def test_the_commands_are_found() -> None:
    """A block of each kind, a continued line, a launcher, a chain, and text."""
    files = {place.partition(":")[0] for place in COMMANDS}
    assert {"README.md", "docs/gate.md", "docs/steps.md", "docs/road.md", "docs/weights.md"} <= files
    assert any(place.startswith("docs/howto/slurm.md: srun") for place in COMMANDS)
    assert any(place.startswith("docs/rules/") for place in COMMANDS)
