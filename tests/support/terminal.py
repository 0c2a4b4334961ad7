"""Commands on a pseudo terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT

#: Variables that decide about colours, which a test sets itself.
_OF_COLORS = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM")


def on_terminal(
    *words: str | Path, columns: int = 80, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> str:
    """Run ``plansguard WORDS`` on a terminal; return what it shows in the end, with colours and plain line ends."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_COLORS}
    variables = {**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(environment or {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "plansguard", *map(str, words)],
        stdin=its,
        stdout=its,
        stderr=its,
        env=variables,
        cwd=folder,
    )
    os.close(its)
    shown = bytearray()
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux, when the last process has closed the terminal
            break
        if not part:
            break
        shown += part
    process.wait()
    os.close(ours)
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    return "\n".join(line.rpartition("\r")[2] for line in lines)  # progress is written and erased in one line
