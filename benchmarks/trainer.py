"""Compare the step trainer with the nnUNetTrainer that it is based on: the pace of its steps, and its memory.

Both train a tiny network on the CPU for 200 steps. For the pace they take turns in one process, in blocks of two steps
with the same random numbers; the one that begins changes with each block. Times are of the processor. The ratio is the
median over the pairs of blocks of seven such processes: between processes the ratio differs by up to 2 %.
For the memory each has a process of its own, in which nnU-Net has looked for a step trainer: that imports all of
nnU-Net's trainers, and takes 40 MiB, for any trainer that is not nnU-Net's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from memory import OWN_PEAK

ROOT = Path(__file__).resolve().parents[1]
STEPS, BLOCK, ROUNDS = 200, 2, 7
PACE, MEMORY = 0.98, 1.02
TRAINERS = {"ours": f"nnUNetTrainer_{STEPS}steps", "theirs": "nnUNetTrainer"}

PREPARE = (
    "import sys; from pathlib import Path; from tests.support.stepping import *; make_workspace(Path(sys.argv[1]))"
)
#: Trains with the trainers of these names in turn, and prints the seconds of each block of each, and the peak in KiB.
TRAIN = """
import json, random, sys, time
import numpy, torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from tests.support.stepping import begun

steps, block, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
torch.set_num_threads(1)

def seed(number):
    random.seed(number)
    numpy.random.seed(number)
    torch.manual_seed(number)

recursive_find_trainer_class_by_name(f"nnUNetTrainer_{steps}steps")
trainers = []
for name in names:
    trainer = begun(name)
    trainers.append(trainer)
times = [[] for _ in trainers]
for number in range(steps // block):
    pairs = list(zip(trainers, times))
    for trainer, record in pairs[:: -1 if number % 2 else 1]:  # the second one finds more in the caches
        seed(number)
        start = time.process_time()
        for _ in range(block):
            trainer.train_step(next(trainer.dataloader_train))
        record.append(time.process_time() - start)
print(json.dumps([times, OWN_PEAK]))
""".replace("OWN_PEAK", OWN_PEAK)


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether pace and memory are within their limits."""
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), PREPARE, folder)
        runs = [train(Path(folder), *TRAINERS.values())[0] for _ in range(ROUNDS)]
        peaks = [train(Path(folder), name)[1] / 1024 for name in TRAINERS.values()]
    ours, theirs = ([seconds for run in runs for seconds in run[side]] for side in range(2))
    pace = statistics.median(one / other for one, other in zip(theirs, ours, strict=True))
    seconds, memory = (sum(ours) / ROUNDS, sum(theirs) / ROUNDS), peaks[0] / peaks[1]
    rows = [
        f"| processor seconds of {STEPS} steps (pace) | {seconds[0]:.2f} | {seconds[1]:.2f} | {pace:.3f} | >= {PACE} |",
        f"| peak memory (MiB) | {peaks[0]:.0f} | {peaks[1]:.0f} | {memory:.3f} | <= {MEMORY} |",
    ]
    header = ["| | step trainer | nnUNetTrainer | ratio | limit |", "|---|---|---|---|---|"]
    return [*header, *rows], pace >= PACE and memory <= MEMORY


def train(root: Path, *names: str) -> tuple[list[list[float]], int]:
    """Return the seconds of each block of each trainer, and the peak of memory in KiB."""
    return tuple(json.loads(run(root, TRAIN, str(STEPS), str(BLOCK), *names).splitlines()[-1]))  # type: ignore[return-value]


def run(root: Path, program: str, *arguments: str) -> str:
    """Run a program in a workspace; return its output."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    more: dict[str, Any] = {name: str(root / name) for name in names}
    more |= {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f", "CUDA_VISIBLE_DEVICES": ""}
    more |= {"nnUNet_extTrainer": str(ROOT / "plansguard/training/extension"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    print(*table()[0], sep="\n")
