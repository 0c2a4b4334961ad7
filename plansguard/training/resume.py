"""Whether a training in steps can begin or continue, and from which checkpoint. No torch.

The trainer refuses what this module finds, and the rules PG721 to PG730 report it before the trainer starts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, read_checkpoint
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument, UnreadableFolder
from plansguard.core.text import changed, listed, quoted
from plansguard.nnunet import constants
from plansguard.nnunet.plans_diff import Change, Field, edited
from plansguard.training.folder_lock import last_run
from plansguard.training.stop_reasons import Refused, TrainingObstacle
from plansguard.training.trainer_name import StepName, extension_of, trainer_name

_SHOWN = 3
_STATE_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("trainer", "run", "started"), str),
    **dict.fromkeys(("step", "skipped"), int),
    "split": (list, type(None)),
    "outputs": dict,
}


class Split(NamedTuple):
    """The cases of a fold: how many are trained and validated on, and the SHA-256 of their names."""

    training: int
    validation: int
    digest: str

    @classmethod
    def of(cls, training: Iterable[str], validation: Iterable[str]) -> Split:
        """Return the split into these cases, in any order."""
        names = [sorted(map(str, cases)) for cases in (training, validation)]
        text = "\n\n".join("\n".join(cases) for cases in names)
        return cls(len(names[0]), len(names[1]), hashlib.sha256(text.encode()).hexdigest())


@dataclass
class TrainingState:
    """Progress of a training, in JSON's types.

    ``step`` counts the optimizer's steps, ``skipped`` those that the gradient scaler skipped. ``outputs`` are the
    outputs of the steps of the window in progress, numbers by name. ``run`` tells this training from an earlier one in
    the same folder; ``started`` (ISO 8601, UTC) is only shown, because clocks can be set back.
    """

    trainer: str
    run: str
    started: str
    step: int = 0
    skipped: int = 0
    split: Split | None = None
    outputs: dict[str, list[float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the state as a checkpoint contains it."""
        return {**asdict(self), "split": None if self.split is None else list(self.split)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainingState:
        """Read what ``as_json`` returned; KeyError, ValueError or TypeError for anything else."""
        split = value["split"]
        for key, kind in _STATE_TYPES.items():
            if not isinstance(value[key], kind):
                raise TypeError(f"{key} has a wrong type")
        return cls(**{**value, "split": None if split is None else Split(*split)})


class ResumePoint(NamedTuple):
    """A checkpoint that can be continued.

    ``passed_over`` are the other checkpoints, one line each, with the reason why they were not chosen. ``extends`` is
    True for the final checkpoint of the finished training that this one extends.
    """

    path: Path
    checkpoint: Checkpoint
    state: TrainingState
    passed_over: tuple[str, ...] = ()
    extends: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all steps are made; the final validation may be missing."""
        return self.path.name == constants.CHECKPOINT_FINAL and not self.extends


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a fold's folder, of any trainer, the most complete first.

    UnreadableFolder where permissions hide whether there are any.
    """
    disk.assert_not_hidden(folder / constants.CHECKPOINT_FINAL)
    return [folder / name for name in constants.CHECKPOINTS if disk.is_file(folder / name)]


def is_validated(folder: Path) -> bool:
    """Whether the final validation of this fold was done."""
    return disk.is_file(validated(folder))


def validated(folder: Path) -> Path:
    """The file that the final validation of a fold writes last."""
    return folder / "validation" / "summary.json"


def fault_of(checkpoint: Checkpoint | UnreadableDocument) -> str:
    """Why nnU-Net cannot load a checkpoint, or must not; empty if it can."""
    if isinstance(checkpoint, UnreadableDocument):
        return checkpoint.reason
    foreign = checkpoint.sentence if checkpoint.kind != "nnunet-v2" else ""
    return checkpoint.danger or "; ".join(checkpoint.damage) or foreign


def check_can_begin(folder: Path, name: StepName) -> None:
    """Raise Refused if a training without ``--c`` must not begin in this folder."""
    if present := checkpoints_in(folder):
        names = ", ".join(path.name for path in present)
        raise Refused(
            f"{folder} contains a training already ({names})",
            hint="continue it with --c, or move that folder away to begin from scratch",
            obstacle=TrainingObstacle.RESULTS_PRESENT,
        )
    if name.schedule.extends:
        extended = _end_of_extended(folder, name)
        raise Refused(
            f"{trainer_name(*name)} extends the {extended.state.step:,} steps of {extended.state.trainer}, "
            "and does not begin without --c",
            hint="add --c",
            obstacle=TrainingObstacle.NOTHING_TO_CONTINUE,
        )


def resume_point(folder: Path, name: StepName) -> ResumePoint:
    """Choose the checkpoint that ``--c`` continues in a fold's folder of results.

    It is the whole checkpoint with the most steps, of the last training in this folder. (nnU-Net takes the first of
    three names, even if it is older than the others, cut short, or of an earlier training.) An extension without a
    checkpoint of its own continues the finished training that it extends.

    Raises Refused if there is none, with the fault of each checkpoint, and if nothing tells which of two trainings was
    the last one.
    """
    if checkpoints_in(folder):
        return _newest(folder, TrainingObstacle.CHECKPOINTS_DAMAGED)
    if name.schedule.extends:
        return _end_of_extended(folder, name)
    raise nothing_to_continue(folder)


def nothing_to_continue(folder: Path) -> Refused:
    """Return the refusal for a folder without checkpoints; its hint names the other models that have this fold."""
    models: set[str] = set()
    with suppress(UnreadableFolder):
        present = disk.matching(folder.parent.parent, f"*/{folder.name}/checkpoint_*.pth")
        models = {path.parent.parent.name for path in present}
    others = sorted(models - {folder.parent.name})
    options = "correct the steps, -tr, -p or the configuration"
    beside = f"checkpoints of {folder.name} are in {listed(others, _SHOWN)}: {options}, or "
    return Refused(
        f"there is nothing to continue in {folder}: it contains no checkpoint",
        hint=f"{beside if others else ''}leave --c out to begin from scratch",
        obstacle=TrainingObstacle.NOTHING_TO_CONTINUE,
    )


def _newest(folder: Path, unusable: TrainingObstacle) -> ResumePoint:
    read = {path: _read(path) for path in checkpoints_in(folder)}
    good = [point for point in read.values() if isinstance(point, ResumePoint)]
    faults = [f"{path.name}: {fault}" for path, fault in read.items() if isinstance(fault, str)]
    if not good:
        raise Refused(
            f"there is nothing to continue in {folder}: {'; '.join(faults)}",
            hint="move these files away, and leave --c out to begin from scratch",
            obstacle=unusable,
        )
    runs = {point.state.run for point in good}
    last = last_run(folder)  # not by time: if the clock was set back, the older training would seem newer
    if last not in runs and len(runs) > 1:
        each = "; ".join(f"{one.path.name}, begun {one.state.started}, at step {one.state.step:,}" for one in good)
        raise Refused(
            f"{folder} contains checkpoints of {len(runs)} trainings, and nothing tells which to continue: {each}",
            hint="move the others away",
            obstacle=unusable,
        )
    candidates = [point for point in good if point.state.run == last or last not in runs]
    others = [point.path.name for point in good if point not in candidates]
    faults += [f"{name}: it is of another training than the last one here" for name in others]
    chosen = max(candidates, key=lambda point: (point.state.step, point.checkpoint.current_epoch or 0))
    return chosen._replace(passed_over=tuple(faults))


def _read(path: Path) -> ResumePoint | str:
    """The checkpoint at ``path``, or why it cannot be continued."""
    try:
        checkpoint = read_checkpoint(path)
    except UnreadableDocument as error:
        return error.reason
    if checkpoint.danger or checkpoint.damage:
        return fault_of(checkpoint)
    if checkpoint.steps is None:
        return "it was not written by a training in steps"
    if not checkpoint.plans or checkpoint.dataset_json is None:
        return "it contains no plans or no dataset.json"
    try:
        return ResumePoint(path, checkpoint, TrainingState.from_json(checkpoint.steps))
    except (KeyError, TypeError, ValueError):
        return "its notes on the schedule cannot be read; another version of plansguard wrote them"


def _end_of_extended(folder: Path, name: StepName) -> ResumePoint:
    """The final checkpoint of the training that this one extends; Refused if it is missing or not finished."""
    before, schedule = extension_of(name), name.schedule.extended
    assert before is not None and schedule is not None  # noqa: PT018 - the schedule extends another one
    model = before + folder.parent.name.removeprefix(trainer_name(*name))
    extended = folder.parent.with_name(model) / folder.name
    refusal = partial(Refused, obstacle=TrainingObstacle.NOTHING_TO_CONTINUE)
    if not checkpoints_in(extended):
        raise refusal(f"there is nothing to extend: {extended} contains no checkpoint", hint=f"train {before} first")
    point = _newest(extended, TrainingObstacle.NOTHING_TO_CONTINUE)
    if point.state.trainer != before:
        raise refusal(
            f"{point.path} is of {point.state.trainer}, and not of {before}", hint="move it to its own folder"
        )
    if (point.state.step, point.checkpoint.current_epoch) != (schedule.total, schedule.windows):
        raise refusal(
            f"{before} is at step {point.state.step:,} of {schedule.total:,}: only a finished training is extended",
            hint=f"finish it with -tr {before} --c, then extend it",
        )
    return point._replace(extends=True)


def schedule_refusal(point: ResumePoint, trainer: str) -> Refused | None:
    """Return the refusal of a checkpoint that another trainer wrote."""
    if point.extends or point.state.trainer == trainer:
        return None
    return Refused(
        f"{point.path} is of {point.state.trainer}: if {trainer} continued it, its learning rate would jump",
        hint=f"continue it with -tr {quoted(point.state.trainer)}, in the folder of that name",
        obstacle=TrainingObstacle.SCHEDULE_CHANGED,
    )


def changes_since(
    checkpoint: Checkpoint, configuration: str, plans: dict[str, Any], dataset_json: dict[str, Any]
) -> tuple[list[Change], list[Change]]:
    """Compare the plans (as far as they concern the configuration) and dataset.json with those in the checkpoint.

    A document that the checkpoint does not contain counts as unchanged.
    """
    edits = edited(checkpoint.plans or plans, plans)
    before = dataset_json if checkpoint.dataset_json is None else checkpoint.dataset_json
    keys = dict.fromkeys([*before, *dataset_json])
    return (
        [edit for edit in edits if edit.field.configuration in (None, configuration)],
        [
            Change(Field(None, key), before.get(key), dataset_json.get(key))
            for key in keys
            if before.get(key) != dataset_json.get(key)
        ],
    )


def listed_changes(changes: Sequence[Change]) -> str:
    """Return the first changes as ``2d.batch_size was 2 and is 4; ...``, and how many more there are."""
    shown = "; ".join(changed(change.field, change.before, change.after) for change in changes[:_SHOWN])
    more = len(changes) - _SHOWN
    return shown + (f"; and {more} more" if more > 0 else "")


def check_unchanged(
    point: ResumePoint, trainer: str, configuration: str, plans: dict[str, Any], dataset_json: dict[str, Any]
) -> None:
    """Raise Refused if the trainer, the plans of this configuration or dataset.json are not those of the checkpoint."""
    if refusal := schedule_refusal(point, trainer):
        raise refusal
    both = changes_since(point.checkpoint, configuration, plans, dataset_json)
    for document, changes in zip(("the plans", "dataset.json"), both, strict=True):
        if changes:
            raise Refused(
                f"{document} changed since {point.path.name} was written: {listed_changes(changes)}",
                hint="restore it; or begin from scratch in another folder, with the checkpoint as -pretrained_weights",
                obstacle=TrainingObstacle.PLANS_CHANGED,
            )


def split_change(before: Split | None, now: Split) -> tuple[str, str] | None:
    """Describe the cases of a fold before and now; None if they are the same, or if none were noted."""
    if before is None or before == now:
        return None
    counts = [f"{split.training} training and {split.validation} validation cases" for split in (before, now)]
    return counts[0], counts[1] if counts[0] != counts[1] else "as many, but other ones"


def check_same_split(before: Split | None, now: Split) -> None:
    """Raise Refused if the fold has other cases now."""
    if change := split_change(before, now):
        raise Refused(
            f"the split changed since this training began: it had {change[0]}, now {change[1]}",
            hint="restore splits_final.json and the cases, or begin from scratch in another folder",
            obstacle=TrainingObstacle.SPLIT_CHANGED,
        )
