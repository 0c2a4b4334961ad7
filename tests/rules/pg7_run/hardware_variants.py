"""PG711 to PG714, PG740: machines with other GPUs or processes than a training needs. Full disks: test_hardware.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from plansguard.nnunet.constants import DA_PROCESSES, PROCESSES
from tests.rules.pg7_run.trainings import CT, FULLRES, PLANS, READY
from tests.rules.pg7_run.trainings import TRAIN as CPU
from tests.support.graphics import ADA, SMALL, TURING, graphics
from tests.support.variants import Edit, Variant, put

TRAIN = ("3d_fullres", "0")
BATCH = f"{FULLRES}/batch_size"


def batch(size: int) -> Edit:
    return put(PLANS, BATCH, size)


def processes(variable: str, number: int) -> Callable[[Path], Mapping[str, str]]:
    """Set a number of processes."""
    return lambda workspace: {variable: str(number)}


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "a GPU too small for the plans",
        CT,
        (*READY, graphics(SMALL)),
        frozenset({("PG711", PLANS, BATCH)}),
        twin=(*READY, graphics(TURING)),
        training=TRAIN,
    ),
    Variant(
        "a batch whose half is too large for a GPU",
        CT,
        (*READY, batch(64), graphics(TURING, TURING)),
        frozenset({("PG711", PLANS, BATCH)}),
        twin=(*READY, batch(64), graphics(ADA, ADA)),
        training=(*TRAIN, "-num_gpus", "2"),
    ),
    Variant(
        "more GPUs than samples",
        CT,
        (*READY, graphics(TURING, TURING, TURING, TURING)),
        frozenset({("PG712", PLANS, BATCH)}),
        twin=(*READY, batch(8), graphics(TURING, TURING, TURING, TURING)),
        training=(*TRAIN, "-num_gpus", "4"),
    ),
    Variant(
        "uneven shares of the batch",
        CT,
        (*READY, batch(5), graphics(TURING, TURING)),
        frozenset({("PG713", PLANS, BATCH)}),
        twin=(*READY, batch(4), graphics(TURING, TURING)),
        training=(*TRAIN, "-num_gpus", "2"),
    ),
    Variant(
        "one sample for each GPU",
        CT,
        (*READY, graphics(TURING, TURING)),
        frozenset({("PG713", PLANS, BATCH)}),
        twin=(*READY, batch(6), graphics(TURING, TURING)),
        training=(*TRAIN, "-num_gpus", "2"),
    ),
    Variant(
        "no GPU",
        CT,
        READY,
        frozenset({("PG714", PLANS, FULLRES)}),
        twin=(*READY, graphics(TURING)),
        training=TRAIN,
    ),
    Variant(
        "fewer GPUs than asked for",
        CT,
        (*READY, batch(8), graphics(TURING)),
        frozenset({("PG714", PLANS, FULLRES)}),
        twin=(*READY, batch(8), graphics(TURING, TURING)),
        training=(*TRAIN, "-num_gpus", "2"),
    ),
    Variant(
        "no process for the final validation",
        CT,
        READY,
        frozenset({("PG740", PLANS, FULLRES)}),
        twin=READY,
        training=CPU,
        environment=processes(PROCESSES, 0),
        twin_environment=processes(PROCESSES, 1),
    ),
    Variant(
        "less than no process for the augmentation",
        CT,
        READY,
        frozenset({("PG740", PLANS, FULLRES)}),
        twin=READY,
        training=CPU,
        environment=processes(DA_PROCESSES, -1),
        twin_environment=processes(DA_PROCESSES, 0),
    ),
)
