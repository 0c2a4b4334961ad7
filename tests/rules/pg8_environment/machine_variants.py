"""PG821, PG822, PG825, PG826: jobs of SLURM. Other limits: test_machine.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.rules.pg7_run.trainings import CT, FULLRES, PLANS, READY, TRAIN
from tests.support.variants import Variant


def job(**variables: str) -> Callable[[Path], Mapping[str, str]]:
    """A job of SLURM in which nnU-Net starts two processes for training and one for validation."""
    return lambda workspace: {"nnUNet_n_proc_DA": "2", **variables}


TWO_PROCESSES = ("nnUNetv2_preprocess", "-d", "2", "-c", "3d_fullres", "-np", "2")
VARIANTS: tuple[Variant, ...] = (
    Variant(
        "a job with little memory",
        CT,
        READY,
        frozenset({("PG821", PLANS, FULLRES)}),
        twin=READY,
        training=TRAIN,
        environment=job(SLURM_MEM_PER_NODE="500"),
        twin_environment=job(SLURM_MEM_PER_NODE="2000"),
    ),
    Variant(
        "little memory for each core of a job",
        CT,
        READY,
        frozenset({("PG821", PLANS, FULLRES)}),
        twin=READY,
        training=TRAIN,
        environment=job(SLURM_MEM_PER_CPU="250", SLURM_CPUS_ON_NODE="2"),
        twin_environment=job(SLURM_MEM_PER_CPU="1000", SLURM_CPUS_ON_NODE="2"),
    ),
    Variant(
        "one core of a node",
        CT,
        READY,
        frozenset({("PG822", PLANS, FULLRES)}),
        twin=READY,
        training=TRAIN,
        environment=job(SLURM_CPUS_PER_TASK="1"),
        twin_environment=job(SLURM_CPUS_PER_TASK="2"),
    ),
    Variant(
        "a job with little memory for preprocessing",
        CT,
        (),
        frozenset({("PG825", PLANS, FULLRES)}),
        command=TWO_PROCESSES,
        environment=job(SLURM_MEM_PER_NODE="400"),
        twin_environment=job(SLURM_MEM_PER_NODE="800"),
    ),
    Variant(
        "one core for preprocessing",
        CT,
        (),
        frozenset({("PG826", PLANS, FULLRES)}),
        command=TWO_PROCESSES,
        environment=job(SLURM_CPUS_PER_TASK="1"),
        twin_environment=job(SLURM_CPUS_PER_TASK="2"),
    ),
)
