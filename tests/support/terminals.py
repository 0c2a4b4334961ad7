"""A program in a pseudo terminal, and what it writes there."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

#: Sequences that move the cursor, set colours or modes, or name the window.
_CONTROL = re.compile(
    r"\x1b(?:\[[0-9;?=>]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78cM])|[\x07\x0e\x0f]"
)
#: Makes the terminal of standard input the controlling one, so that Ctrl-C is a signal, and becomes the program.
_TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Terminal:
    """The other end of a pseudo terminal: what the program wrote, and what is typed to it."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.descriptor, self.process = descriptor, process
        self.raw = b""

    @property
    def text(self) -> str:
        """All that was written since `clear`, without control sequences."""
        return _CONTROL.sub("", self.raw.decode(errors="replace"))

    def clear(self) -> None:
        """Forget what was written."""
        self.read(0)
        self.raw = b""

    def read(self, seconds: float) -> bool:
        """Read what is written within ``seconds``; False at the end."""
        while select.select([self.descriptor], [], [], seconds)[0]:
            try:
                data = os.read(self.descriptor, 65536)
            except OSError:  # Linux: the program has closed its end
                data = b""
            if not data:
                return False
            self.raw += data
            seconds = 0
        return True

    def type(self, keys: str) -> None:
        """Type keys."""
        os.write(self.descriptor, keys.encode())

    def shows(self, texts: Sequence[str], seconds: float) -> bool:
        """Whether all of the texts are written within ``seconds``."""
        end = time.monotonic() + seconds
        while any(text not in self.text for text in texts):
            if time.monotonic() > end or not self.read(0.1):
                return all(text in self.text for text in texts)
        return True

    def hang_up(self) -> None:
        """Close the terminal, as a window that is closed, or a connection that is lost."""
        os.close(self.descriptor)
        self.descriptor = -1

    def wait(self, seconds: float = 60) -> int:
        """Read to the end, and return the exit code of the program."""
        end = time.monotonic() + seconds
        while self.read(0.1):
            assert time.monotonic() < end, self.text
            if self.process.poll() is not None and not select.select([self.descriptor], [], [], 0)[0]:
                break
        return self.process.wait(seconds)


@contextmanager
def terminal(
    command: Sequence[str | Path], environment: Mapping[str, str], columns: int = 160, **options: Any
) -> Iterator[Terminal]:
    """Start a command in a new terminal. ``options`` are those of Popen, such as a standard output of its own."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))  # not on Windows
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKE, *map(str, command)],
        env={**environment, "TERM": "xterm"},
        start_new_session=True,
        **{**streams, **options},
    )
    os.close(theirs)
    opened = Terminal(ours, process)
    try:
        yield opened
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if opened.descriptor >= 0:
            os.close(ours)
