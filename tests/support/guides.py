"""Run the commands of a page of docs/ in one shell, and compare what it shows with what they print.

A block of the kind ``console`` is a session: all lines that begin with ``$ `` are typed, in the order of the page.
Another block is not typed, and the line above it says why: ``<!-- not run: the reason -->``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT
from tests.support.demos import as_pattern, steps
from tests.support.models import CHECKPOINT, FIXTURE, pack
from tests.support.variants import FIXTURES, ROOTS

DOCS = ROOT / "docs"
#: The page that makes its own workspace, in a clone of the project.
TUTORIAL = DOCS / "tutorial.md"
#: The page that starts a cluster and runs nnU-Net.
ON_CLUSTER = DOCS / "howto/dask.md"
GUIDES = [TUTORIAL, *sorted((DOCS / "howto").glob("*.md"))]
BLOCK = re.compile(
    r"^(<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
#: Separates the outputs of commands; no command prints it.
_END = "\x1e"


class Step(NamedTuple):
    """A command of a page, what the page shows, what was printed, and the exit code."""

    command: str
    shown: str
    printed: str
    code: int

    @property
    def is_as_shown(self) -> bool:
        """Whether the page shows what was printed; a line ``...`` replaces omitted lines."""
        return re.fullmatch(as_pattern(self.shown), self.printed) is not None


def unmarked(page: Path) -> list[str]:
    """The first lines of blocks that are neither sessions nor marked with the reason."""
    blocks = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [block["text"].partition("\n")[0] for block in blocks if block["kind"] != "console" and not block["reason"]]


def play(page: Path, folder: Path) -> list[Step]:
    """Type the commands of a page into one bash, which ends what it started in the background.

    The port of the page's scheduler is replaced by a free one.
    """
    text = page.read_text(encoding="utf-8").replace("8786", str(_free_port()))
    typed = [step for block in BLOCK.finditer(text) if block["kind"] == "console" for step in steps(block["text"])]
    script = "trap 'kill $(jobs -p) 2> /dev/null' EXIT\n"
    script += "".join(f"{command}\nprintf '{_END}%s{_END}' $?\n" for command, _ in typed)
    done = subprocess.run(
        ["bash", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        cwd=_prepared(page, folder),
        env=_environment(page, folder),
        check=False,
    )
    parts = done.stdout.split(_END)[:-1]
    return [
        Step(command, shown, printed, int(code))
        for (command, shown), printed, code in zip(typed, parts[::2], parts[1::2], strict=True)
    ]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _prepared(page: Path, folder: Path) -> Path:
    """The folder in which a page begins: for the tutorial a clone, for guides the tutorial's workspace with weights."""
    shutil.copytree(FIXTURES / "workspace", folder / "fixtures/workspace")
    if page == TUTORIAL:
        return folder
    here = folder / "fixtures/workspace"
    shutil.copy(CHECKPOINT, here / "checkpoint_final.pth")
    pack(here / "model.zip", FIXTURE)
    if page.name == "released-model.md":  # its reader holds the file only
        shutil.rmtree(here / ROOTS["results"] / FIXTURE.parent.name)
    return here


def _environment(page: Path, folder: Path) -> dict[str, str]:
    programs = folder / "bin"
    programs.mkdir()
    program = programs / "plansguard"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m plansguard "$@"\n')
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    variables = {} if page == TUTORIAL else {name: name for name in ROOTS.values()}
    return {
        **kept,
        **variables,
        "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "CUDA_VISIBLE_DEVICES": "",
    }
