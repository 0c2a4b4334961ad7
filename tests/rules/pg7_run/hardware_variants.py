"""PG711 to PG714: trainings on machines with other GPUs than they need. Full disks are in test_hardware.py."""

from __future__ import annotations

from tests.rules.pg7_run.trainings import CT, FULLRES, PLANS, READY
from tests.support.graphics import ADA, SMALL, TURING, graphics
from tests.support.variants import Edit, Variant, put

TRAIN = ("3d_fullres", "0")
BATCH = f"{FULLRES}/batch_size"


def batch(size: int) -> Edit:
    return put(PLANS, BATCH, size)


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
)
