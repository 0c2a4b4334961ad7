"""Plans a migration: finds both sides, makes the result in memory and lets the ordinary rules judge it there."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import plansguard
from plansguard.core.digest import sha256
from plansguard.core.errors import Absent, UsageError
from plansguard.core.report import Report
from plansguard.documents import json_document
from plansguard.documents.file_names import CANONICAL_NAMES, MIGRATION_RECORD_ENDING, MODEL_PLANS, SETTINGS_NAME
from plansguard.migration.image_reader import Reader, choose_reader, example_image
from plansguard.migration.rewrite import grafted, moved
from plansguard.migration.source_dataset import giving_dataset
from plansguard.nnunet import plans_diff
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.workspace import Workspace, checked_identifier
from plansguard.records.migration import SCHEMA, MigrationRecord
from plansguard.rules import RULES
from plansguard.rules.engine.declare import Rule
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.direction import source_of
from plansguard.subjects.discovery import dataset_in, dataset_of
from plansguard.subjects.external_plans import ExternalDataset
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Plans
from plansguard.subjects.request import Request

#: What the next commands mend, and what therefore does not stand in the way of a move.
_MENDED_LATER = frozenset({"fingerprint-missing", "data-missing"})
#: The rule about a reader that does not suit the images, and what to do about it before the plans are written.
_LOSES_SPACING, _SAY_THE_READER = "reader-loses-spacing", "migrate with --reader {better}"


@dataclass(frozen=True)
class MigrationRequest:
    """What the user asked for.

    ``source`` and ``target`` are ids or names of datasets, ``source`` also the path of an artefact; ``onto`` are the
    own plans that a graft changes.
    """

    source: str
    target: str
    target_plans: str
    source_plans: str | None = None
    workflow: str = "finetune"
    reader: str | None = None
    onto: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Write:
    """One file to be written, in this order; ``what`` says it in words."""

    path: Path
    content: bytes
    what: str


@dataclass(frozen=True)
class Migration:
    """A planned migration: what would be written, and what the rules say of it. Nothing has been written yet."""

    pair: Pair
    reader: Reader
    writes: tuple[Write, ...]
    report: Report


def plan(workspace: Workspace, order: MigrationRequest, settings: ActiveSettings | None = None) -> Migration:
    """Plan what ``order`` asks for.

    Raises UsageError when a dataset or plans do not exist or are ambiguous, UnreadableDocument when the plans to be
    moved cannot be read. A move that is possible but wrong is no exception: the report of the result says so.
    """
    identifier = _checked_target(order.target_plans)
    giving, meant = giving_dataset(workspace, order.source, order.source_plans, order.workflow)
    receiving = _receiving(workspace, order.target)
    if giving.name == receiving.name and not isinstance(giving, ExternalDataset):
        raise UsageError(
            f"{giving.name} would give plans to itself",
            hint="a move is between two datasets; to vary plans in one, copy the file and change plans_name",
        )
    plans = _plans_of(giving, meant, receiving)
    placed, receiving = _with_dataset_json(receiving)
    reader, result = _result(order, plans, receiving)
    path = _writable(receiving.folder / f"{identifier}.json")
    _writable(receiving.folder / (identifier + MIGRATION_RECORD_ENDING))
    content = json_document.dumps(result)
    existing = path.read_bytes() if path.is_file() else None
    writes = [*placed, *_writes(order, giving, plans, receiving, path, content, existing, placed)]
    in_memory = [json_document.parse(one.content, str(one.path)) for one in writes if one.path.suffix == ".json"]
    in_memory.append(json_document.parse(content, str(path)))
    weights = giving.checkpoint if isinstance(giving, ExternalDataset) else None
    would_be = receiving.with_documents(in_memory, Request(plans=identifier, weights=weights))
    pair = Pair(
        workflow=order.workflow,
        giving=giving,
        plans=plans,
        receiving=would_be,
        result=next(one for one in would_be.plans if one.path == path),
        existing=existing,
        force=order.force,
    )
    report = run_rules(
        "migrate",
        [giving.name, receiving.name],
        [would_be],
        pair=pair,
        settings=settings,
        rules=[one for one in RULES if not _mended_later(one)],
    )
    return Migration(pair, reader, tuple(writes), _advised(report, order))


def _advised(report: Report, order: MigrationRequest) -> Report:
    """The report with advice for whoever types the command, where a rule's own is to edit the file.

    A graft keeps the reader of the dataset's own plans, which are there to be edited.
    """
    if order.workflow == "graft":
        return report
    findings = (
        replace(one, fix=_SAY_THE_READER.format(**one.values)) if one.name == _LOSES_SPACING else one
        for one in report.findings
    )
    return replace(report, findings=tuple(findings))


def _mended_later(rule: Rule) -> bool:
    """Whether a rule tells of what the next commands mend, preprocessing above all."""
    return rule.info.name in _MENDED_LATER or bool({"data", "preprocessing_records"} & set(rule.needs))


def backup_name(path: Path, content: bytes) -> Path:
    """Where a file's old content is kept: the name holds its digest, so repeating a move makes no second copy."""
    return path.with_name(f"{path.name}.{sha256(content)[:8]}.bak")


def _checked_target(identifier: str) -> str:
    reserved = {Path(name).stem for name in (*CANONICAL_NAMES.values(), MODEL_PLANS, SETTINGS_NAME)}
    if identifier.casefold() in reserved:
        raise UsageError(
            f"plans cannot be called {identifier}: {identifier}.json is the name of another document",
            hint="choose another name with -tp",
        )
    return checked_identifier(identifier)


def _writable(path: Path) -> Path:
    """``path`` if a file can be put there: it is free, or a plain file of this very folder."""
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise UsageError(
            f"{path} is a link to {path.resolve()}", hint="choose another name with -tp, or remove the link"
        )
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is there already and is no file", hint="choose another name with -tp")
    return path


def _receiving(workspace: Workspace, id_or_name: str) -> Dataset:
    """The receiving folder; it need not exist yet if the raw dataset does."""
    name = workspace.dataset_name(id_or_name)
    folder = workspace.preprocessed_folder(name)
    if folder.is_dir():
        return replace(dataset_in(folder), workspace=workspace)
    if workspace.raw is None or not (workspace.raw / name).is_dir():
        return dataset_of(workspace, name)  # raises, with the reason
    return Dataset(folder, (), workspace=workspace)


def _plans_of(giving: Dataset, identifier: str | None, receiving: Dataset) -> Plans:
    """The plans that move: those named, else the only ones, else nnU-Net's default plans."""
    known = [plans.identifier for plans in giving.plans]
    for error in giving.unreadable:
        if identifier is not None and Path(error.path).stem == identifier:
            raise error
    if identifier is None:
        if not known:
            raise UsageError(
                f"{giving.name} has no plans in {giving.folder}",
                hint="put the plans that the weights were trained with there, or plan the dataset",
            )
        if len(known) > 1 and DEFAULT_IDENTIFIER not in known:
            raise UsageError(
                f"{giving.name} has several plans: say which with -sp",
                hint=f"plans of {giving.name}: {', '.join(known)}",
            )
        identifier = known[0] if len(known) == 1 else DEFAULT_IDENTIFIER
    if identifier not in known:
        there = [plans.identifier for plans in receiving.plans]
        swapped = f"; {receiving.name} has plans of that name: are -s and -t swapped?" if identifier in there else ""
        raise UsageError(
            f"{giving.name} has no plans named {identifier}{swapped}",
            hint=f"plans of {giving.name}: {', '.join(known) or 'none'}",
        )
    plans = next(plans for plans in giving.plans if plans.identifier == identifier)
    if not plans.written:
        raise UsageError(f"{plans.path} has no configurations", hint="plans without any are of no use to nnU-Net")
    for place, problem in plans.all_problems():
        raise UsageError(
            f"{plans.path} has fields of a wrong type, first {place.pointer}: {problem.expected}",
            hint=f"see all of them with: plansguard check {plans.path}"
            if plans.path.suffix == ".json" and plans.path.is_file()
            else f"mend them in a copy and give that to -s: plansguard extract {source_of(giving)} -o plans.json",
        )
    return plans


def _with_dataset_json(receiving: Dataset) -> tuple[list[Write], Dataset]:
    """Put the dataset's own dataset.json into the folder if nnU-Net would not find one there."""
    path = receiving.folder / CANONICAL_NAMES["dataset.json"]
    if path.exists():
        return [], receiving
    try:
        raw = receiving.raw_dataset_json.document
    except Absent as absent:
        raise UsageError(
            f"{receiving.name} has no dataset.json: none in {receiving.folder}, and {absent.reason}",
            hint="set nnUNet_raw to where the dataset's own dataset.json is; another dataset's would not do",
        ) from absent
    write = Write(path, raw.raw, "the dataset's own dataset.json, which training reads here")
    return [write], receiving.with_documents([json_document.parse(raw.raw, str(path))], receiving.request)


def _reader(receiving: Dataset, order: MigrationRequest) -> Reader:
    """nnU-Net looks at the raw dataset.json and the raw images; without them the folder's own have to do."""
    try:
        raw = receiving.raw_dataset_json
        for problem in raw.problems:
            raise UsageError(
                f"{raw.path} has a field of a wrong type: {json_document.pointer(*problem.tokens)}: {problem.expected}",
                hint=f"mend it, then check it: plansguard check {raw.path}",
            )
        dataset_json: dict[str, Any] = raw.value
        image = example_image(receiving.raw_folder, dataset_json)
    except Absent:
        dataset_json, image = receiving.dataset_json.value, None
    own = [plans.value for plans in receiving.plans if plans.identifier != order.target_plans]
    return choose_reader(receiving.name, dataset_json, example_image=image, own_plans=own, asked=order.reader)


def _result(order: MigrationRequest, plans: Plans, receiving: Dataset) -> tuple[Reader, dict[str, Any]]:
    """The plans to be written, and the reader in them. A graft keeps that of the receiving dataset's own plans."""
    if order.workflow == "graft":
        own = _plans_of(receiving, order.onto, receiving)
        kept = Reader(str(own.value.get("image_reader_writer")), f"as in {own.identifier}")
        return kept, grafted(plans.value, onto=own.value, target=order.target_plans)
    reader = _reader(receiving, order)
    result = moved(
        plans.value,
        source=plans.identifier,
        target=order.target_plans,
        dataset_name=receiving.name,
        reader=reader.name,
    )
    return reader, result


def _writes(
    order: MigrationRequest,
    giving: Dataset,
    plans: Plans,
    receiving: Dataset,
    path: Path,
    content: bytes,
    existing: bytes | None,
    placed: list[Write],
) -> list[Write]:
    """Backup, record, plans: the plans come last, because their bytes decide which state holds (record.py)."""
    sidecar = path.with_name(order.target_plans + MIGRATION_RECORD_ENDING)
    old = _record_in_force(receiving, path, existing)
    if existing == content and old is not None and old.matches(plans.document.raw, plans.identifier, order.workflow):
        return []
    writes = []
    if existing is not None and existing != content:
        writes.append(Write(backup_name(path, existing), existing, "a backup of the plans that stood there"))
    record = {
        "schema": SCHEMA,
        "tool": {"name": "plansguard", "version": plansguard.__version__},
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds"),
        "workflow": order.workflow,
        "from": {
            "dataset": giving.name,
            "plans": plans.identifier,
            "path": str(plans.path),
            "sha256": sha256(plans.document.raw),
        },
        "to": {"dataset": receiving.name, "plans": order.target_plans, "sha256": sha256(content)},
        "digests": plans_diff.digests(json_document.parse(content, str(path)).value),
        "migrated": json_document.parse(content, str(path)).value,
        "replaced": None
        if existing is None
        else {
            "sha256": sha256(existing),
            "backup": None if existing == content else backup_name(path, existing).name,
            "lineage": None if old is None else old.truncated(),
        },
        "placed_dataset_json": sha256(placed[0].content) if placed else None,
    }
    writes.append(Write(sidecar, json_document.dumps(record), "the record of this migration"))
    if existing != content:
        writes.append(Write(path, content, "the migrated plans"))
    return writes


def _record_in_force(receiving: Dataset, path: Path, existing: bytes | None) -> MigrationRecord | None:
    """The record of what stands at ``path`` now; None when plansguard did not write it."""
    present = next((plans for plans in receiving.plans if plans.path == path), None)
    if existing is None or present is None:
        return None
    try:
        return receiving.migration_record(present)
    except Absent:
        return None
