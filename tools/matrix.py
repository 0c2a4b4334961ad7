"""Run the light tests on every Python of this machine, with the oldest and with the newest dependencies.

``make matrix`` runs this. A row is one Python that pyproject.toml allows and one resolution. ``oldest`` installs the
lower bounds of pyproject.toml, or the first later versions that have a wheel for this Python; ``newest`` installs the
newest versions in the ranges. Environments are kept in ``$XDG_CACHE_HOME/plansguard-matrix`` (``~/.cache``); each call
resolves again and installs only what changed. Arguments choose rows: ``python tools/matrix.py 3.10 oldest``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plansguard-matrix"
LOGS = ROOT / "build" / "matrix"
RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
#: What the light tests use. The extra `train` is several GB, and its tests are not light.
EXTRAS = ("dev", "data", "dask", "report", "notebook")
#: Shown in the table: what `pip install plansguard` brings.
SHOWN = ("deepdiff", "filelock", "pydantic", "tomli", "typer")
LIGHT = ("-q", "-n", "2", "--dist", "worksteal", "-m", "not nnunet and not slow", "-p", "no:cacheprovider")
COUNTS = ("passed", "failed", "skipped")


class Row(NamedTuple):
    """The result of one Python and one resolution."""

    python: str
    resolution: str
    versions: str
    counts: dict[str, int]
    fault: str

    def cells(self) -> list[str]:
        """Return the row of the table."""
        return [
            self.python,
            self.resolution,
            *(str(self.counts.get(name, 0)) for name in COUNTS),
            self.fault or "ok",
            self.versions,
        ]


def pythons() -> dict[str, Path]:
    """Return the interpreters of this machine by version (``3.10``): of pyenv, else on PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    allowed = re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"', PROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    assert allowed is not None
    found = {}
    for name in (f"3.{minor}" for minor in range(int(allowed[1]), int(allowed[2]))):
        # The newest patch release of a minor version.
        kept = max(pyenv.glob(f"{name}.*/bin/python"), key=_patch, default=None)
        on_path = shutil.which(f"python{name}")
        if kept is not None:
            found[name] = kept
        elif on_path is not None:
            found[name] = Path(on_path)
    return found


def _patch(python: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", python.parents[1].name)]


def install(python: Path, resolution: str, environment: Path) -> str:
    """Install the project and its dependencies, and return the versions of those that the table shows."""
    uv = [sys.executable, "-m", "uv", "--quiet"]
    target = ["--python", str(environment)]
    pins, alone = (environment.with_name(f"{environment.name}{ending}.txt") for ending in ("", "-run-time"))
    if not (environment / "pyvenv.cfg").is_file():
        _run([*uv, "venv", "--python", str(python), str(environment)])
    # Sources are not built: the oldest version is one that users of this Python can install.
    choice = ["--resolution", RESOLUTIONS[resolution], "--only-binary", ":all:", "--upgrade", "--no-header"]
    compiled = [*uv, "pip", "compile", *target, *choice, str(PROJECT), "--output-file"]
    extras = [part for extra in EXTRAS for part in ("--extra", extra)]
    # What the package itself needs is resolved alone: a test tool that asks for a later version does not raise it.
    _run([*compiled, str(alone)])
    _run([*compiled, str(pins), *extras, "--override", str(alone)])
    _run([*uv, "pip", "sync", *target, str(pins)])
    _run([*uv, "pip", "install", *target, "--no-deps", "--editable", str(ROOT)])
    versions = dict(re.findall(r"^([\w-]+)==(\S+)", pins.read_text(encoding="utf-8"), re.MULTILINE))
    return ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(name: str, python: Path, resolution: str) -> Row:
    """Install and test one row; a failure is part of the result."""
    environment = CACHE / f"{name}-{resolution}"
    log = LOGS / f"{name}-{resolution}.log"
    try:
        versions = install(python, resolution, environment)
    except subprocess.CalledProcessError as error:
        log.write_text(error.stdout, encoding="utf-8")
        return Row(name, resolution, "", {}, f"not installed: {log}")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "nnUNet", "VIRTUAL"))}
    scripts = os.pathsep.join([str(environment / "bin"), variables["PATH"]])
    with tempfile.TemporaryDirectory(prefix="plansguard.") as scratch, log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [environment / "bin" / "python", "-m", "pytest", *LIGHT],
            cwd=ROOT,
            env={**variables, "PATH": scripts, "TMPDIR": scratch},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    counts = tally(log.read_text(encoding="utf-8"))
    return Row(name, resolution, versions, counts, f"failed: {log}" if done.returncode or not counts else "")


def tally(output: str) -> dict[str, int]:
    """Return the numbers of pytest's last line; errors count as failed."""
    last = output.rstrip().rpartition("\n")[2]
    counts = {name: int(number) for number, name in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    errors = counts.pop("error", 0)
    return {**counts, "failed": counts.get("failed", 0) + errors} if errors else counts


def table(rows: list[Row]) -> str:
    """Return the rows in aligned columns."""
    lines = [["Python", "versions", *COUNTS, "result", "dependencies"], *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def main(chosen: list[str]) -> int:
    """Run the rows, print the table, and return 1 if one failed or none was run."""
    LOGS.mkdir(parents=True, exist_ok=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    found = pythons()
    if unknown := set(chosen) - set(found) - set(RESOLUTIONS):
        print(f"not found: {', '.join(sorted(unknown))}; this machine has {', '.join(found)}", file=sys.stderr)
        return 1
    rows = []
    for name in [one for one in found if one in chosen] or list(found):
        for resolution in [one for one in RESOLUTIONS if one in chosen] or list(RESOLUTIONS):
            rows.append(run(name, found[name], resolution))
            print(*rows[-1].cells(), sep="  ", flush=True)
    print(f"\n{table(rows)}")
    return int(not rows or any(row.fault for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
