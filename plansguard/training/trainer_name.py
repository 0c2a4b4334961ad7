"""A trainer's name says its schedule: ``nnUNetTrainerNoMirroring_20000steps_1000per_lr1en3``.

``<BaseTrainer>_<N>steps[_from<M>][_<K>per][_<V>val][_lr<X>][_windowlr][_warmup<W>]``. nnU-Net names the folder of
results by the trainer, so all that changes a result must be in the name; what the name leaves out is the default. There
is one name for each schedule, and one schedule for each name.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from plansguard.core.errors import UsageError
from plansguard.nnunet import constants
from plansguard.nnunet.constants import DEFAULT_TRAINER
from plansguard.training.schedule import STOCK_PER_WINDOW, StepSchedule

_NAME = re.compile(
    r"(?P<base>[A-Za-z][A-Za-z0-9_]*?)_(?P<total>[0-9]{1,12})steps(?:_from(?P<before>[0-9]{1,12}))?"
    r"(?:_(?P<per>[0-9]{1,12})per)?(?:_(?P<val>[0-9]{1,12})val)?"
    r"(?:_lr(?P<rate>[0-9]{1,17}en?[0-9]{1,3}))?(?P<window>_windowlr)?(?:_warmup(?P<warmup>[0-9]{1,12}))?"
)
_FORM = "<BaseTrainer>_<N>steps[_from<M>][_<K>per][_<V>val][_lr<X>][_windowlr][_warmup<W>]"


class StepName(NamedTuple):
    """What a name says: the trainer that nnU-Net knows, and how many steps it is to make."""

    base: str
    schedule: StepSchedule


def trainer_name(base: str, schedule: StepSchedule) -> str:
    """The name of the trainer that is ``base`` with this schedule; UsageError where ``base`` cannot be one."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", base) or "__" in base or base.endswith("_"):
        raise UsageError(f"{base!r} is no name of a trainer", hint=f"nnU-Net's own is {DEFAULT_TRAINER}")
    if is_step_name(base):
        raise UsageError(
            f"{base} has a number of steps already", hint="name the trainer below it: what stands before the number"
        )
    parts = [base, f"{schedule.total}steps"]
    if schedule.extends:
        parts.append(f"from{schedule.extends}")
    if schedule.per_window != STOCK_PER_WINDOW:
        parts.append(f"{schedule.per_window}per")
    if schedule.validation is not None:
        parts.append(f"{schedule.validation}val")
    if schedule.rate is not None:
        parts.append(f"lr{_rate_word(schedule.rate)}")
    if schedule.by_window:
        parts.append("windowlr")
    if schedule.warmup:
        parts.append(f"warmup{schedule.warmup}")
    return "_".join(parts)


def extension_of(name: StepName) -> str | None:
    """The name of the training that this one goes on from; None where it begins by itself."""
    before = name.schedule.extended
    return None if before is None else trainer_name(name.base, before)


def is_step_name(name: str) -> bool:
    """Whether this is meant as such a name, right or wrong."""
    return constants.STEPS.search(name) is not None


def read_name(name: str) -> StepName:
    """What the name says. UsageError where it is not exactly the name of a schedule, with the right one if possible."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"{name} cannot be read as a number of steps", hint=f"trainers are called {_FORM}")
    found = StepName(
        match["base"],
        StepSchedule(
            total=int(match["total"]),
            per_window=int(match["per"] or STOCK_PER_WINDOW),
            validation=int(match["val"]) if match["val"] else None,
            rate=_rate(match["rate"]) if match["rate"] else None,
            by_window=match["window"] is not None,
            warmup=int(match["warmup"] or 0),
            extends=int(match["before"] or 0),
        ),
    )
    right = trainer_name(*found)
    if right != name:
        raise UsageError(
            f"{name} is another name for {right}, and would put the same training into another folder",
            hint=f"write {right}",
        )
    return found


def planned_steps(trainer: str | None) -> int | None:
    """How many steps the trainer of this name makes; None for other trainers, and for names that are none."""
    try:
        return read_name(trainer).schedule.total if trainer is not None and is_step_name(trainer) else None
    except UsageError:
        return None


def _rate_word(rate: float) -> str:
    """``1en3`` for 0.001, as in nnUNetTrainerAdam3en4: a dot or a minus sign cannot stand in a Python name."""
    sign, digits, exponent = Decimal(repr(float(rate))).normalize().as_tuple()
    assert sign == 0 and isinstance(exponent, int)  # noqa: PT018 - StepSchedule lets only finite positive rates through
    return f"{''.join(map(str, digits))}e{'n' * (exponent < 0)}{abs(exponent)}"


def _rate(word: str) -> float:
    return float(word.replace("n", "-"))
