"""PG0xx: whether files can be read, and whether their content is what nnU-Net expects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from plansguard.core.errors import UnreadableDocument, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed
from plansguard.documents import json_document
from plansguard.documents.json_document import JsonDocument, Notice
from plansguard.documents.recognise import is_v1
from plansguard.documents.validation import FieldProblem
from plansguard.nnunet import constants, fields, printed_commands
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import plan_commands
from plansguard.rules.engine.needs import PREPROCESSED, Crash
from plansguard.subjects.dataset import Dataset, kind_of
from plansguard.subjects.discovery import expected_kind
from plansguard.subjects.plans import Configuration, Plans

#: Kind of document -> its name in messages, and the model that validates it. Plans are validated by configuration.
_KINDS = {
    "plans": ("nnU-Net plans", None),
    "dataset.json": ("a dataset.json", "DatasetJson"),
    "fingerprint": ("a dataset fingerprint", "Fingerprint"),
    "splits": ("a splits_final.json", "Splits"),
    "lineage": ("a migration record of plansguard", "MigrationRecord"),
    "stamp": ("a preprocessing record of plansguard", "PreprocessingRecord"),
    "receipt": ("a training record of plansguard", "TrainingRecord"),
}


@rule(
    "PG000",
    Severity.ERROR,
    message="the rule {rule} failed with {error}",
    fix="please report this with the file: the other rules have run, this one has not",
    incomplete=True,
)
def rule_crashed(crashes: Iterable[Crash]) -> Iterator[Found]:
    """A rule of plansguard failed.

    What it checks: every rule ran without an exception.

    Why it matters: a rule that fails has not checked anything: the report is not complete, and the exit code is 2.

    How to fix: this is a fault of plansguard. Report it with the file that causes it.

    Example: none is known.

    Evidence: a crash of one rule must neither hide the findings of others nor look like a clean result.
    """
    for crash in crashes:
        yield found(Location(crash.path), rule=crash.rule, error=crash.error)


@rule("PG001", Severity.ERROR, message="{reason}", fix="{hint}", incomplete=True)
def unreadable_document(unreadable: Iterable[UnreadableDocument]) -> Iterator[Found]:
    """A file cannot be read as JSON, or a folder cannot be listed.

    What it checks: every file with one of nnU-Net's names is strict JSON in UTF-8 of at most 200 levels and 16 MiB, or
    128 MiB if it lists cases.
    Plans have at most 300 configurations and, with all inherited values, 1,048,576 characters; labels and channels have
    at most 262,144 characters each. Every folder that a rule lists can be listed: those below the
    checked ones, preprocessed data, ground truth, raw images, trained models. Before a training, raw images and other
    models do not matter.

    Why it matters: its content was not checked; at a file of its own, nnU-Net stops with a nameless `JSONDecodeError`.
    The exit code is 2.

    How to fix: correct the file at the line given: JSON has no comments, no trailing commas and no byte order mark. Of
    a folder, correct the permissions: `ls -ld` shows its owner and group.

    Example: `"batch_size": 2  # was 4` pasted from the annotated example in the documentation.

    Evidence: PL-08; nnU-Net issue 2822.
    """
    for error in unreadable:
        location = Location(error.path, "", error.line, error.column)
        yield found(location, reason=error.reason, hint=error.hint or "make the file readable and check again")


@rule(
    "PG002",
    Severity.ERROR,
    message="the key {key!r} occurs twice in the same object",
    mark="nnU-Net takes this one",
    fix="delete the one that is not meant",
)
def duplicate_key(dataset: Dataset) -> Iterator[Found]:
    """A key occurs twice in the same object.

    What it checks: no object of the file has the same key twice.

    Why it matters: Python's JSON reader, and so nnU-Net, silently keeps the last value. The first one, which readers
    see, is not used.

    How to fix: keep the line that is meant and delete the other.

    Example: `"spacing": [3, 1, 1]` at the start of a configuration and `"spacing": [1, 1, 1]` at its end.

    Evidence: PL-08; nnU-Net issue 2884 (two `ignore` labels).
    """
    for document, notice in _notices(dataset, "duplicate-key"):
        position = document.position(notice.pointer, first=True)
        first = Location(document.path, notice.pointer, *(position or ()))
        yield found(
            Location(document.path, notice.pointer),
            related=[(first, "the first one")] if position else [],
            key=notice.text,
        )


@rule(
    "PG003",
    Severity.ERROR,
    message="{text} is not a finite number",
    fix="write the number that is meant; if nnU-Net wrote it, because cases have no foreground, correct the labels: "
    "{again}",
)
def non_finite_number(dataset: Dataset) -> Iterator[Found]:
    """A number is NaN or infinite.

    What it checks: no number in plans, dataset.json or fingerprint is `NaN`, `Infinity`, `-Infinity` or too large for a
    double (`1e400`).

    Why it matters: nnU-Net reads it without a warning, and every voxel of the preprocessed data may become NaN. None of
    these is valid JSON, but Python reads them. A NaN in the intensity properties makes every voxel NaN; at best,
    training then shows a loss of NaN.

    How to fix: correct the value. In a fingerprint it comes from cases without foreground.

    Example: `"std": NaN` in `foreground_intensity_properties_per_channel`.

    Evidence: PL-08, SP-01; NO-08.
    """
    for document, notice in _notices(dataset, "non-finite"):
        if document.kind in ("lineage", "stamp", "receipt"):
            continue  # records repeat values of the plans, where they are reported
        plans = [one for one in dataset.plans if one.document is document]
        extract = printed_commands.extract_fingerprint(dataset.name, clean=True)
        again = printed_commands.chain(extract, plan_commands(dataset, plans) if plans else "")
        yield found(Location(document.path, notice.pointer), text=notice.text, again=again)


@rule(
    "PG004",
    Severity.ERROR,
    message="by its name the file is {expected}, by its content {actual}",
    fix="put the right file here",
)
def wrong_document(dataset: Dataset) -> Iterator[Found]:
    """The content of a file does not fit its name.

    What it checks: a file called `dataset.json`, `dataset_fingerprint.json`, `splits_final.json` or `...Plans.json`
    contains that kind of document.

    Why it matters: nnU-Net opens files by name and fails later, for instance with `KeyError: 'configurations'`.

    How to fix: copy the right document to this name.

    Example: a `dataset.json` saved as `nnUNetPlans.json`.

    Evidence: PL-08; nnU-Net issue 2822.
    """
    for document in dataset.documents:
        expected, actual = expected_kind(document.name), kind_of(document)
        if expected is not None and actual != expected:
            title = _KINDS[actual][0] if actual else "none of nnU-Net's documents"
            yield found(Location(document.path), expected=_KINDS[expected][0], actual=title)


def _notices(dataset: Dataset, kind: str) -> Iterator[tuple[JsonDocument, Notice]]:
    """Yield the notices of a kind, and the documents that have them."""
    for document in dataset.documents:
        for notice in document.notices:
            if notice.kind == kind:
                yield document, notice


@rule(
    "PG005",
    Severity.ERROR,
    message="{trouble}{effect}",
    fix="{remedy}",
)
def invalid_field(dataset: Dataset) -> Iterator[Found]:
    """A field has a wrong type.

    What it checks: every field has the type that nnU-Net needs, and so have the items of lists. `2.0` and `"2"` are not
    the integer 2, `"false"` is not false. A wrong type is information where nnU-Net does not read the field (medians,
    statistics of channels without CTNormalization), and where it takes the value as what it seems to mean: 1 as true,
    the labels `"2"` and `2.5` as 2.

    Why it matters: nnU-Net does not validate values: it fails later, or behaves differently. A batch size of 2.0 ends
    in a `TypeError` inside the data loader, a string in place of a boolean counts as true. The message names the steps
    that read the field.

    How to fix: correct the value. With the schemas in `schemas/`, an editor marks such values.

    Example: `"batch_size": "2"`, `"patch_size": [64.0, 128, 128]`.

    Evidence: PL-08; measured with nnU-Net 2.8.1.
    """
    for plans in dataset.judged_plans:
        for location, problem in plans.all_problems():
            in_plans = location.pointer == json_document.pointer(*problem.tokens)
            yield _invalid(location, problem, "Plans" if in_plans else "Configuration", _ct_channels(plans))
    dataset_json = known(lambda: dataset.dataset_json.value)
    for document in dataset.documents:
        kind = document.kind
        model = _KINDS[kind][1] if kind else None
        if model is not None and not is_v1(document.value):  # PG204 reports those of version 1
            for problem in dataset.problems_of(document, model):
                at = Location(document.path, json_document.pointer(*problem.tokens))
                yield _invalid(at, problem, model, fields.ct_channels(dataset_json), document.value)


@rule(
    "PG006",
    Severity.ERROR,
    message="{where} has no {lacking}, which nnU-Net needs for {use}",
    fix="{remedy}",
    roles=PREPROCESSED,
)
def missing_key(plans: Plans) -> Iterator[Found]:
    """Plans lack a key that nnU-Net reads.

    What it checks: in a dataset's folder in nnUNet_preprocessed, the plans and each configuration (after
    `inherits_from`) have every key that training and preprocessing read. Plans elsewhere, such as those of a released
    model, may lack what only training needs: they are not checked.

    Why it matters: nnU-Net fails with a bare `KeyError` when it reads the key, which for some is after the training.

    How to fix: take the key from the original plans, or plan the dataset again. A key that is only misspelt is named.

    Example: a configuration without `batch_dice`: `KeyError: 'batch_dice'` after five seconds.

    Evidence: PL-08; measured with nnU-Net 2.8.1.
    """
    present = {*plans.value, constants.INTENSITY_KEY} if plans.intensity_key in plans.value else {*plans.value}
    for use, keys in constants.PLANS_KEYS.items() if not present >= _PLANS_KEYS else ():
        if lacking := [key for key in keys if key not in present]:
            misspelt = fields.misspelt(lacking, plans.value, "Plans")
            at, remedy = plans.at(*misspelt[:1]), _remedy_of_missing(misspelt)
            yield found(at, where=plans.path.name, lacking=listed([*lacking]), use=use, remedy=remedy)
    for configuration in plans.configurations:
        if configuration.broken_inheritance is None:
            yield from _missing_in(configuration)


_PLANS_KEYS = frozenset(chain.from_iterable(constants.PLANS_KEYS.values()))
_CONFIGURATION_KEYS = frozenset(chain.from_iterable(constants.CONFIGURATION_KEYS.values()))


def _missing_in(configuration: Configuration) -> Iterator[Found]:
    """Report the keys that a configuration lacks; those that its parent lacks as well are reported for the parent."""
    if configuration.resolved.keys() >= _CONFIGURATION_KEYS:
        return
    present = {*configuration.resolved}
    if "UNet_class_name" in present:
        present.add("architecture")  # the keys of the old format replace it
    lacking = {key: use for use, keys in constants.CONFIGURATION_KEYS.items() for key in keys if key not in present}
    if lacking and configuration.resolved.get("inherits_from") is None:
        where = f"configuration {configuration.name}"
        uses = ", ".join(dict.fromkeys(lacking.values()))
        misspelt = fields.misspelt([*lacking], configuration.resolved, "Configuration")
        at, remedy = configuration.at(*misspelt[:1]), _remedy_of_missing(misspelt)
        yield found(at, where=where, lacking=listed([*lacking]), use=uses, remedy=remedy)


def _remedy_of_missing(misspelt: tuple[str, ...]) -> str:
    if misspelt:
        return f"rename {misspelt[0]} to {misspelt[1]}"
    return "add what is missing, best from the plans that these were made from"


def _ct_channels(plans: Plans) -> list[str] | None:
    """Return the channels that a configuration normalizes as CT; None where the schemes cannot be read."""
    schemes = [entry["normalization_schemes"] for entry in plans.written.values() if "normalization_schemes" in entry]
    if not schemes or not all(isinstance(names, list) for names in schemes):
        return None
    return [str(index) for names in schemes for index, name in enumerate(names) if name == constants.CT]


def _invalid(
    location: Location, problem: FieldProblem, model: str, channels: list[str] | None, document: Any = None
) -> Found:
    field = ".".join(map(str, problem.tokens)) or "the document"
    _, is_type, wanted = problem.expected.partition("Input should be ")
    trouble, remedy = f"{field} is {brief(problem.value)}, not {wanted}", f"write {wanted}"
    if problem.missing:
        trouble, remedy = f"{field} is missing", f"add {field}, or fetch the whole file again"
    elif not is_type:
        trouble, remedy = f"{field}: {problem.expected}", "write a value of the type that nnU-Net needs"
    severity, effect = None, ""
    if model in fields.FIELDS and not problem.missing:
        fails, effect = fields.effect(model, problem.tokens, problem.value, channels, document)
        severity = None if fails else Severity.INFO
    return found(location, severity=severity, trouble=trouble, remedy=remedy, effect=effect)
