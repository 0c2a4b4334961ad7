"""Plan a migration: find both datasets, make the result in memory, and check it with the ordinary rules."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import plansguard
from plansguard.core import disk
from plansguard.core.digest import sha256
from plansguard.core.errors import Absent, UsageError, known
from plansguard.core.report import Report, distinct
from plansguard.documents import json_document
from plansguard.documents.file_names import (
    BASELINE_NAME,
    CANONICAL_NAMES,
    MIGRATION_RECORD_ENDING,
    MODEL_PLANS,
    SETTINGS_NAME,
)
from plansguard.migration.files import assert_own_folder, backup_name, dataset_name, is_own_record, writable
from plansguard.migration.image_reader import ReaderChoice, choose_reader, example_image
from plansguard.migration.rewrite import grafted, moved
from plansguard.migration.source_dataset import giving_dataset
from plansguard.nnunet import plans_diff, printed_commands
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.workspace import BETWEEN_NAMES, GROUND_TRUTH, Workspace, checked_identifier
from plansguard.records.migration import SCHEMA
from plansguard.rules import RULES
from plansguard.rules.engine.acceptance import Accepted, accept, assert_acceptable
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.direction import source_of
from plansguard.subjects.discovery import configuration_of, dataset_in, dataset_of, plans_of
from plansguard.subjects.external_plans import ExternalDataset
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Plans
from plansguard.subjects.request import Request

#: Rules whose findings the next commands fix, so that they do not prevent a migration.
FIXED_LATER = frozenset({"fingerprint-missing", "data-missing"})
#: Needs of other such rules, about preprocessed data.
OF_DATA = frozenset({"data", "preprocessing_records"})
#: The rule about a reader that does not suit the images, and its fix before the plans are written.
LOSES_SPACING, _NAME_THE_READER = "reader-loses-spacing", "migrate with --reader {better}"


@dataclass(frozen=True)
class MigrationRequest:
    """The options of ``plansguard migrate``.

    ``source`` and ``target`` are ids or names of datasets, ``source`` also the path of an artefact; ``onto`` names the
    plans of the target that a graft changes. ``configurations`` are those to judge, all if none are named; the written
    plans have all. ``accepted`` are findings that do not prevent the migration.
    """

    source: str
    target: str
    target_plans: str
    source_plans: str | None = None
    workflow: str = "finetune"
    reader: str | None = None
    onto: str | None = None
    force: bool = False
    configurations: tuple[str, ...] = ()
    accepted: tuple[Accepted, ...] = ()


@dataclass(frozen=True)
class Write:
    """One file to be written; ``what`` describes it."""

    path: Path
    content: bytes
    what: str


@dataclass(frozen=True)
class Migration:
    """A planned migration: the files to write, in this order, and the findings. Nothing has been written yet."""

    pair: Pair
    reader: ReaderChoice
    writes: tuple[Write, ...]
    report: Report


def plan(
    workspace: Workspace,
    request: MigrationRequest,
    settings: ActiveSettings | None = None,
    receiving: Dataset | None = None,
) -> Migration:
    """Plan a migration. ``receiving`` is the dataset that the request names, where it was read already.

    Raises UsageError when a dataset or plans do not exist or are ambiguous, UnreadableDocument when the plans to be
    migrated cannot be read. A migration that is possible but wrong has findings in its report.
    """
    assert_acceptable(request.accepted, [rule.info for rule in RULES])
    identifier = checked_target(request.target_plans)
    giving, meant = giving_dataset(workspace, request.source, request.source_plans, request.workflow)
    if receiving is None:
        receiving = receiving_dataset(workspace, request.target)
    _assert_two_datasets(giving, receiving)
    plans = source_plans(giving, meant, receiving)
    placed, receiving = _with_dataset_json(receiving)
    reader, result = _result(request, plans, receiving)
    path = writable(receiving.folder / f"{identifier}.json")
    writable(receiving.folder / (identifier + MIGRATION_RECORD_ENDING))
    existing = disk.content(path) if disk.is_file(path) else None
    weights = giving.checkpoint if isinstance(giving, ExternalDataset) else None
    content = json_document.parse(json_document.dumps(result), str(path))
    target = receiving.with_documents([content], Request(plans=identifier, weights=weights))
    old = next((plans for plans in receiving.plans if plans.path == path), None)
    pair = Pair(
        workflow=request.workflow,
        giving=giving,
        plans=plans,
        receiving=target,
        result=plans_at(path, target),
        existing=existing,
        replaced=None if old is None else known(lambda: receiving.migration_record(old)),
        force=request.force,
        configurations=request.configurations,
    )
    for name in request.configurations:  # raises for an unknown one; a graft leaves some out
        configuration_of(plans, name)
        configuration_of(pair.result, name)
    writes = [*placed, *files_to_write(pair, placed)]
    pair = with_files(pair, writes)
    report = _report(pair, settings, request)
    return Migration(pair, reader, tuple(with_accepted(write, report) for write in writes), report)


def with_files(pair: Pair, writes: list[Write]) -> Pair:
    """The pair with the receiving dataset as it is after these files are written."""
    written = [json_document.parse(write.content, str(write.path)) for write in writes if write.path.suffix == ".json"]
    target = pair.receiving.with_documents(written, pair.receiving.request)
    return replace(pair, receiving=target, result=plans_at(pair.result.path, target))


def _report(pair: Pair, settings: ActiveSettings | None, request: MigrationRequest) -> Report:
    """The findings about the result, of the named configurations or of all, with those that are accepted marked."""
    report = judged("migrate", [pair.giving.name, pair.receiving.name], pair, settings)
    return accept(_advised(report, request), request.accepted)


def judged(command: str, inputs: list[str], pair: Pair, settings: ActiveSettings | None) -> Report:
    """The findings about a result that is not written yet, of the named configurations or of all."""
    target = pair.receiving
    names = dict.fromkeys(pair.configurations) or [None]
    report = run_rules(
        command,
        inputs,
        [replace(target, request=replace(target.request, configuration=name)) for name in names],
        pair=pair,
        settings=settings,
        rules=[rule for rule in RULES if rule.info.name not in FIXED_LATER and not OF_DATA & set(rule.needs)],
    )
    return replace(report, findings=tuple(distinct(report.findings)))


def with_accepted(write: Write, report: Report) -> Write:
    """The migration record with the findings that were accepted; every other file as it is."""
    accepted = [
        {"code": finding.code, "name": finding.name, "because": finding.ignored}
        for finding in report.findings
        if finding.ignored is not None
    ]
    if not accepted or not write.path.name.endswith(MIGRATION_RECORD_ENDING):
        return write
    record = {**json_document.parse(write.content, str(write.path)).value, "accepted": accepted}
    return replace(write, content=json_document.dumps(record))


def _advised(report: Report, request: MigrationRequest) -> Report:
    """The report with a fix that is an option of this command, where the rule's own is to edit the file.

    A graft keeps the reader of the target's own plans, which can be edited.
    """
    if request.workflow == "graft":
        return report
    findings = (
        replace(finding, fix=_NAME_THE_READER.format(**finding.values)) if finding.name == LOSES_SPACING else finding
        for finding in report.findings
    )
    return replace(report, findings=tuple(findings))


def _assert_two_datasets(giving: Dataset, receiving: Dataset) -> None:
    """Raise UsageError where both are one folder, by its name or behind links, or files would go to a third dataset."""
    assert_own_folder(receiving)
    folders = [disk.status(giving.folder), disk.status(receiving.folder)]
    same = None not in folders and os.path.samestat(*folders)  # type: ignore[arg-type]
    if same or (giving.name == receiving.name and not isinstance(giving, ExternalDataset)):
        raise UsageError(
            f"{giving.name} is both source and target",
            hint=f"a migration is between two datasets; to vary plans in one: {printed_commands.derive(giving.name)}",
        )


def checked_target(identifier: str) -> str:
    """The name of new plans; UsageError for one that is no file name, or that of another document or folder."""
    reserved = {Path(name).stem for name in (*CANONICAL_NAMES.values(), MODEL_PLANS, SETTINGS_NAME, BASELINE_NAME)}
    if identifier.casefold() in reserved:
        raise UsageError(
            f"plans cannot be called {identifier}: {identifier}.json is the name of another document",
            hint="choose another name with -tp",
        )
    if identifier == GROUND_TRUTH:
        raise UsageError(
            f"plans cannot be called {identifier}: nnU-Net keeps the labels in a folder of that name",
            hint="choose another name with -tp",
        )
    if BETWEEN_NAMES in identifier:
        raise UsageError(
            f"plans cannot be called {identifier}: nnU-Net divides names of folders at {BETWEEN_NAMES}, and "
            "nnUNetv2_find_best_configuration stops there",
            hint="choose another name with -tp",
        )
    return checked_identifier(identifier)


def receiving_dataset(workspace: Workspace, id_or_name: str) -> Dataset:
    """The dataset that plans go to; its folder need not exist yet if the raw dataset does. UsageError otherwise."""
    name = workspace.dataset_name(id_or_name)
    folder = workspace.preprocessed_folder(name)
    if disk.is_folder(folder):
        return replace(dataset_in(folder), workspace=workspace)
    if workspace.raw is None or not disk.is_folder(workspace.raw / name):
        return dataset_of(workspace, name)  # raises, with the reason
    return Dataset(folder, (), workspace=workspace)


def source_plans(giving: Dataset, identifier: str | None, receiving: Dataset, option: str = "-sp") -> Plans:
    """The plans to migrate: those named (with ``option``), else the only ones, else nnU-Net's default plans."""
    present = [plans.identifier for plans in giving.plans]
    if identifier is None:
        if not present:
            plan_it = f"plan it first: {printed_commands.plan_and_preprocess(giving.name)}"
            is_moved = giving.folder != receiving.folder  # only then weights of another dataset may be meant
            raise UsageError(
                f"{giving.name} has no plans in {giving.folder}",
                hint=f"put the plans that the weights were trained with there, or {plan_it}" if is_moved else plan_it,
            )
        if len(present) > 1 and DEFAULT_IDENTIFIER not in present:
            raise UsageError(
                f"{giving.name} has several plans: name one with {option}",
                hint=f"plans of {giving.name}: {', '.join(present)}",
            )
        identifier = present[0] if len(present) == 1 else DEFAULT_IDENTIFIER
    try:
        plans = plans_of(giving, identifier)
    except UsageError as error:
        if any(plans.identifier == identifier for plans in receiving.plans):
            error.hint = f"{receiving.name} has plans of that name: are -s and -t swapped?"
        raise
    if not plans.written:
        raise UsageError(f"{plans.path} has no configurations", hint="nnU-Net cannot use plans without any")
    for place, problem in plans.all_problems():
        raise UsageError(
            f"{plans.path} has fields of a wrong type, first {place.pointer}: {problem.expected}",
            hint=f"see all of them with: {printed_commands.check_file(plans.path)}"
            if plans.path.suffix == ".json" and disk.is_file(plans.path)
            else "fix them in a copy and name that with -s: "
            + printed_commands.extract(source_of(giving), "plans.json"),
        )
    return plans


def _with_dataset_json(receiving: Dataset) -> tuple[list[Write], Dataset]:
    """Copy the dataset's own dataset.json into the folder if there is none, and the dataset with it."""
    path = receiving.folder / CANONICAL_NAMES["dataset.json"]
    if disk.is_there(path):
        return [], receiving
    writable(path)
    try:
        raw = receiving.raw_dataset_json.document
    except Absent as absent:
        raise UsageError(
            f"{receiving.name} has no dataset.json: none in {receiving.folder}, and {absent.reason}",
            hint="set nnUNet_raw to the folder with the dataset's own dataset.json; do not copy another dataset's",
        ) from absent
    write = Write(path, raw.raw, "the dataset's own dataset.json, which training reads here")
    return [write], receiving.with_documents([json_document.parse(raw.raw, str(path))], receiving.request)


def _reader(receiving: Dataset, request: MigrationRequest) -> ReaderChoice:
    """From the raw dataset.json and images, as nnU-Net does; without them from the documents in the folder."""
    try:
        raw = receiving.raw_dataset_json
        for problem in raw.problems:
            raise UsageError(
                f"{raw.path} has a field of a wrong type: {json_document.pointer(*problem.tokens)}: {problem.expected}",
                hint=f"fix it, then check it: {printed_commands.check_file(raw.path)}",
            )
        dataset_json: dict[str, Any] = raw.value
        image = example_image(receiving.raw_folder, dataset_json)
    except Absent:
        dataset_json, image = receiving.dataset_json.value, None
    own = [plans.value for plans in receiving.plans if plans.identifier != request.target_plans]
    return choose_reader(receiving.name, dataset_json, example_image=image, own_plans=own, asked=request.reader)


def _result(request: MigrationRequest, plans: Plans, receiving: Dataset) -> tuple[ReaderChoice, dict[str, Any]]:
    """The plans to write, and their reader. A graft keeps that of the target's own plans."""
    if request.workflow == "graft":
        own = source_plans(receiving, request.onto, receiving)
        kept = ReaderChoice(str(own.value.get("image_reader_writer")), f"as in {own.identifier}")
        return kept, grafted(plans.value, onto=own.value, target=request.target_plans)
    reader = _reader(receiving, request)
    result = moved(
        plans.value,
        source=plans.identifier,
        target=request.target_plans,
        dataset_name=receiving.name,
        reader=reader.name,
    )
    return reader, result


def files_to_write(pair: Pair, placed: list[Write], derivation: dict[str, Any] | None = None) -> list[Write]:
    """Backup, record, plans: the plans come last, because their bytes decide which record is in force.

    ``placed`` is a dataset.json that is written as well. ``derivation`` is how plans are derived, if they are.
    """
    old = pair.replaced
    path, content, existing = pair.result.path, pair.result.document.raw, pair.existing
    plans, identifier = pair.plans, pair.result.identifier
    changed = existing != content
    if not changed and old is not None and old.matches(plans.document.raw, plans.identifier, pair.workflow):
        return []
    writes, replaced = [], None
    if existing is not None:
        backup = backup_name(path, existing)
        replaced = {
            "sha256": sha256(existing),
            "backup": backup.name if changed else None,
            "lineage": None if old is None else old.truncated(),
        }
        if changed:
            writes.append(Write(backup, existing, "a backup of the plans that are replaced"))
    record_path = path.with_name(identifier + MIGRATION_RECORD_ENDING)
    present = disk.content(record_path) if disk.is_file(record_path) else None
    # The new record contains the old one, except beside plans that are damaged.
    if present is not None and (
        (old is None and existing is not None) or not is_own_record(record_path, present, identifier)
    ):
        what = "a backup of the record, or other file, of this name"
        writes.append(Write(backup_name(record_path, present), present, what))
    record = _record(pair, placed, replaced, derivation)
    writes.append(Write(record_path, json_document.dumps(record), "the migration record"))
    if changed:
        writes.append(Write(path, content, "the migrated plans" if derivation is None else "the derived plans"))
    return writes


def _record(
    pair: Pair, placed: list[Write], replaced: dict[str, Any] | None, derivation: dict[str, Any] | None
) -> dict[str, Any]:
    """The migration record, as documents/models/migration_record.py describes it."""
    plans, result = pair.plans, pair.result
    giving, receiving = (
        side.name if derivation is None else dataset_name(side) for side in (pair.giving, pair.receiving)
    )
    return {
        "schema": SCHEMA,
        "tool": {"name": "plansguard", "version": plansguard.__version__},
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds"),
        "workflow": pair.workflow,
        "from": {
            "dataset": giving,
            "plans": plans.identifier,
            "path": str(plans.path),
            "sha256": sha256(plans.document.raw),
        },
        "to": {"dataset": receiving, "plans": result.identifier, "sha256": sha256(result.document.raw)},
        "digests": plans_diff.digests(result.value),
        "migrated": result.value,
        "replaced": replaced,
        "placed_dataset_json": sha256(placed[0].content) if placed else None,
        **({} if derivation is None else {"derivation": derivation}),
    }


def plans_at(path: Path, dataset: Dataset) -> Plans:
    """The plans in a file of a dataset."""
    return next(plans for plans in dataset.plans if plans.path == path)
