"""Names of step trainers, which contain the schedule: ``nnUNetTrainerNoMirroring_20000steps_1000per_lr1en3``.

``<BaseTrainer>_<N>steps[_from<M>][_<K>per][_<V>val][_lr<X>][_windowlr][_warmup<W>][_keephead]``. nnU-Net names the
folder of results by the trainer, so the name must contain all that changes a result; what it omits is the default. Each
schedule has one name, and each name one schedule.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from plansguard.core.errors import UsageError
from plansguard.nnunet import constants
from plansguard.nnunet.constants import DEFAULT_TRAINER
from plansguard.training.schedule import GENTLE_RATE, STOCK_PER_WINDOW, STOCK_WINDOWS, StepSchedule

_NAME = re.compile(
    r"(?P<base>[A-Za-z][A-Za-z0-9_]*?)_(?P<total>[0-9]{1,12})steps(?:_from(?P<before>[0-9]{1,12}))?"
    r"(?:_(?P<per>[0-9]{1,12})per)?(?:_(?P<val>[0-9]{1,12})val)?"
    r"(?:_lr(?P<rate>[0-9]{1,17}en?[0-9]{1,3}))?(?P<window>_windowlr)?(?:_warmup(?P<warmup>[0-9]{1,12}))?"
    r"(?P<head>_keephead)?"
)
_FORM = "<BaseTrainer>_<N>steps[_from<M>][_<K>per][_<V>val][_lr<X>][_windowlr][_warmup<W>][_keephead]"


class StepName(NamedTuple):
    """The trainer of nnU-Net that a name is based on, and the schedule."""

    base: str
    schedule: StepSchedule


def trainer_name(base: str, schedule: StepSchedule) -> str:
    """The name of ``base`` with this schedule; UsageError for an invalid ``base``."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", base) or "__" in base or base.endswith("_"):
        raise UsageError(f"{base!r} is no name of a trainer", hint=f"nnU-Net's own is {DEFAULT_TRAINER}")
    if is_step_name(base):
        raise UsageError(
            f"{base} has a number of steps already",
            hint=f"name its base trainer: -tr {constants.base_trainer(base)}",
        )
    parts = [
        base,
        f"{schedule.total}steps",
        f"from{schedule.extends}" if schedule.extends else "",
        f"{schedule.per_window}per" if schedule.per_window != STOCK_PER_WINDOW else "",
        f"{schedule.validation}val" if schedule.validation is not None else "",
        f"lr{_rate_word(schedule.rate)}" if schedule.rate is not None else "",
        "windowlr" if schedule.by_window else "",
        f"warmup{schedule.warmup}" if schedule.warmup else "",
        "keephead" if schedule.keep_head else "",
    ]
    return "_".join(filter(None, parts))


def gentle_trainer(base: str = DEFAULT_TRAINER, schedule: StepSchedule | None = None) -> str:
    """The trainer of as many steps as ``schedule`` (default: nnU-Net's), at a learning rate for pretrained weights."""
    stock = StepSchedule(STOCK_PER_WINDOW * STOCK_WINDOWS)
    return trainer_name(base, replace(schedule or stock, rate=GENTLE_RATE))


def options_of(name: StepName) -> list[str]:
    """The options of ``plansguard train`` for the trainer of this name."""
    schedule = name.schedule
    options = ["--steps", str(schedule.extends or schedule.total)]
    options += ["--extend-to", str(schedule.total)] if schedule.extends else []
    options += ["--per-epoch", str(schedule.per_window)] if schedule.per_window != STOCK_PER_WINDOW else []
    options += ["--validation", str(schedule.validation)] if schedule.validation is not None else []
    options += ["--lr", f"{schedule.rate:g}"] if schedule.rate is not None else []
    options += ["--window-lr"] if schedule.by_window else []
    options += ["--warmup", str(schedule.warmup)] if schedule.warmup else []
    options += ["--keep-head"] if schedule.keep_head else []
    return options + (["-tr", name.base] if name.base != DEFAULT_TRAINER else [])


def extension_of(name: StepName) -> str | None:
    """The name of the training that this one extends, or None."""
    before = name.schedule.extended
    return None if before is None else trainer_name(name.base, before)


def keeping_head(name: str) -> str:
    """The same step trainer, which begins with the segmentation layers of pretrained weights."""
    base, schedule = read_name(name)
    return trainer_name(base, replace(schedule, keep_head=True))


def keeps_head(name: str | None) -> bool:
    """Whether this step trainer begins with the segmentation layers of pretrained weights."""
    known = known_step_name(name)
    return known is not None and known.schedule.keep_head


def is_step_name(name: str) -> bool:
    """Whether this is the name of a step trainer, valid or not."""
    return constants.STEPS.search(name) is not None


def read_name(name: str) -> StepName:
    """Parse a name. UsageError unless it is exactly the name of a schedule, with the right one if possible."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"{name} cannot be read as a number of steps", hint=f"the form is {_FORM}")
    parsed = StepName(
        match["base"],
        StepSchedule(
            total=int(match["total"]),
            per_window=int(match["per"] or STOCK_PER_WINDOW),
            validation=int(match["val"]) if match["val"] else None,
            rate=float(match["rate"].replace("n", "-")) if match["rate"] else None,
            by_window=match["window"] is not None,
            warmup=int(match["warmup"] or 0),
            extends=int(match["before"] or 0),
            keep_head=match["head"] is not None,
        ),
    )
    right = trainer_name(*parsed)
    if right != name:
        raise UsageError(
            f"{name} is another name for {right}, and would put the same training into another folder",
            hint=f"write {right}",
        )
    return parsed


def known_step_name(name: str | None) -> StepName | None:
    """The parts of a step trainer's name; None for other trainers and invalid names."""
    try:
        return read_name(name) if name is not None and is_step_name(name) else None
    except UsageError:
        return None


def planned_steps(trainer: str | None) -> int | None:
    """The number of steps of this step trainer; None for other trainers and invalid names."""
    name = known_step_name(trainer)
    return None if name is None else name.schedule.total


def _rate_word(rate: float) -> str:
    """``1en3`` for 0.001, as in nnUNetTrainerAdam3en4: a Python name contains no dot and no minus sign."""
    from decimal import Decimal  # slow to load, and most commands write no rate

    sign, digits, exponent = Decimal(repr(float(rate))).normalize().as_tuple()
    assert sign == 0 and isinstance(exponent, int)  # noqa: PT018 - StepSchedule allows only finite positive rates
    return f"{''.join(map(str, digits))}e{'n' * (exponent < 0)}{abs(exponent)}"
