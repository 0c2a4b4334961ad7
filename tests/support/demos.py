"""Run the demos, and compare them with the README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT
from tests.support.variants import FIXTURES

README = (ROOT / "README.md").read_text(encoding="utf-8")
_ROAD = (ROOT / "docs/road.md").read_text(encoding="utf-8")
#: Heading in the README or in docs/road.md -> the demo whose session is shown there.
SCRIPTS = {
    "One command": "demo.py",
    "Three minutes": "demo.py",
    "Weights from elsewhere": "released_model.py",
    "Preprocessed data": "preprocessed_data.py",
    "The commands one by one": "road.py",
}
BLOCKS = [
    (SCRIPTS[section.partition("\n")[0]], block)
    for section in f"{README}\n{_ROAD}".split("\n## ")
    for block in re.findall(r"^```console\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
]


class Session(NamedTuple):
    """A demo that was run: command, output and exit code of each step, and the workspace it left."""

    script: str
    played: list[tuple[str, str, int]]
    workspace: Path

    def outputs(self, command: str) -> list[str]:
        """Return the output of each run of a command."""
        return [output for one, output, _ in self.played if one == command]


def play(script: str, here: Path, python: str = sys.executable, path: str = str(ROOT)) -> Session:
    """Run a copy of a demo in ``here``, since it writes beside itself."""
    shutil.copytree(ROOT / "demo", here / "demo", ignore=shutil.ignore_patterns("workspace"))
    shutil.copytree(FIXTURES / "workspace", here / "fixtures" / "workspace")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    done = subprocess.run(
        [python, here / "demo" / script],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        cwd=here,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    played = []
    for command, printed in steps(done.stdout):
        output, ending, _ = printed.partition("(exit code ")
        if ending:
            played.append((command, output, int(re.findall(r"^\d+", printed[len(output) + len(ending) :])[0])))
    return Session(script, played, here / "demo/workspace")


def steps(text: str) -> list[tuple[str, str]]:
    """Return (command, output) of a session in which every command begins with ``$ ``."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def assert_shown(session: Session) -> None:
    """Check that the README shows the demo's output exactly; a line ``...`` replaces omitted lines."""
    for block in (block for script, block in BLOCKS if script == session.script):
        assert steps(block), "a console block begins with a command"
        for command, printed in steps(block):
            outputs = session.outputs(command)
            assert any(re.fullmatch(as_pattern(printed), output) for output in outputs), f"$ {command}\n{outputs}"


def as_pattern(printed: str) -> str:
    """Return the pattern of an output as shown: a line ``...`` replaces omitted lines."""
    return "".join(r"(?:.*\n)+?" if line == "...\n" else re.escape(line) for line in printed.splitlines(keepends=True))
