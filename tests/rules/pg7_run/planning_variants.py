"""PG751, PG752: plannings that are about to replace plans."""

from __future__ import annotations

from tests.rules.pg7_run.trainings import READY
from tests.support.moves import MOVED, move
from tests.support.variants import PLANS, Variant, finding

CT = "Dataset002_FinetuneCT"
PLAN = ("nnUNetv2_plan_experiment", "-d", "2", "-overwrite_plans_name")

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
)
