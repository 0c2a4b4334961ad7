"""A Dask scheduler and worker processes, started by Dask's own commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from plansguard.core.cluster import connected
from tests.conftest import ROOT
from tests.support.preprocessing import wait_for
from tests.support.variants import ROOTS


@contextmanager
def dask_cluster(
    folder: Path, variables: Mapping[str, str], *, workers: int = 2, memory: str = "4GiB"
) -> Iterator[str]:
    """Start a cluster whose workers do not have nnU-Net's variables, yield its address, and end it.

    The workers end with the scheduler. ``memory`` is the limit of each.
    """
    file = folder / "scheduler.json"
    kept = {name: value for name, value in os.environ.items() if name not in ROOTS.values()}
    environment = {**kept, **variables, "PYTHONPATH": str(ROOT)}
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with ExitStack() as stack:
        for words in (
            [*scheduler, "--scheduler-file", str(file)],
            [
                *("worker", "--scheduler-file", str(file), "--nworkers", str(workers), "--nthreads", "1"),
                *("--memory-limit", memory, "--no-dashboard", "--local-directory", str(folder / "scratch")),
            ],
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                cwd=folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            address_in(file)
        address = address_in(file)
        with connected(address) as client:
            client.wait_for_workers(workers, timeout=120)
        yield address


def address_in(file: Path) -> str:
    """The address in the file of a scheduler, when the scheduler has written it to its end."""

    def read() -> str | None:
        with suppress(OSError, ValueError):
            return str(json.loads(file.read_bytes())["address"])
        return None

    return str(wait_for(read))
