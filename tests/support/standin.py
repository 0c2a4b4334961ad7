"""A stand-in for nnUNetv2_preprocess that fails, hangs or omits cases on request.

It changes files as nnU-Net's command does: deletes the data folder, writes case by case, copies the labels. The arrays
are those of fixtures/headers, in turn. tests/commands/test_preprocess.py runs the real command as well.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from plansguard.nnunet.inheritance import resolve_configuration
from tests.support import preprocessed
from tests.support.preprocessed import ROOT

#: Environment variable with its instructions: the names of these steps, separated by blanks.
STEPS = "STAND_IN"
#: Where it writes its arguments and the signals that it received.
LOG = "STAND_IN_LOG"


def install(folder: Path) -> Path:
    """Write the command as an executable file in ``folder``, run by this Python."""
    program = folder / "nnUNetv2_preprocess"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.support.standin import main\nmain(sys.argv[1:])\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def main(arguments: list[str]) -> None:
    """``-d ID -plans_name IDENTIFIER -c CONFIGURATION [-np N]``."""
    steps = os.environ.get(STEPS, "").split()
    _log("run " + " ".join(arguments))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    raw, dataset = (
        next(Path(os.environ[root]).glob(f"Dataset{int(options['-d']):03d}_*"))
        for root in ("nnUNet_raw", "nnUNet_preprocessed")
    )
    plans = json.loads((dataset / f"{options['-plans_name']}.json").read_bytes())
    configuration = resolve_configuration(plans["configurations"], options["-c"])
    if "hang-early" in steps:
        _hang()
    folder = dataset / configuration["data_identifier"]
    shutil.rmtree(folder, ignore_errors=True)
    names = sorted(path.name.partition(".")[0] for path in (raw / "labelsTr").iterdir())
    write_cases(dataset.name, folder, names[:2])
    if "hang" in steps:
        _hang()
    if "fail" in steps:
        sys.exit("RuntimeError: Some background worker is 6 feet under.")
    if "edit" in steps:
        (dataset / "dataset.json").write_bytes((dataset / "dataset.json").read_bytes() + b"\n")
    write_cases(dataset.name, folder, names[2 : -1 if "lose" in steps else None])
    shutil.copytree(raw / "labelsTr", dataset / "gt_segmentations", dirs_exist_ok=True)
    if "fail-late" in steps:
        sys.exit("RuntimeError: Some background worker is 6 feet under.")
    print(f"stand-in: wrote {folder.name}", flush=True)


def write_cases(dataset: str, folder: Path, names: list[str]) -> None:
    """Write cases of these names, copied from fixtures/headers for this kind of data."""
    source = ROOT / "fixtures/headers" / dataset / folder.name
    if not source.is_dir():
        source = next(path for path in source.parent.iterdir() if path.name.endswith("3d_fullres"))
    given = preprocessed.lay_out(source, folder.with_name("given"))
    folder.mkdir(exist_ok=True)
    cases = sorted(path.stem for path in given.glob("*.pkl"))
    for number, name in enumerate(names):
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            shutil.copy(given / f"{cases[number % len(cases)]}{ending}", folder / f"{name}{ending}")
    shutil.rmtree(given)


def _stop(number: int, _: object) -> None:
    _log(f"signal {number}")
    sys.exit(1)


def _hang() -> None:
    _log(f"hanging {os.getpid()}")
    time.sleep(600)


def _log(line: str) -> None:
    with Path(os.environ[LOG]).open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
