"""PG0xx: can the files be read, and do they say what they seem to say?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from plansguard.core.errors import Absent
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief
from plansguard.documents import json_document
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.recognise import is_v1, recognise
from plansguard.documents.validation import FieldProblem, problems
from plansguard.nnunet import constants
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.needs import Crash
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import expected_kind
from plansguard.subjects.plans import Configuration, Plans

#: What nnU-Net calls each kind of document, for messages.
_TITLES = {
    "plans": "nnU-Net plans",
    "dataset.json": "a dataset.json",
    "fingerprint": "a dataset fingerprint",
    "splits": "a splits_final.json",
    "lineage": "plansguard's record of a migration",
    "stamp": "plansguard's stamp of preprocessed data",
    "receipt": "plansguard's receipt of a training",
}
_MODELS = {
    "dataset.json": "DatasetJson",
    "fingerprint": "Fingerprint",
    "splits": "Splits",
    "lineage": "MigrationRecord",
    "stamp": "PreprocessingRecord",
    "receipt": "TrainingRecord",
}


@rule(
    "PG000",
    "rule-crashed",
    Severity.ERROR,
    message="the rule {rule} failed with {error}",
    fix="please report this with the file: the other rules have run, this one has not",
)
def rule_crashed(crashes: Iterable[Crash]) -> Iterator[Found]:
    """A rule of plansguard failed.

    What it checks: every rule came to an end.

    Why it matters: a rule that fails has not checked anything. The exit code is 2, so that nobody takes the report
    for complete.

    How to fix: this is a fault of plansguard. Report it with the file that provokes it.

    Example: none is known.

    Evidence: a crash of one rule must neither hide the others nor look like a clean result.
    """
    for crash in crashes:
        yield found(Location(crash.path), rule=crash.rule, error=crash.error)


@rule(
    "PG001",
    "unreadable-document",
    Severity.ERROR,
    message="{reason}",
    fix="{hint}",
    modes=("PL-08",),
)
def unreadable_document(dataset: Dataset) -> Iterator[Found]:
    """A file cannot be read as JSON.

    What it checks: every file with one of nnU-Net's names is strict JSON in UTF-8, at most 16 MiB large and at most
    200 levels deep; plans have at most 300 configurations, and with all that these inherit 1,048,576 characters; labels
    and channels have 262,144 characters each. Every folder below those that are checked can be listed.

    Why it matters: nnU-Net ends with a `JSONDecodeError` that does not name the file. A file that cannot be read has
    not been checked: the exit code is 2.

    How to fix: mend the place named. JSON has no comments, no trailing commas and no byte order mark.

    Example: `"batch_size": 2  # was 4` pasted from the documentation's annotated example.

    Evidence: PL-08; nnU-Net issue 2822.
    """
    for error in dataset.unreadable:
        location = Location(error.path, "", error.line, error.column)
        yield found(location, reason=error.reason, hint=error.hint or "make the file readable and check again")


@rule(
    "PG002",
    "duplicate-key",
    Severity.ERROR,
    message="the key {key!r} stands twice in the same object: nnU-Net takes the last one, without a word",
    fix="delete the one that is not meant",
    modes=("PL-08",),
)
def duplicate_key(document: JsonDocument) -> Iterator[Found]:
    """A key stands twice in the same object.

    What it checks: no object of the file has the same key twice.

    Why it matters: Python's JSON reader, and so nnU-Net, silently keeps the last value. The value one reads first in
    the file is not the one that trains.

    How to fix: keep the line that is meant and delete the other.

    Example: `"spacing": [3, 1, 1]` near the top of a configuration and `"spacing": [1, 1, 1]` at its end.

    Evidence: PL-08; nnU-Net issue 2884 (two `ignore` labels).
    """
    for notice in document.notices:
        if notice.kind == "duplicate-key":
            position = document.position(notice.pointer, first=True)
            first = Location(document.path, notice.pointer, *(position or ()))
            yield found(
                Location(document.path, notice.pointer),
                related=[(first, "the first one, which is lost")] if position else [],
                key=notice.text,
            )


@rule(
    "PG003",
    "non-finite-number",
    Severity.ERROR,
    message="{text} is no number that nnU-Net can compute with, and it does not complain",
    fix="give the number that is meant; if nnU-Net wrote it, its fingerprint has empty foreground: run "
    "nnUNetv2_extract_fingerprint again with --clean once the labels are mended",
    modes=("PL-08", "SP-01"),
)
def non_finite_number(document: JsonDocument) -> Iterator[Found]:
    """A number is NaN or infinite.

    What it checks: no number in plans, dataset.json or fingerprint is `NaN`, `Infinity`, `-Infinity` or too large
    for a double (`1e400`).

    Why it matters: none of these is JSON, yet Python reads them. A NaN in the intensity properties makes every voxel
    of the preprocessed data NaN; training then shows a loss of NaN at best.

    How to fix: correct the value. In a fingerprint it comes from cases without foreground.

    Example: `"std": NaN` in `foreground_intensity_properties_per_channel`.

    Evidence: PL-08, SP-01; NO-08.
    """
    if recognise(document.value) in ("lineage", "stamp", "receipt"):
        return  # they repeat the plans they belong to: told there
    for notice in document.notices:
        if notice.kind == "non-finite":
            yield found(Location(document.path, notice.pointer), text=notice.text)


@rule(
    "PG004",
    "wrong-document",
    Severity.ERROR,
    message="the name says {expected}, the content is {actual}",
    fix="put the right file here: nnU-Net goes by the name",
    modes=("PL-08",),
)
def wrong_document(document: JsonDocument) -> Iterator[Found]:
    """The file holds another document than its name says.

    What it checks: a file called `dataset.json`, `dataset_fingerprint.json`, `splits_final.json` or `...Plans.json`
    holds that kind of document.

    Why it matters: nnU-Net opens files by name and fails far from the cause, for instance with
    `KeyError: 'configurations'`.

    How to fix: copy the right document to this name.

    Example: a `dataset.json` saved as `nnUNetPlans.json`.

    Evidence: PL-08; nnU-Net issue 2822.
    """
    expected = expected_kind(Path(document.path))
    actual = recognise(document.value)
    if expected is not None and actual != expected:
        title = _TITLES[actual] if actual else "none of nnU-Net's documents"
        yield found(Location(document.path), expected=_TITLES[expected], actual=title)


@rule(
    "PG005",
    "invalid-field",
    Severity.ERROR,
    message="{field}: {expected}, but here stands {value}",
    fix="write the value in the type that nnU-Net needs",
    modes=("PL-08",),
)
def invalid_field(dataset: Dataset) -> Iterator[Found]:
    """A field has a wrong type.

    What it checks: every field that nnU-Net reads has the type nnU-Net needs. `2.0` and `"2"` are not the integer 2,
    `"false"` is not false, and lists hold what they should.

    Why it matters: nnU-Net takes the value as it is and fails later, or behaves differently: a batch size of 2.0 ends
    in a `TypeError` inside the data loader, a text that should be a boolean counts as true.

    How to fix: correct the value. The schemas in `schemas/` give an editor the same knowledge.

    Example: `"batch_size": "2"`, `"patch_size": [64.0, 128, 128]`.

    Evidence: PL-08; measured with nnU-Net 2.8.1.
    """
    for plans in dataset.judged_plans:
        for location, problem in plans.all_problems():
            yield _problem(location, problem)
    for document in dataset.documents:
        kind = recognise(document.value)
        if kind in _MODELS and not is_v1(document.value):  # PG204 says what that is
            for problem in problems(_MODELS[kind], document.value):
                yield _problem(Location(document.path, json_document.pointer(*problem.tokens)), problem)


@rule(
    "PG006",
    "missing-key",
    Severity.ERROR,
    message="{where} has no {lacking}, which nnU-Net needs for {use}",
    fix="add what is missing, best by taking it from the plans these were made from",
    modes=("PL-08",),
)
def missing_key(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """Plans lack a key that nnU-Net reads.

    What it checks: in a folder that training reads, the plans and each configuration (after `inherits_from`) have
    every key that training and preprocessing ask for.

    Why it matters: nnU-Net fails with a bare `KeyError` once it gets there, which for some keys is after the
    training. Plans of a released model, outside such a folder, may lack what only training needs: not checked there.

    How to fix: take the key from the original plans, or plan the dataset again.

    Example: a configuration without `batch_dice`: `KeyError: 'batch_dice'` after five seconds.

    Evidence: PL-08; measured with nnU-Net 2.8.1.
    """
    if dataset.role != "preprocessed":
        raise Absent("only a preprocessed dataset folder must be complete")
    have = {*plans.value, constants.INTENSITY_KEY} if plans.intensity_key in plans.value else {*plans.value}
    for use, keys in constants.PLANS_KEYS.items():
        if lacking := [key for key in keys if key not in have]:
            yield found(plans.at(), where=plans.path.name, lacking=", ".join(lacking), use=use)
    for configuration in plans.configurations:
        if configuration.broken_inheritance is None:
            yield from _missing_in(configuration)


def _missing_in(configuration: Configuration) -> Iterator[Found]:
    """One finding for a configuration; what its parent lacks as well is told there."""
    have = {*configuration.resolved}
    if "UNet_class_name" in have:
        have.add("architecture")  # the old format's keys stand for it
    parent = configuration.resolved.get("inherits_from")
    lacking = {key: use for use, keys in constants.CONFIGURATION_KEYS.items() for key in keys if key not in have}
    if lacking and parent is None:
        where = f"configuration {configuration.name}"
        uses = ", ".join(dict.fromkeys(lacking.values()))
        yield found(configuration.at(), where=where, lacking=", ".join(lacking), use=uses)


def _problem(location: Location, problem: FieldProblem) -> Found:
    value = "nothing" if problem.missing else brief(problem.value)
    field = ".".join(str(token) for token in problem.tokens) or "the document"
    return found(location, field=field, value=value, expected=problem.expected)
