"""Compare the delay of a training by a checkpoint: that of the step trainer, and that of nnU-Net's own save_checkpoint.

Both train a network of 31 million parameters on the CPU, in one thread, and take turns in one process: five steps, of
which the second one saves a checkpoint of 250 MB. The step trainer writes it in the background, to the disk itself
(fsync); nnU-Net writes it into the cache of the system. The delay of a step is its time without the median of the steps
that save nothing: five steps in which no checkpoint is saved alternate with the others. The delay of all five steps
contains what the writing takes from the steps beside it.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import trainer

ROUNDS, STEPS = 12, 5
DELAY = 1 / 3
TRAINERS = {"ours": f"nnUNetTrainer_{100 * ROUNDS * STEPS}steps", "theirs": "nnUNetTrainer"}

PREPARE = """
import json, sys
from pathlib import Path
from tests.support.stepping import *

root = Path(sys.argv[1])
make_workspace(root)
path = root / ROOTS["preprocessed"] / DATASET / f"{PLANS}.json"
plans = json.loads(path.read_bytes())
arguments = plans["configurations"][CONFIGURATION]["architecture"]["arch_kwargs"]
arguments.update(n_stages=5, features_per_stage=[16, 16, 16, 512, 512], n_conv_per_stage=[1, 1, 1, 5, 5])
arguments.update(n_conv_per_stage_decoder=[3, 1, 1, 1], kernel_sizes=[[3, 3]] * 5, strides=[[1, 1]] + [[2, 2]] * 4)
path.write_text(json.dumps(plans))
"""
#: Trains with the trainers of these names in turn. Prints the size of the checkpoint, the number of parameters, and for
#: each trainer the seconds of each step of each round, without a checkpoint and with one.
TRAIN = """
import json, sys, time
from pathlib import Path
import torch
from tests.support.stepping import begun

rounds, steps, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
torch.set_num_threads(1)

def train(trainer, saves):
    times = []
    for number in range(steps):
        start = time.perf_counter()
        trainer.train_step(next(trainer.dataloader_train))
        if saves and number == 1:
            trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
        times.append(time.perf_counter() - start)
    if hasattr(trainer, "_background"):
        trainer._background.wait()
    return times

trainers = []
for name in names:
    trainer = begun(name)
    train(trainer, False)
    trainers.append(trainer)
times = [([], []) for _ in trainers]
for number in range(rounds):
    for trainer, records in list(zip(trainers, times))[:: -1 if number % 2 else 1]:
        for saves, record in enumerate(records):
            record.append(train(trainer, saves))
size = max(path.stat().st_size for path in Path(trainers[0].output_folder).glob("*.pth"))
print(json.dumps([size, sum(one.numel() for one in trainers[0].network.parameters()), times]))
"""


class Delays(NamedTuple):
    """Of one trainer, in seconds."""

    step: float
    """Median of the steps that save nothing."""
    longest: float
    """The longest of the steps that save a checkpoint."""
    saving: float
    """Median delay of the step that saves."""
    block: float
    """Median delay of the five steps."""


def table() -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether the delay is within its limit."""
    with tempfile.TemporaryDirectory() as folder:
        trainer.run(Path(folder), PREPARE, folder)
        output = trainer.run(Path(folder), TRAIN, str(ROUNDS), str(STEPS), *TRAINERS.values())
    size, parameters, times = json.loads(output.splitlines()[-1])
    ours, theirs = (delays(*records) for records in times)
    ratio = ours.saving / theirs.saving
    rows = [
        ("median step (ms)", ours.step, theirs.step, ""),
        ("delay of the step that saves (ms)", ours.saving, theirs.saving, f"<= {DELAY:.2f}"),
        (f"delay of {STEPS} steps beside it (ms)", ours.block, theirs.block, ""),
    ]
    return [
        f"A checkpoint of {size / 1e6:.0f} MB, {parameters / 1e6:.1f} million parameters. The longest step with a "
        f"checkpoint takes {ours.longest / ours.step:.2f} times as long as the median step, with nnUNetTrainer "
        f"{theirs.longest / theirs.step:.2f} times.",
        "",
        "| | step trainer | nnUNetTrainer | ratio | limit |",
        "|---|---|---|---|---|",
        *(f"| {name} | {1000 * a:.0f} | {1000 * b:.0f} | {a / b:.2f} | {limit} |" for name, a, b, limit in rows),
    ], ratio <= DELAY


def delays(plain: list[list[float]], saving: list[list[float]]) -> Delays:
    """Return the delays, from the seconds of each step of the rounds without and with a checkpoint."""
    step = statistics.median(one for steps in plain for one in steps)
    saves = [steps[1] for steps in saving]
    blocks = [statistics.median(map(sum, rounds)) for rounds in (plain, saving)]
    return Delays(step, max(saves), statistics.median(saves) - step, blocks[1] - blocks[0])


if __name__ == "__main__":
    print(*table()[0], sep="\n")
