"""nnU-Net's own preprocessing, run with open eyes: what it will delete, who else reads that, and a stamp at its end.

``prepare`` finds out and writes nothing; ``run`` starts nnU-Net for one of the prepared folders and stamps the result.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plansguard.artefacts.data.listing import Listing, listing
from plansguard.core.atomic_files import locked, occupied, write_atomically
from plansguard.core.child_process import execute
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, WriteRefused, known
from plansguard.core.report import Finding, Report, Severity
from plansguard.documents import json_document
from plansguard.documents.file_names import PREPROCESSING_RECORD_ENDING
from plansguard.nnunet import runtime
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER
from plansguard.nnunet.install import packages
from plansguard.nnunet.workspace import Workspace, dataset_id, is_folder, is_folder_name
from plansguard.records.preprocessing import PreprocessingRecord, finished_record, unfinished_record
from plansguard.records.preprocessing_inputs import FieldDifference, dataset_fields
from plansguard.rules import RULES
from plansguard.rules.engine.declare import Rule
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.data_users import DataUser, data_users
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_of, narrowed, plans_of
from plansguard.subjects.documents import PreprocessingRecordFile
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Reading, Request

COMMAND = "nnUNetv2_preprocess"
#: Rules about folders that several configurations share. All others of their hundred are about what lies in these
#: folders, which is about to be replaced, and the next hundred is about weights.
_SHARED = {"data-identifier-conflict", "child-shares-parent-data"}
_BESIDE_THE_POINT = ("PG5", "PG6")
#: What a shell makes of a process that a signal ended: 128 and the signal's number.
_SIGNALLED = 128
#: Channel number in the names of images: ``_0000``.
_CHANNEL = 5


@dataclass(frozen=True)
class PreprocessingRequest:
    """What the user asked for.

    ``processes`` is nnU-Net's -np; ``accept_shared`` lets data be replaced that other plans read and would fill
    otherwise.
    """

    dataset: str
    configurations: tuple[str, ...]
    plans: str | None = None
    processes: int | None = None
    accept_shared: bool = False


@dataclass(frozen=True)
class OtherUser:
    """A configuration that reads the same folder, and the fields in which it would write otherwise."""

    plans: str
    configuration: str
    differences: tuple[FieldDifference, ...]


@dataclass(frozen=True)
class Target:
    """One data folder that nnU-Net will delete and fill; ``present`` is what lies there now, if it is there."""

    configuration: Configuration
    folder: Path
    present: Listing | None
    others: tuple[OtherUser, ...]
    command: tuple[str, ...]

    @property
    def stamp_path(self) -> Path:
        """Where the stamp lies: beside the plans."""
        return self.folder.with_name(self.folder.name + PREPROCESSING_RECORD_ENDING)


@dataclass(frozen=True)
class Job:
    """All that is known before anything is written. ``cases`` are those that nnU-Net will find in the raw data."""

    dataset: Dataset
    plans: Plans
    cases: frozenset[str]
    targets: tuple[Target, ...]
    report: Report


@dataclass(frozen=True)
class Outcome:
    """How nnU-Net's run for one folder ended.

    ``returncode`` is nnU-Net's, ``signal`` the one that we were sent, if any; ``missing`` are cases that it did not
    write. ``files`` is what lies there now, None if there is no folder; ``untouched`` whether these are the old data.
    """

    target: Target
    returncode: int
    signal: int | None
    files: Listing | None
    missing: tuple[str, ...]
    untouched: bool

    @property
    def done(self) -> bool:
        """Whether every case is there and nnU-Net is content; only then a stamp is left."""
        return self.returncode == 0 and not self.missing

    @property
    def exit_code(self) -> int:
        """0 done; 4 nnU-Net failed; 130 and the like if we were told to stop."""
        if self.signal is not None:
            return _SIGNALLED + self.signal
        return 0 if self.done else 4


def prepare(
    workspace: Workspace, order: PreprocessingRequest, settings: ActiveSettings, *, program: str | None = None
) -> Job:
    """Find out what would happen; nothing is written. ``program`` is nnU-Net's command, where it is known already.

    Raises UsageError for whatever nnU-Net could not carry out, or would pass over with a line in its output.
    """
    dataset = dataset_of(workspace, order.dataset)
    only = dataset.plans[0].identifier if len(dataset.plans) == 1 else DEFAULT_IDENTIFIER
    plans = plans_of(dataset, order.plans or only)
    configurations = _configurations(plans, order.configurations)
    cases = _cases(dataset)
    program = program or runtime.command(COMMAND)
    if program is None:
        raise UsageError(
            f"nnU-Net is not installed here: there is no command {COMMAND}",
            hint="pip install 'plansguard[train]', or run this in the environment that nnU-Net is installed in",
        )
    report = _report(dataset, plans, configurations, order.accept_shared, settings)
    users = data_users(dataset, dataset.plans)
    targets = tuple(_target(one, users, program, order) for one in _folders(configurations))
    return Job(dataset, plans, cases, targets, report)


def run(job: Job, target: Target) -> Outcome:
    """Let nnU-Net preprocess one configuration, its output passed through, and leave a stamp if all went well.

    The stamp says unfinished from before nnU-Net starts until every case is there. Raises WriteRefused when nnU-Net is
    at work on the same folder already, be it for a plansguard that was killed; when a stamp cannot be written; and when
    plans or dataset.json were changed meanwhile, so that nobody knows which of them nnU-Net has read.
    """
    folder = target.folder
    with occupied(folder, f"nnU-Net is still at work on {folder}, started by another plansguard") as lock:
        unfinished = _unfinished(job, target)
        _write(target.stamp_path, unfinished)
        before = _generation(folder)
        returncode, received = execute(target.command, lock)
        files = _listing(folder)
        missing = tuple(sorted(job.cases - (files.cases if files else frozenset())))
        untouched = before is not None and before == _generation(folder)
        outcome = Outcome(target, returncode, received, files, missing, untouched)
        if outcome.done and files is not None:
            _assert_unchanged(job, target)
            _write(target.stamp_path, finished_record(unfinished, now=_now(), files=files))
    return outcome


# ---------------------------------------------------------------------------------------------------------------------
# Before
# ---------------------------------------------------------------------------------------------------------------------


def _configurations(plans: Plans, names: Sequence[str]) -> list[Configuration]:
    """Those asked for, each once; nnU-Net passes over a name that it does not find, and says that all is well."""
    if not names:
        present = ", ".join(one.name for one in plans.configurations) or "none"
        raise UsageError(
            "no configuration is named", hint=f"add -c, such as -c 3d_fullres: {plans.identifier} has {present}"
        )
    return [configuration_of(plans, name) for name in dict.fromkeys(names)]


def _cases(dataset: Dataset) -> frozenset[str]:
    """The training cases as nnU-Net finds them: listed in dataset.json, else by the names of the images.

    Source: utilities/utils.py, get_filenames_of_train_images_and_targets.
    """
    try:
        dataset_json = dataset.dataset_json
        listed = dataset_json.value.get("dataset")
        if isinstance(listed, dict) and is_folder(dataset.raw_folder):
            return frozenset(listed)
        ending = str(dataset_json.require("file_ending"))
        images = [name for name in dataset.raw_images.images if name.endswith(ending)]
    except Absent as absent:
        raise UsageError(
            f"{dataset.name} cannot be preprocessed: {absent.reason}",
            hint="nnU-Net needs nnUNet_raw with the images, and dataset.json beside the plans",
        ) from absent
    if not images:
        raise UsageError(
            f"{dataset.raw_folder / 'imagesTr'} holds no image that ends in {ending}",
            hint="check file_ending in dataset.json",
        )
    return frozenset(name[: -len(ending) - _CHANNEL] for name in images)


def _report(
    dataset: Dataset, plans: Plans, configurations: list[Configuration], accept_shared: bool, settings: ActiveSettings
) -> Report:
    """What the rules say of the plans; of the data that will be replaced, and their stamps, they are not asked."""
    unstamped = replace(
        dataset,
        documents=tuple(one for one in dataset.documents if not one.path.endswith(PREPROCESSING_RECORD_ENDING)),
        unreadable=tuple(one for one in dataset.unreadable if not one.path.endswith(PREPROCESSING_RECORD_ENDING)),
    )
    requests = [Request(plans.identifier, one.name, reading=Reading(depth="none")) for one in configurations]
    rules = [rule for rule in RULES if _matters(rule)]
    asked = [narrowed(unstamped, request) for request in requests]
    report = run_rules("preprocess", [str(dataset.folder)], asked, settings=settings, rules=rules)
    findings: list[Finding] = []
    for finding in report.findings:
        if finding.name in _SHARED and accept_shared:
            finding = replace(finding, severity=Severity.WARNING)
        if finding not in findings:  # several configurations may tell the same
            findings.append(finding)
    return replace(report, findings=tuple(findings))


def _matters(rule: Rule) -> bool:
    return rule.info.name in _SHARED or not rule.info.code.startswith(_BESIDE_THE_POINT)


def _folders(configurations: list[Configuration]) -> list[Configuration]:
    """One configuration per data folder: a cascade stage reads the data of the one that it inherits from."""
    first: dict[str, Configuration] = {}
    for configuration in configurations:
        identifier = _identifier(configuration)
        other = first.setdefault(identifier, configuration)
        if DataUser(configuration.plans, configuration, True).differs_from(DataUser(other.plans, other, True)):
            raise UsageError(
                f"{other.name} and {configuration.name} cannot both be preprocessed into {identifier}: they differ",
                hint="preprocess one of them, or give one a data_identifier of its own",
            )
    return list(first.values())


def _identifier(configuration: Configuration) -> str:
    """The data_identifier, which must be the name of a folder: what it names is deleted."""
    try:
        identifier = str(configuration.usable.require("data_identifier"))
    except Absent as absent:
        raise UsageError(f"{configuration.name} cannot be preprocessed: {absent.reason}") from absent
    if not is_folder_name(identifier):
        raise UsageError(
            f"{configuration.name} has the data_identifier {identifier!r}: nnU-Net would delete what it names",
            hint="give it the name of a folder of its own, such as "
            f"{configuration.plans.identifier}_{configuration.name}",
        )
    return identifier


def _target(
    configuration: Configuration, users: dict[str, list[DataUser]], program: str, order: PreprocessingRequest
) -> Target:
    identifier = _identifier(configuration)
    plans = configuration.plans
    this = DataUser(plans, configuration, True)
    folder = plans.path.parent / identifier
    others = tuple(
        OtherUser(user.plans.identifier, user.configuration.name, tuple(user.differs_from(this)))
        for user in users.get(identifier, ())
        if (user.plans.identifier, user.configuration.name) != (plans.identifier, configuration.name)
    )
    name = folder.absolute().parent.name
    command = [program, "-d", dataset_id(name) or name, "-plans_name", plans.identifier]
    command += ["-c", configuration.name, *([] if order.processes is None else ["-np", str(order.processes)])]
    return Target(configuration, folder, _listing(folder), others, tuple(command))


def _listing(folder: Path) -> Listing | None:
    """What lies in a data folder, None if there is no such folder."""
    try:
        return listing(folder)
    except FileNotFoundError:
        return None


def _generation(folder: Path) -> tuple[int, ...] | None:
    """What changes as soon as a file is deleted from a folder or put into it; None if there is no folder.

    Names and sizes would not do: nnU-Net may have deleted all files and written others of the same size.
    """
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


# ---------------------------------------------------------------------------------------------------------------------
# The stamp
# ---------------------------------------------------------------------------------------------------------------------


def _unfinished(job: Job, target: Target) -> dict[str, Any]:
    configuration, version = target.configuration, packages.nnunet_version()
    return unfinished_record(
        nnunet_version=None if version is None else packages.dotted(version),
        now=_now(),
        plans=job.plans.identifier,
        configuration=configuration.name,
        data_identifier=target.folder.name,
        fields=DataUser(job.plans, configuration, True).input,
        dataset=dataset_fields(job.dataset.dataset_json.value),
        cases=len(job.cases),
        present=_listing(target.folder),
        before=_present_record(target.stamp_path),
    )


def _present_record(path: Path) -> PreprocessingRecord | None:
    try:
        return known(lambda: PreprocessingRecordFile(json_document.read(path)).record)
    except UnreadableDocument:
        return None


def _write(path: Path, value: dict[str, Any]) -> None:
    with locked(path.parent):
        write_atomically(path, json_document.dumps(value))


def _assert_unchanged(job: Job, target: Target) -> None:
    """That plans and dataset.json are those that were read before: nnU-Net reads them after us, and twice."""
    for document in (job.plans.document, job.dataset.dataset_json.document):
        if json_document.read_bytes(Path(document.path)) != document.raw:
            raise WriteRefused(
                f"{document.path} was changed while nnU-Net preprocessed: nobody knows with which of the two",
                hint=f"preprocess {target.configuration.name} again",
            )


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
