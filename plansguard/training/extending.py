"""Going on from a training that is finished, to more steps, under the name and in the folder of another one."""

from __future__ import annotations

from pathlib import Path

from plansguard.training.names import StepName, extension_of, trainer_name
from plansguard.training.refusal import Refused
from plansguard.training.state import Found, checkpoints_in, newest


def finished(folder: Path, name: StepName) -> Found:
    """The last checkpoint of the training that this name goes on from, for a fold's folder of that name.

    Refused when that training is not there or not finished: where it ends is part of the name.
    """
    before = extension_of(name)
    assert before is not None and name.schedule.extended is not None  # noqa: PT018 - such a name is what calls for it
    model, fold = folder.parent.name, folder.name
    there = folder.parent.with_name(before + model.removeprefix(trainer_name(*name))) / fold
    if not checkpoints_in(there):
        raise Refused(
            f"there is nothing to extend: {there} holds no checkpoint",
            hint=f"train {before} first: it goes on from that",
        )
    found = newest(there)
    total = name.schedule.extended.total
    if found.state.trainer != before:
        raise Refused(
            f"{found.path} is of {found.state.trainer}, and not of {before}", hint="move it to its own folder"
        )
    if (found.state.step, found.checkpoint.current_epoch) != (total, name.schedule.extended.windows):
        raise Refused(
            f"{before} is at step {found.state.step:,} of {total:,}: only a finished training is extended",
            hint=f"finish it with -tr {before} --c, then extend it",
        )
    return found
