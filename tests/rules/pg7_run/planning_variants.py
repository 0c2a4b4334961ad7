"""PG751, PG752, PG756, PG757: plannings that are about to replace plans, or cannot make any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from plansguard.nnunet.constants import DA_PROCESSES
from tests.rules.pg7_run.trainings import READY
from tests.support.moves import MOVED, move
from tests.support.nnunets import installed
from tests.support.variants import PLANS, Variant, finding, written

CT = "Dataset002_FinetuneCT"
PLANNERS = "site/nnunetv2/experiment_planning"
PLAN = ("nnUNetv2_plan_experiment", "-d", "2", "-overwrite_plans_name")


def augmenting(processes: int) -> Callable[[Path], Mapping[str, str]]:
    """Set the number of processes that augment."""
    return lambda workspace: {DA_PROCESSES: str(processes)}


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "planning-over-migrated-plans",
        CT,
        (move(),),
        finding("PG751", MOVED),
        twin=(move(),),
        command=(*PLAN, "PretrainPlans"),
        twin_command=(*PLAN, "Mine"),
    ),
    Variant(
        "planning-over-plans-in-use",
        CT,
        READY,
        finding("PG752", PLANS),
        command=(*PLAN, "nnUNetPlans"),
    ),
    Variant(
        "planner-of-another-nnunet",
        CT,
        (
            installed(),
            written(f"{PLANNERS}/__init__.py", ""),
            written(f"{PLANNERS}/presets.py", "class Mine:\n    pass\n"),
        ),
        finding("PG757", "preprocessed"),
        twin=(
            installed(),
            written(f"{PLANNERS}/__init__.py", ""),
            written(f"{PLANNERS}/presets.py", "class ExperimentPlanner:\n    pass\n"),
        ),
        command=(*PLAN, "Mine"),
        site=True,
    ),
    Variant(
        "no-thread-to-plan-with",
        CT,
        (),
        finding("PG756", "preprocessed"),
        command=(*PLAN, "Mine"),
        environment=augmenting(0),
        twin_environment=augmenting(1),
    ),
)
