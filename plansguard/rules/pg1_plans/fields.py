"""PG105, PG106, PG107, PG109, PG111 to PG114: names, inheritance, transposes, spacing and normalization."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plansguard.core import disk
from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed, nearest, quoted
from plansguard.nnunet import constants
from plansguard.nnunet.fields import near
from plansguard.nnunet.inheritance import InheritanceError
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import reported_before
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.trained_models import trained_with

#: Words that users write in place of NoNormalization.
_NOTHING = ("", "none", "null", "identity", "false")


@rule(
    "PG105",
    Severity.ERROR,
    message="{key} is {value}, but {expected}",
    fix="set {key} to {right}",
)
def transposes_not_inverse(plans: Plans) -> Iterator[Found]:
    """The two transposes are not inverse to each other.

    What it checks: `transpose_forward` and `transpose_backward` are inverse permutations of the axes 0, 1 and 2.

    Why it matters: the final validation fails after the whole training, or segmentations are silently turned.
    Preprocessing reorders the axes by `transpose_forward`, predictions are reordered by `transpose_backward`: `operands
    could not be broadcast together`. Where the axes happen to be of equal length, nothing fails.

    How to fix: `transpose_forward` is usually right, because the preprocessed data were written with it; set the other
    to its inverse, as `plansguard check --fix` does. After a change of `transpose_forward`, preprocess again.

    Example: forward `[1, 2, 0]` with backward `[1, 2, 0]`; its inverse is `[2, 0, 1]`.

    Evidence: PL-07; nnU-Net issues 1400, 1661, 2410; measured with nnU-Net 2.8.1.
    """
    forward, backward = plans.require("transpose_forward"), plans.require("transpose_backward")
    inverse = _inverse(forward)
    if inverse is None:
        key, right = "transpose_forward", _inverse(backward) or [0, 1, 2]
        expected = "it must contain each of the axes 0, 1 and 2 once"
        at = plans.at(key, *_wrong_axis(forward, right))
        yield found(at, key=key, value=forward, expected=expected, right=right)
    elif backward != inverse:
        key, undone = "transpose_backward", [(plans.at("transpose_forward"), "what it must undo")]
        yield found(
            plans.at(key, *_wrong_axis(backward, inverse)),
            related=undone,
            corrections=[(plans.at(key), inverse)],
            key=key,
            value=backward,
            expected=f"transpose_forward {forward} is undone by {inverse}",
            right=inverse,
        )


@rule(
    "PG106",
    Severity.ERROR,
    message="configuration {name} inherits from {parent}, {trouble}",
    fix="{remedy}",
)
def inheritance_broken(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """A configuration inherits from one that does not exist, or from itself.

    What it checks: `inherits_from` of every configuration leads to one that does not inherit. The order of the
    configurations in the file does not matter.

    Why it matters: nnU-Net stops when it opens the configuration, which no other rule can check. The error is `The
    configuration ... does not exist in the plans I have` or `Circular dependency detected`.

    How to fix: correct the name, or write the fields out.

    Example: `3d_fullres` was renamed, and `3d_cascade_fullres` still inherits from it.

    Evidence: PL-09; nnU-Net issues 1360, 1648.
    """
    reported: set[object] = set()
    for configuration in plans.configurations:
        broken = configuration.broken_inheritance
        if broken is None or dataset.request.configuration not in (None, configuration.name):
            continue
        name = broken.chain[-2]
        fault = _circle(broken) if broken.kind == "cycle" else name
        if fault not in reported:
            reported.add(fault)
            parent, (trouble, remedy) = plans.written[name]["inherits_from"], _broken_link(plans, broken)
            at = plans.at("configurations", name, "inherits_from")
            yield found(at, name=name, parent=brief(parent), trouble=trouble, remedy=remedy)


@rule(
    "PG107",
    Severity.ERROR,
    message="there is no configuration {wanted}: {available}",
    fix="{remedy}",
    incomplete=True,
)
def configuration_not_found(dataset: Dataset) -> Iterator[Found]:
    """The requested configuration is not in these plans.

    What it checks: the configuration given with `-c` is in the plans; where several plans are checked, in one of them.

    Why it matters: `nnUNetv2_train` stops with `Requested configuration ... not found in plans`. `nnUNetv2_preprocess`
    only prints that it skips it, and exits with success.

    How to fix: name one of the plans' configurations. The planner omits `3d_lowres` and `3d_cascade_fullres` when the
    images nearly fit into the patch of `3d_fullres`. For 2D images it writes `2d` only. A configuration of your own
    that exists only in other plans has to be copied.

    Example: `nnUNetv2_train 2 3d_lowres 0` on a dataset of small images.

    Evidence: PL-09; nnU-Net issues 1360, 1648, 2013.
    """
    wanted, judged_plans = dataset.request.configuration, dataset.judged_plans
    if wanted is None or not judged_plans or any(wanted in plans.written for plans in judged_plans):
        return
    names = list(dict.fromkeys(name for plans in judged_plans for name in plans.written))
    meant = nearest(wanted, names) or (names[0] if len(names) == 1 else None)
    remedy = f"use -c {quoted(meant)}" if meant else "use one of these"
    if wanted in ("3d_lowres", "3d_cascade_fullres") and "3d_fullres" in names:
        remedy = "use -c 3d_fullres: the planner drops 3d_lowres and the cascade when images nearly fit its patch"
    elif wanted.startswith("3d") and names == ["2d"]:
        remedy = "use -c 2d: the planner writes nothing else for 2D images"
    has = [f"{plans.identifier} has {listed(list(plans.written)) or 'none'}" for plans in judged_plans]
    yield found(judged_plans[0].at("configurations"), wanted=wanted, available="; ".join(has[:2]), remedy=remedy)


@rule("PG109", Severity.ERROR, message="spacing is {spacing} mm, but {trouble}", fix="{remedy}")
def invalid_spacing(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """Images cannot be resampled to the target spacing.

    What it checks: every number in `spacing` is above zero, and none is null where nnU-Net's own preprocessor divides
    by it. PG003 reports NaN and infinity. The medians at the top of the plans, which nothing uses, are not checked.

    Why it matters: preprocessing divides by it, and stops after it has deleted the old preprocessed data. Zero ends in
    `OverflowError: cannot convert float infinity to integer`, a negative number in arrays of negative size, null in
    `TypeError: unsupported operand type(s) for /`. nnssl writes null for "do not resample", beside a preprocessor that
    resamples.

    How to fix: give millimetres per voxel, in the order of the arrays on disk. To keep each image's own spacing, plan
    with a planner of nnU-Net that does not resample.

    Example: `"spacing": [null, null, null]` with `"preprocessor_name": "DefaultPreprocessor"`.

    Evidence: SP-01, SSL-06; nnU-Net issues 538, 2809; measured with nnU-Net 2.8.1.
    """
    spacing = configuration.require("spacing")
    preprocessor = configuration.get("preprocessor_name")
    null = [axis for axis, value in enumerate(spacing) if value is None and preprocessor in constants.PREPROCESSORS]
    low = [axis for axis, value in enumerate(spacing) if value is not None and value <= 0]
    trouble, remedy = "it must be above zero", "give millimetres per voxel, in the order of the arrays on disk"
    if null:
        trouble = f"{preprocessor} divides by it"
        remedy = "give millimetres per voxel, or plan with nnUNetPlannerResEncL_noResampling to keep each image's own"
    bad = sorted(null + low)
    if bad and not reported_before(dataset, configuration, "spacing", "preprocessor_name"):
        at = configuration.at("spacing", *bad[: len(bad) == 1])
        yield found(at, spacing=brief(spacing), trouble=trouble, remedy=remedy)


@rule(
    "PG111",
    Severity.ERROR,
    message="{scheme} is no normalization of nnU-Net {version}",
    fix="{remedy}",
)
def unknown_normalization(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The plans name a normalization that nnU-Net does not have.

    What it checks: every entry of `normalization_schemes` is a class of nnU-Net. A channel name of dataset.json (`CT`,
    `noNorm`, `zscore`), a word for nothing (`None`) or another spelling is an error. Any other name is a warning: forks
    of nnU-Net add classes of their own.

    Why it matters: preprocessing deletes the old data, and stops: `RuntimeError: Unable to locate class 'None' for
    normalization`. Plans name classes, dataset.json names channels. Training does not read the field, so a wrong name
    can remain until the first prediction.

    How to fix: write the class named. If your nnU-Net has the class, ignore the finding in `plansguard.json`.

    Example: `"normalization_schemes": ["noNorm"]`; the class is NoNormalization.

    Evidence: NO-07; nnU-Net issue 2845; measured with nnU-Net 2.8.1.
    """
    schemes = configuration.require("normalization_schemes")
    unknown = [(index, scheme) for index, scheme in enumerate(schemes) if scheme not in constants.NORMALIZATIONS]
    if not unknown or reported_before(dataset, configuration, "normalization_schemes"):
        return
    for index, scheme in unknown:
        meant = _SCHEME_OF_WORD.get(_stem(scheme)) or near(scheme, constants.NORMALIZATIONS)
        similar = nearest(_stem(scheme), list(_SCHEME_OF_WORD))
        hint = f"; if {_SCHEME_OF_WORD[similar]} is meant, write that" if similar else ""
        yield found(
            configuration.at("normalization_schemes", index),
            severity=Severity.ERROR if meant else Severity.WARNING,
            scheme=brief(scheme),
            version=constants.NNUNET_VERSION,
            remedy=f"write {meant}" if meant else f"make sure that the nnU-Net which runs these plans has it{hint}",
        )


@rule(
    "PG112",
    Severity.ERROR,
    message="the file is {identifier}.json, but plans_name is {plans_name}",
    fix='set plans_name to "{identifier}"',
    roles=PREPROCESSED,
)
def plans_name_differs(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """The name in the plans is not that of their file.

    What it checks: in a dataset's folder in nnUNet_preprocessed, `plans_name` is the file's name without `.json`.

    Why it matters: nnU-Net names the folder of results by `plans_name`: a training overwrites those of the other plans,
    without a question. `-p` selects the file. A copy of nnUNetPlans.json with an unchanged `plans_name` trains into
    `nnUNetTrainer__nnUNetPlans__3d_fullres` and overwrites finished results there.

    How to fix: set `plans_name` to the file's name; `plansguard check --fix` does it. If the file was renamed after a
    training, give it its old name instead. `plansguard migrate` sets the name, and so does
    `nnUNetv2_move_plans_between_datasets` since October 2023.

    Example: `cp nnUNetPlans.json nnUNetPlans_bs4.json`, then an edit of `batch_size` only.

    Evidence: MV-04, MV-02; nnU-Net issues 1650, 2339; measured with nnU-Net 2.8.1.
    """
    plans_name = plans.require("plans_name")
    if plans_name != plans.identifier:
        namesakes = [other for other in dataset.plans if other.identifier == plans_name]
        models = known(lambda: trained_with(dataset, plans_name)) or ()
        renamed = bool(models) and not namesakes  # the results are those of this file under its old name
        yield found(
            plans.at("plans_name"),
            related=[(other.at(), "writes there too") for other in namesakes],
            corrections=[] if renamed else [(plans.at("plans_name"), plans.identifier)],
            identifier=plans.identifier,
            plans_name=plans_name,
        )


@rule(
    "PG113",
    Severity.ERROR,
    message="dataset_name is {dataset_name}, but the plans are in {folder}",
    fix='set dataset_name to "{folder}"',
    roles=PREPROCESSED,
)
def dataset_name_differs(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """The dataset named in the plans is not the one whose folder they are in.

    What it checks: in a dataset's folder in nnUNet_preprocessed, `dataset_name` is the folder's name. Plans in a model
    folder or a checkpoint rightly keep the name of the dataset they were trained on.

    Why it matters: training silently takes the data and the folder of results from `dataset_name`, not from the command
    line. `nnUNetv2_train 2` with plans copied from Dataset001 uses Dataset001's data and results.

    How to fix: set `dataset_name` to the folder's name; `plansguard check --fix` does it. Other fields of copied plans
    may be wrong as well: `plansguard migrate` copies, renames and checks in one step.

    Example: `cp Dataset001_A/nnUNetPlans.json Dataset002_B/PretrainedPlans.json`.

    Evidence: MV-05; nnU-Net issue 1400, TotalSegmentator issues 298, 358; measured with nnU-Net 2.8.1.
    """
    dataset_name = plans.require("dataset_name")
    if dataset_name != dataset.name:
        at = plans.at("dataset_name")
        yield found(at, corrections=[(at, dataset.name)], dataset_name=dataset_name, folder=dataset.name)


@rule("PG114", Severity.ERROR, message="{dataset} has no plans {wanted}{instead}", fix="{remedy}", incomplete=True)
def plans_not_found(dataset: Dataset) -> Iterator[Found]:
    """The requested plans are not in this dataset.

    What it checks: the plans given with `-p` are in the dataset's folder. Other datasets with such plans are named.

    Why it matters: nnU-Net stops with `Expected plans file (...) not found` or `Source plans are missing`. After a move
    this means that the plans went into the wrong dataset or under the wrong name: the options `-s` and `-t`, or `-sp`
    and `-tp`, are easily swapped, and nnU-Net's documentation has printed them both ways.

    How to fix: name plans that are here, or move them again in the right direction with `plansguard migrate`.

    Example: `-p PretrainPlans` for the fine-tuning dataset, while the file was saved in the pretraining dataset.

    Evidence: MV-02; nnU-Net issues 1684, 1970, 2229, 2440.
    """
    wanted = dataset.request.plans
    # PG001 and PG004 report a file of that name that is unreadable or not plans.
    present = {document.path for document in dataset.documents} | {error.path for error in dataset.unreadable}
    if (
        wanted is None
        or dataset.role == "raw"
        or dataset.judged_plans
        or str(dataset.folder / f"{wanted}.json") in present
    ):
        return
    here = [plans.identifier for plans in dataset.plans]
    elsewhere = _other_datasets_with(dataset, wanted)
    remedy = f"use -p {quoted(nearest(wanted, here) or here[0])}" if here else "plan the dataset first"
    remedy += ", or bring them here with plansguard migrate"
    if elsewhere:
        remedy = f"{listed(elsewhere)} has plans of that name: did you swap -s and -t, or -sp and -tp? If not, {remedy}"
    yield found(
        Location(str(dataset.folder)),
        wanted=wanted,
        instead=f", only {listed(here)}" if here else ", and no others",
        remedy=remedy,
    )


def _wrong_axis(order: list[int], right: list[int]) -> list[int]:
    """Return the index of the only number that differs from the right one; none if there are more."""
    wrong = [index for index, (axis, other) in enumerate(zip(order, right, strict=False)) if axis != other]
    return wrong if len(wrong) == 1 and len(order) == len(right) else []


def _inverse(order: list[int]) -> list[int] | None:
    """Return the inverse permutation; None if ``order`` is not one of three axes."""
    return [order.index(axis) for axis in range(3)] if sorted(order) == [0, 1, 2] else None


def _circle(broken: InheritanceError) -> frozenset[str]:
    """Return the configurations that inherit from each other."""
    return frozenset(broken.chain[broken.chain.index(broken.chain[-1]) :])


def _broken_link(plans: Plans, broken: InheritanceError) -> tuple[str, str]:
    """Return what is wrong with the last link of a chain of ancestors, and the remedy."""
    parent = broken.chain[-1]
    if broken.kind == "cycle":
        members = " or ".join(sorted(_circle(broken)))
        return f"which leads back to it: {' -> '.join(broken.chain)}", f"take inherits_from out of {members}"
    whole = [configuration.name for configuration in plans.configurations if configuration.broken_inheritance is None]
    choice = nearest(parent, whole) or f"one of: {listed(whole, shown=8)}"
    return "which does not exist", f"inherit from {choice}" if whole else "write its fields out"


def _other_datasets_with(dataset: Dataset, identifier: str) -> list[str]:
    """Return other datasets of nnUNet_preprocessed that have plans of this name."""
    root = dataset.workspace.preprocessed
    others = [] if root is None else [name for name in dataset.workspace.dataset_names() if name != dataset.name]
    return [name for name in others if root is not None and disk.is_file(root / name / f"{identifier}.json")]


def _stem(scheme: str) -> str:
    """Return a scheme's name in lower case, without punctuation and ending."""
    return re.sub(r"normali[sz](ation|er)$|norm$", "", re.sub(r"[\W_]", "", scheme.casefold()))


#: Stem of a word in ``normalization_schemes`` -> the class that is meant.
_SCHEME_OF_WORD = {
    **{_stem(scheme): scheme for scheme in constants.NORMALIZATIONS},
    **{_stem(channel): scheme for channel, scheme in constants.NORMALIZATION_OF_CHANNEL.items()},
    **dict.fromkeys(_NOTHING, "NoNormalization"),
}
