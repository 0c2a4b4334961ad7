"""What to do with weights that do not suit a configuration: parts of fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plansguard.core import disk
from plansguard.core.errors import known
from plansguard.core.report import Severity
from plansguard.core.text import brief, listed
from plansguard.records.adaptation import classes_of_head
from plansguard.rules.engine.helpers import is_in_place, migration_of
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Plans

if TYPE_CHECKING:
    from plansguard.subjects.input_comparison import InputDifference
    from plansguard.subjects.weights import Weights

#: nnU-Net's trainer that does not mirror.
_NO_MIRRORING = "nnUNetTrainerNoMirroring"
_OF_OTHER_CHANNELS = "use weights with the same channels in the same order"
_ACCEPT = "if the difference is meant, accept it in plansguard.json"
_OF_SECOND_STAGE = (
    "train it without weights, as nnU-Net does: its input has the labels of the previous stage as well; "
    "or use weights of a second stage with the same channels and labels"
)


def fine_tuning(dataset: Dataset, weights: Weights, plans: Plans, trainer: str | None = None) -> str:
    """The training that fine-tunes the weights with these plans, by a trainer like theirs or like ``trainer``.

    It is the end of a sentence, from the punctuation before it.
    """
    from plansguard.subjects.pretraining import Pretraining, usual_fold
    from plansguard.subjects.weights import names_for

    pretraining = Pretraining(weights.checkpoint.path, trainer or weights.checkpoint.trainer)
    name = next(iter(names_for(weights.checkpoint)), weights.configuration.name)
    fold = dataset.request.fold or usual_fold(dataset)
    return pretraining.in_one_line(dataset, plans, name, fold, dataset.request.device)


def without_mirroring(dataset: Dataset, weights: Weights) -> str:
    """The training that fine-tunes the weights by a trainer that does not mirror; at the gate only its ``-tr``."""
    from plansguard.training.trainer_name import known_step_name, trainer_name

    if dataset.request.trainer is None:
        return fine_tuning(dataset, weights, weights.configuration.plans, _NO_MIRRORING)
    steps = known_step_name(dataset.request.trainer)
    return f": -tr {_NO_MIRRORING if steps is None else trainer_name(_NO_MIRRORING, steps.schedule)}"


def migration(dataset: Dataset, weights: Weights, reader: str | None = None) -> str:
    """The command that migrates the plans of the weights, or where these are if the file contains none.

    ``reader`` is named where it is not the one that a migration chooses.
    """
    if weights.checkpoint.plans is None:
        return "ask for plans.json where they come from"
    return migration_of(weights.checkpoint.path, dataset, reader)


def other_channels(dataset: Dataset, weights: Weights) -> str:
    """The command that adapts weights of other input channels, where it makes them load."""
    from plansguard.subjects.adaptation_command import UNNAMED_CHANNELS, adapting_command, lacks_common_channel

    others = _OF_SECOND_STAGE if weights.configuration.previous_stage else _OF_OTHER_CHANNELS + _or_fewer(weights)
    is_written = disk.is_file(weights.configuration.plans.path)  # a migration is judged before
    if not (is_written and is_in_place(dataset)) or all(one.kind != "channels" for one in weights.obstacles):
        return others
    if command := adapting_command(weights, dataset, weights.checkpoint.path):
        return f"adapt the weights first: {command}"
    return f"{others}; {UNNAMED_CHANNELS}" if lacks_common_channel(weights, dataset) else others


def _or_fewer(weights: Weights) -> str:
    """The other remedy of a dataset that has more channels than the weights, which have at least one."""
    theirs = known(lambda: weights.their_dataset_json.channels)
    is_fewer = len(weights.dataset_json.channels) > len(theirs or [""])
    return ", or leave channels out of the dataset" if is_fewer else ""


def without_migration(weights: Weights, rows: list[InputDifference], worst: Severity) -> str | None:
    """The fix of differences that need no other plans, or that none remove; None where migrated plans remove them.

    The patch decides no data.
    """
    if worst is Severity.INFO:
        return "nothing, if the difference is meant"
    # A migration leaves the names of channels, and chooses the reader by the dataset's files.
    of_plans = [row for row in rows if row.field not in ("channel_names", "image_reader_writer")]
    if [row.field for row in of_plans] == ["patch_size"]:
        return f"for the same input: set patch_size to {brief(of_plans[0].saw)}; {_ACCEPT}"
    return _other_stage(weights)


def _other_stage(weights: Weights) -> str | None:
    """What to do with weights adapted to or from a second stage; None where migrated plans have their input."""
    from plansguard.subjects.input_comparison import is_regained_by_migration

    if is_regained_by_migration(weights):
        return None
    ours, parent = weights.configuration, weights.configuration.get("inherits_from")
    inherited = next((one for one in ours.plans.usable_configurations if one.name == parent), None)
    if inherited is None or inherited.get("spacing") != ours.get("spacing"):
        return f"no migration gives {ours.name} the input of {weights.theirs.name}; {_ACCEPT}"
    adapted = f"adapt weights of {parent} of these plans with -c {ours.name}"
    return f"for the same input: {adapted}, as {parent} has this input; {_ACCEPT}"


def adapted_head(weights: Weights) -> dict[str, Any]:
    """Whose the segmentation layers in the weights are, and the fix where an adaptation made some or all of them."""
    classes = classes_of_head(weights.checkpoint.adaptation)
    if classes is None or not classes.initial:
        return {"belonging": "although the labels are those of the weights"}
    if not classes.kept:
        return {
            "belonging": "which begin with initial values: the adaptation of the weights kept no class",
            "fix": "nothing: they are learned from the beginning, also in a training in steps with --keep-head",
        }
    kept, initial = (listed(names, shown=8) for names in classes)
    return {
        "belonging": f"although the adaptation of the weights kept those of {kept}",
        "fix": f"nothing: they are learned again within a few epochs; a training in steps with --keep-head begins with "
        f"those of {kept}, and with initial values for {initial}",
    }
