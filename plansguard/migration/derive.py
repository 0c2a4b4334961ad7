"""Plan a derivation: plans of a dataset under a new name, with some fields changed and what follows from them.

It is a migration whose source and target are one dataset: the same rules judge it, and it leaves the same record.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from plansguard.core import disk
from plansguard.core.errors import Absent, UsageError, known
from plansguard.core.text import quoted
from plansguard.documents import json_document
from plansguard.documents.file_names import MIGRATION_RECORD_ENDING
from plansguard.migration.assignments import ARGUMENTS, Assignment, applied, assert_types, parsed
from plansguard.migration.consequences import DerivedState, follow, touched
from plansguard.migration.files import assert_own_folder, dataset_name, writable
from plansguard.migration.image_reader import ReaderChoice
from plansguard.migration.plan import (
    Migration,
    checked_target,
    files_to_write,
    judged,
    plans_at,
    source_plans,
    with_accepted,
    with_files,
)
from plansguard.nnunet import constants, runtime
from plansguard.nnunet.inheritance import InheritanceError, modern_architecture, resolve_configuration
from plansguard.nnunet.runtime import PlanningTask
from plansguard.nnunet.workspace import BETWEEN_NAMES, Workspace, is_folder_name
from plansguard.records.migration import DERIVE, MigrationRecord
from plansguard.rules import RULES
from plansguard.rules.engine.acceptance import Accepted, accept, assert_acceptable
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import assert_no_weights, configuration_of, dataset_in, dataset_of, plans_of
from plansguard.subjects.documents import Fingerprint, median_of
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Plans
from plansguard.subjects.request import Request

FOLLOW, KEEP = "follow", "keep"
#: What a planner makes for a memory.
_PLANNED = ("patch_size", "batch_size", "architecture")


@dataclass(frozen=True)
class DerivationRequest:
    """The options of ``plansguard derive``.

    The plans are those of ``dataset`` (id or name) that ``plans`` names, or the ``file``. ``settings`` are texts of
    ``--set``. ``fitted`` are the configurations that are planned for ``fit_memory`` GB, all with a patch of their own
    if none are named. ``network`` is FOLLOW or KEEP; None keeps it in plans that were migrated, and else follows.
    """

    dataset: str | None
    target_plans: str
    plans: str | None = None
    file: Path | None = None
    settings: tuple[str, ...] = ()
    like: str | None = None
    fit_memory: float | None = None
    fitted: tuple[str, ...] = ()
    network: str | None = None
    force: bool = False
    accepted: tuple[Accepted, ...] = ()


@dataclass(frozen=True)
class Derivation(Migration):
    """A planned derivation. ``assignments`` are what was set, ``touched`` the configurations that it concerns."""

    assignments: tuple[Assignment, ...] = ()
    touched: tuple[str, ...] = ()
    keeps_network: bool = False


def source_dataset(workspace: Workspace, dataset: str | None, file: Path | None) -> Dataset:
    """The dataset of ``-d``, or the folder of a plans file; UsageError where it does not exist."""
    if file is None:
        return dataset_of(workspace, str(dataset))
    if not disk.is_file(file):
        raise UsageError(
            disk.absence(file) if not disk.is_there(file) else f"{file} is no file", hint="name a plans file, or -d"
        )
    assert_no_weights(file)
    folder = file.parent
    inside = workspace.preprocessed is not None and disk.real(folder.parent) == disk.real(workspace.preprocessed)
    return dataset_in(folder, [file.name], workspace=workspace if inside else None)


def plan(workspace: Workspace, request: DerivationRequest, settings: ActiveSettings | None = None) -> Derivation:
    """Plan a derivation.

    Raises UsageError when the plans do not exist, and for fields that cannot be set to these values. Plans that are
    possible but wrong have findings in the report.
    """
    assert_acceptable(request.accepted, [rule.info for rule in RULES])
    identifier = checked_target(request.target_plans)
    dataset = source_dataset(workspace, request.dataset, request.file)
    assert_own_folder(dataset)
    plans = _plans(dataset, request)
    if identifier == plans.identifier:
        raise UsageError(
            f"the new plans would replace those that they are derived from: {identifier}",
            hint="name them otherwise with -tp; data and models belong to the present plans",
        )
    moved = dataset.brought_by(plans)
    keeps = (request.network or (FOLLOW if moved is None else KEEP)) == KEEP
    assignments, after, names = _changed(request, dataset, plans, identifier, keeps=keeps)
    path = writable(dataset.folder / f"{identifier}.json")
    writable(dataset.folder / (identifier + MIGRATION_RECORD_ENDING))
    content = json_document.parse(json_document.dumps(after), str(path))
    target = dataset.with_documents([content], Request(plans=identifier))
    old = next((one for one in dataset.plans if one.path == path), None)
    pair = Pair(
        workflow=DERIVE,
        giving=dataset,
        plans=plans,
        receiving=target,
        result=plans_at(path, target),
        existing=disk.content(path) if disk.is_file(path) else None,
        replaced=None if old is None else known(lambda: dataset.migration_record(old)),
        force=request.force,
        configurations=tuple(names),
    )
    earlier = known(lambda: dataset.migration_record(plans)) if dataset.has_record(plans) else None
    writes = files_to_write(pair, [], _recorded(request, assignments, earlier, moved, keeps=keeps))
    pair = with_files(pair, writes)
    report = accept(judged("derive", [str(plans.path)], pair, settings), request.accepted)
    reader = ReaderChoice(str(after.get("image_reader_writer")), f"as in {plans.identifier}")
    accepted = tuple(with_accepted(write, report) for write in writes)
    return Derivation(pair, reader, accepted, report, tuple(assignments), tuple(names), keeps)


def _plans(dataset: Dataset, request: DerivationRequest) -> Plans:
    if request.file is None:
        return source_plans(dataset, request.plans, dataset, "-p")
    name = next((one.identifier for one in dataset.plans if one.path.name == request.file.name), None)
    if name is None:
        plans_of(dataset, request.file.stem)  # raises where the file is damaged
    return source_plans(dataset, name, dataset)


def _recorded(
    request: DerivationRequest,
    assignments: Sequence[Assignment],
    earlier: MigrationRecord | None,
    moved: MigrationRecord | None,
    *,
    keeps: bool,
) -> dict[str, Any]:
    """What the record says of the derivation. Of the migration before it, what it replaced is left out."""
    before = {} if earlier is None else earlier.value.get("derivation") or {}
    return {
        "set": {**(before.get("set") or {}), **{one.path: one.value for one in assignments}},
        "like": request.like,
        "fit_memory": request.fit_memory,
        "network": KEEP if keeps else FOLLOW,
        "brought_by": None if moved is None else {**moved.value, "replaced": None},
    }


def _changed(
    request: DerivationRequest, dataset: Dataset, plans: Plans, identifier: str, *, keeps: bool
) -> tuple[list[Assignment], dict[str, Any], list[str]]:
    """What is set, the plans after it, and the configurations that differ."""
    if request.like is not None:
        configuration_of(plans, request.like)  # raises for an unknown one
    assignments = parsed(request.settings, plans.value, request.like)
    before = deepcopy(plans.value)
    configurations = before["configurations"]
    named = dict.fromkeys(one.configuration for one in assignments if one.configuration is not None)
    new = [name for name in named if name not in configurations]
    for name in new:
        if BETWEEN_NAMES in name or name != name.strip() or name.startswith("-") or not is_folder_name(name):
            raise UsageError(
                f"{name!r} cannot be the name of a configuration",
                hint="use letters, digits and single '_': the name becomes a part of names of folders",
            )
    if request.like is not None and not new:
        raise UsageError(
            f"--like {request.like} is for a new configuration, and --set names none",
            hint=f"such as --set {request.like}_small.batch_size=2",
        )
    configurations.update({name: {"inherits_from": request.like} for name in new})
    after = deepcopy(before)
    after["plans_name"] = identifier
    _apply(assignments, before, after)
    fingerprint = known(lambda: dataset.fingerprint.valid)
    fitted = _fit(
        request, dataset, after, {(one.configuration, one.field) for one in assignments}, fingerprint, keeps=keeps
    )
    typed = {
        (one.configuration, str(one.keys[2]) if one.keys[:2] == ARGUMENTS and one.keys[2:] else one.field)
        for one in assignments
    }
    follow(DerivedState(before, after, identifier, typed, new, fitted, keeps, fingerprint, runtime.topology))
    names = touched(before, after, new)
    if not names:
        raise _unchanged(request, plans)
    return assignments, after, names


def _unchanged(request: DerivationRequest, plans: Plans) -> UsageError:
    what = "nothing is to be changed"
    if request.settings:
        what = f"nothing would change: {plans.identifier} has these values"
    elif request.fit_memory is not None:
        planner = plans.value.get("experiment_planner_used")
        what = f"nothing would change: for {request.fit_memory:g} GB, {planner} plans what {plans.identifier} has"
    usual = constants.USUAL_CONFIGURATION
    name = usual if usual in plans.written else plans.configurations[0].name
    size = next((one.get("batch_size") for one in plans.configurations if one.name == name), None)
    example = f"{name}.batch_size={2 if size == 4 else 4}"
    planned = "" if request.fit_memory is not None else ", or --fit-memory 24GB"
    return UsageError(what, hint=f"name a field with --set, such as --set {quoted(example)}{planned}")


def _apply(assignments: Sequence[Assignment], before: dict[str, Any], after: dict[str, Any]) -> None:
    """Write the values into the plans after; UsageError for wrong types and inheritance that cannot be resolved."""
    for one in sorted(assignments, key=lambda one: one.field != "inherits_from"):
        name = one.configuration
        inherited = {} if name is None else resolve_configuration(before["configurations"], name)
        applied(one, after if name is None else after["configurations"][name], inherited)
    assert_types(assignments, after)
    for name in after["configurations"]:
        try:
            resolve_configuration(after["configurations"], name)
        except InheritanceError as error:
            raise UsageError(f"{name} could not be resolved: {error.reason}", hint=error.hint) from error


# --- The planner of the plans


def _fit(
    request: DerivationRequest,
    dataset: Dataset,
    after: dict[str, Any],
    typed: set[tuple[str | None, str]],
    fingerprint: Fingerprint | None,
    *,
    keeps: bool,
) -> list[str]:
    """Let the planner of the plans make patch, batch and network for the memory; return the configurations."""
    configurations = after["configurations"]
    for name in request.fitted:
        if name not in configurations:
            raise UsageError(f"there is no configuration {name}", hint=f"there are {', '.join(configurations)}")
    if request.fit_memory is None:
        if request.fitted:
            raise UsageError("-c names configurations for --fit-memory", hint="add --fit-memory 24GB, or leave -c out")
        return []
    if keeps:
        raise UsageError(
            "--fit-memory makes another network, and the network is kept",
            hint="--network follow makes one into which the present weights do not load; or set patch_size yourself",
        )
    names = list(dict.fromkeys(request.fitted)) or [name for name, one in configurations.items() if "patch_size" in one]
    for owner, field in typed:
        if owner in names and field in ("patch_size", "architecture"):
            raise UsageError(
                f"{owner}.{field} is set, and --fit-memory makes it", hint="leave one of the two out, or restrict -c"
            )
    if fingerprint is None:
        raise UsageError(
            f"--fit-memory needs the fingerprint of {dataset_name(dataset) or 'the images'}",
            hint="nnU-Net's planner reads it",
        )
    planner = str(after.get("experiment_planner_used"))
    tasks = [_task(after, name, fingerprint, dataset) for name in names]
    documents = dataset.dataset_json.valid.value, fingerprint.value
    planned = runtime.plan_for_memory(planner, request.fit_memory, *documents, tasks)
    for name, result in zip(names, planned, strict=True):
        _take_over(after, name, result, typed, planner)
    return names


def _take_over(
    after: dict[str, Any], name: str, planned: dict[str, Any], typed: set[tuple[str | None, str]], planner: str
) -> None:
    """Write what was planned into a configuration, except what it has or inherits, or what was set."""
    present = resolve_configuration(after["configurations"], name)
    network = modern_architecture(present)
    classes = [str(one["network_class_name"]).rpartition(".")[2] for one in (network, planned["architecture"])]
    if classes[0] != classes[1]:
        raise UsageError(
            f"{name} has the network {classes[0]}, and {planner} plans {classes[1]}",
            hint="set patch_size and batch_size yourself",
        )
    entry = after["configurations"][name]
    for field in _PLANNED:
        if (name, field) not in typed and (network if field == "architecture" else present.get(field)) != planned[
            field
        ]:
            entry[field] = planned[field]
    if "architecture" in entry:
        for key in constants.OLD_CONFIGURATION_KEYS:
            entry.pop(key, None)


def _task(after: dict[str, Any], name: str, fingerprint: Fingerprint, dataset: Dataset) -> PlanningTask:
    """The images of a configuration at its spacing, as planners count them."""
    spacing: list[float] = resolve_configuration(after["configurations"], name).get("spacing") or []
    try:
        order = after["transpose_forward"]
        cases = dataset.dataset_json.valid.require("numTraining")
        slices = _spacing_of_volumes(after) or fingerprint.median_spacing(order)
        whole = [*slices[: len(slices) - len(spacing)], *spacing]
        medians = [median_of(sorted(sizes)) for sizes in fingerprint.sizes_at(whole, order)]
    except (Absent, TypeError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"{name} cannot be planned: {error}", hint="plansguard check shows what is wrong") from error
    return PlanningTask(spacing, medians[len(medians) - len(spacing) :], prod(medians) * cases)


def _spacing_of_volumes(after: dict[str, Any]) -> list[float] | None:
    """The spacing of 3d_fullres, whose first axis the planner counts the slices of a 2d configuration on."""
    if constants.USUAL_CONFIGURATION not in after["configurations"]:
        return None
    spacing = resolve_configuration(after["configurations"], constants.USUAL_CONFIGURATION).get("spacing")
    return spacing if isinstance(spacing, list) and len(spacing) == 3 else None
