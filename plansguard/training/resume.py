"""Going on from a training that is finished, to more steps, under the name and in the folder of another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, read_checkpoint
from plansguard.core.errors import UnreadableDocument
from plansguard.core.text import changed, listed
from plansguard.nnunet import constants
from plansguard.nnunet.plans_diff import edited
from plansguard.training.folder_lock import last_run
from plansguard.training.stop_reasons import Refused
from plansguard.training.trainer_name import StepName, extension_of, trainer_name


def finished(folder: Path, name: StepName) -> ResumePoint:
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


_TOLD = 3
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("trainer", "run", "started"), str),
    **dict.fromkeys(("step", "skipped"), int),
    "split": (list, type(None)),
    "outputs": dict,
}


class Split(NamedTuple):
    """Which cases a fold trains and validates on: how many, and the SHA-256 of their names."""

    training: int
    validation: int
    digest: str

    @classmethod
    def of(cls, training: Iterable[str], validation: Iterable[str]) -> Split:
        """The split into these cases, in any order."""
        names = [sorted(map(str, cases)) for cases in (training, validation)]
        text = "\n\n".join("\n".join(cases) for cases in names)
        return cls(len(names[0]), len(names[1]), hashlib.sha256(text.encode()).hexdigest())


@dataclass
class TrainingState:
    """A training's progress, in JSON's types, so that it is read without torch.

    ``step`` counts the steps that the optimizer has made, ``skipped`` those that the gradient scaler kept it from
    making. ``outputs`` are what the steps of the window in progress returned, a number under each name. ``run`` tells
    this training from an earlier one into the same folder; ``started`` (ISO 8601, UTC) is for people: clocks are set.
    """

    trainer: str
    run: str
    started: str
    step: int = 0
    skipped: int = 0
    split: Split | None = None
    outputs: dict[str, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {**asdict(self), "split": None if self.split is None else list(self.split)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainingState:
        """From a checkpoint; ValueError or TypeError where it is not what ``as_json`` gives."""
        split = value["split"]
        for key, kind in _KINDS.items():
            if not isinstance(value[key], kind):
                raise TypeError(f"{key} has a wrong type")
        return cls(**{**value, "split": None if split is None else Split(*split)})


class ResumePoint(NamedTuple):
    """A checkpoint that can be continued; ``passed_over`` says of the others why they were not taken, one line each."""

    path: Path
    checkpoint: Checkpoint
    state: TrainingState
    passed_over: tuple[str, ...]


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints of a fold's folder, whoever wrote them, the most complete first."""
    return [folder / name for name in constants.CHECKPOINTS if (folder / name).is_file()]


def newest(folder: Path) -> ResumePoint:
    """The checkpoint that went furthest, of the training that was the last one here, among those that are whole.

    nnU-Net takes the first of three names that is there, be it older than the others, cut short, or of a training that
    was done before. Refused when there is none to continue, with what is wrong with each, and when nothing says which
    of two trainings is meant.
    """
    faults: list[str] = []
    good: list[ResumePoint] = []
    for path in checkpoints_in(folder):
        try:
            good.append(_read(path))
        except _Unfit as unfit:
            faults.append(f"{path.name}: {unfit}")
    if not good:
        raise _nothing(folder, faults)
    last = _last_run(folder, good)
    ours = [found for found in good if found.state.run == last]
    faults += [
        f"{one.path.name}: it is of another training, and not of the last one here"
        for one in good
        if one.state.run != last
    ]
    chosen = max(ours, key=lambda found: (found.state.step, found.checkpoint.current_epoch or 0))
    return chosen._replace(passed_over=tuple(faults))


def _last_run(folder: Path, good: Sequence[ResumePoint]) -> str:
    """By what the folder itself notes: a clock that was set back would make an old training the newer one."""
    runs = {found.state.run for found in good}
    noted = last_run(folder)
    if noted in runs:
        return str(noted)
    if len(runs) > 1:
        each = "; ".join(f"{one.path.name}, begun {one.state.started}, at step {one.state.step:,}" for one in good)
        raise Refused(
            f"{folder} holds checkpoints of {len(runs)} trainings, and nothing says which of them is to go on: {each}",
            hint="move the others away",
        )
    return runs.pop()


def _nothing(folder: Path, faults: Sequence[str]) -> Refused:
    """Another -tr, -p or configuration means another folder: those beside this one may be what was meant."""
    reason = f"there is nothing to continue in {folder}: " + ("; ".join(faults) or "it holds no checkpoint")
    beside = sorted(
        {path.parent.parent.name for path in folder.parent.parent.glob(f"*/{folder.name}/checkpoint_*.pth")}
    )
    others = [name for name in beside if name != folder.parent.name]
    if faults:
        return Refused(reason, hint="leave --c out to begin anew, after moving these files away")
    if others:
        return Refused(reason, hint=f"checkpoints lie beside it, in {listed(others, _TOLD)}: correct -tr or -p")
    return Refused(reason, hint="leave --c out to begin anew")


class _Unfit(Exception):
    """Why a checkpoint cannot be continued."""


def _read(path: Path) -> ResumePoint:
    try:
        checkpoint = read_checkpoint(path)
    except UnreadableDocument as error:
        raise _Unfit(error.reason) from error
    if checkpoint.danger or checkpoint.damage:
        raise _Unfit(checkpoint.danger or "; ".join(checkpoint.damage))
    if checkpoint.steps is None:
        raise _Unfit("it was not written by a training in steps")
    try:
        return ResumePoint(path, checkpoint, TrainingState.from_json(checkpoint.steps), ())
    except (KeyError, TypeError, ValueError) as error:
        raise _Unfit("its notes on the schedule cannot be read; another version of plansguard wrote them") from error


def check_unchanged(
    found: ResumePoint, trainer: str, configuration: str, plans: dict[str, Any], dataset_json: dict[str, Any]
) -> None:
    """Refuse to continue with another schedule, other plans of this configuration, or another dataset.json."""
    state, checkpoint = found.state, found.checkpoint
    if state.trainer != trainer:
        raise Refused(
            f"{found.path} is of {state.trainer}, and cannot be continued as {trainer}: its learning rate would jump",
            hint=f"continue it with -tr {state.trainer}",
        )
    changes = [
        changed(change.field, change.before, change.after)
        for change in edited(checkpoint.plans or {}, plans)
        if change.field.configuration in (None, configuration)
    ]
    _refuse_changes("the plans", changes, found)
    before = checkpoint.dataset_json or {}
    keys = dict.fromkeys([*before, *dataset_json])
    changes = [
        changed(key, before.get(key), dataset_json.get(key)) for key in keys if before.get(key) != dataset_json.get(key)
    ]
    _refuse_changes("dataset.json", changes, found)


def check_same_split(before: Split | None, now: Split) -> None:
    """Refuse to continue on other cases."""
    if before is not None and before != now:
        counts = [f"{one.training} training and {one.validation} validation cases" for one in (before, now)]
        what = f"it had {counts[0]}, now {counts[1]}" if counts[0] != counts[1] else f"{counts[0]}, but other ones"
        raise Refused(
            f"the split has changed since this training began: {what}",
            hint="put splits_final.json and the cases back as they were, or begin anew in another folder",
        )


def _refuse_changes(what: str, changes: Sequence[str], found: ResumePoint) -> None:
    if changes:
        more = len(changes) - _TOLD
        said = "; ".join(changes[:_TOLD]) + (f"; and {more} more" if more > 0 else "")
        raise Refused(
            f"{what} changed since {found.path.name} was written: {said}",
            hint="put it back as it was, or begin anew in another folder, with the checkpoint as -pretrained_weights",
        )
