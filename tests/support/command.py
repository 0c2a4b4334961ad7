"""Run commands of plansguard, in this process or in another one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from plansguard.cli import main
from tests.conftest import ROOT


class Done(NamedTuple):
    """Result of a command: exit code and output."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, parsed as JSON."""
        document: dict[str, Any] = json.loads(self.out)
        return document


def run(*arguments: str | Path) -> Done:
    """Run ``plansguard ARGUMENTS`` in this process, which is faster. Exceptions are raised."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with patch.object(sys, "argv", ["plansguard", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        out.flush()
        err.flush()
    assert isinstance(code, int)
    return Done(code, _written(out), _written(err))


def start(*arguments: str | Path, before: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    """Start ``plansguard ARGUMENTS`` of this checkout as a process; ``before`` is a command around it."""
    options.setdefault("stdout", subprocess.PIPE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("environment", {})}
    return subprocess.run(
        [*before, sys.executable, "-m", "plansguard", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
        check=False,
        **options,
    )


def _written(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8")
