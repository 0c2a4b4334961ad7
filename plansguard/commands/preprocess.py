"""Run nnU-Net's preprocessing, after listing what it deletes, and leave a preprocessing record.

``prepare`` only reads; ``run`` lets nnU-Net fill one of the prepared folders and records the result.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plansguard.artefacts.data.listing import Listing, listing
from plansguard.core import disk
from plansguard.core.atomic_files import locked, occupied, write_atomically
from plansguard.core.child_process import execute
from plansguard.core.errors import Absent, UnreadableDocument, UsageError, WriteRefused, known
from plansguard.core.report import Report, Severity, distinct
from plansguard.core.text import quoted
from plansguard.documents import json_document
from plansguard.documents.file_names import PREPROCESSING_RECORD_ENDING
from plansguard.documents.recognise import recognise
from plansguard.nnunet import runtime
from plansguard.nnunet.command_line import OTHER_PROCESSES, PROCESSES_OF
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER, PREPROCESS
from plansguard.nnunet.install import packages
from plansguard.nnunet.workspace import Workspace, dataset_id, is_folder_name
from plansguard.records.preprocessing import PreprocessingRecord, finished_record, unfinished_record
from plansguard.records.preprocessing_inputs import dataset_fields
from plansguard.rules import RULES
from plansguard.rules.engine.acceptance import Accepted, accept, assert_acceptable
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.data_users import DataUser
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_of, plans_of, some_configuration
from plansguard.subjects.documents import PreprocessingRecordFile
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Reading, Request

#: Rules about folders that several configurations share. The others of PG5 are about the content of these folders,
#: which is about to be replaced, and those of PG6 are about weights.
_SHARED = {"data-identifier-conflict", "child-shares-parent-data"}
_NOT_ASKED = ("PG5", "PG6")
#: A shell reports a process that a signal ended as 128 and the signal's number.
_SIGNALLED = 128
#: Length of the channel number in the names of images: ``_0000``.
_CHANNEL = 5


@dataclass(frozen=True)
class Target:
    """One data folder that nnU-Net will delete and fill, for ``user``; ``others`` read it as well.

    ``present`` are its files now, None if there is no folder.
    """

    user: DataUser
    folder: Path
    present: Listing | None
    others: tuple[DataUser, ...]
    command: tuple[str, ...]

    @property
    def configuration(self) -> str:
        """The name of the configuration."""
        return self.user.configuration.name

    def differences(self, other: DataUser) -> list[str]:
        """Names of the fields in which ``other`` would write the folder differently."""
        return [difference.field for difference in other.differs_from(self.user)]

    @property
    def record_path(self) -> Path:
        """The path of the preprocessing record, beside the plans."""
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
class FolderWork:
    """How the work on one folder ended: nnU-Net's exit code, and the signal that plansguard received, if any.

    ``failures`` are the cases that failed on a cluster, each with its error, and ``cause`` is what ended all its work.
    """

    returncode: int
    signal: int | None
    failures: Mapping[str, str] = field(default_factory=dict)
    cause: str = ""


#: Deletes and fills one folder, while a lock is held.
Fill = Callable[[Job, Target, Sequence[int]], FolderWork]


@dataclass(frozen=True)
class Outcome:
    """How nnU-Net's work on one folder ended.

    ``missing`` are cases that nnU-Net did not write. ``files`` are those of the folder now, None if there is no folder;
    ``untouched`` whether these are the old data.
    """

    target: Target
    work: FolderWork
    files: Listing | None
    missing: tuple[str, ...]
    untouched: bool

    @property
    def done(self) -> bool:
        """Whether nnU-Net reports success and every case is present; only then the record is completed."""
        return self.work.returncode == 0 and not self.missing

    @property
    def exit_code(self) -> int:
        """0 done; 4 nnU-Net failed; 130 and the like after a signal."""
        if self.work.signal is not None:
            return _SIGNALLED + self.work.signal
        return 0 if self.done else 4


def prepare(
    workspace: Workspace,
    id_or_name: str,
    names: Sequence[str],
    settings: ActiveSettings,
    *,
    identifier: str | None = None,
    processes: Mapping[str, int] | None = None,
    elsewhere: bool = False,
    accept_shared: bool = False,
    accepted: Sequence[Accepted] = (),
    program: str | None = None,
    dataset: Dataset | None = None,
) -> Job:
    """Find out what preprocessing these configurations of a dataset would do; nothing is written.

    ``identifier`` names the plans, ``processes`` is nnU-Net's -np for each configuration that has one. ``elsewhere`` is
    whether other machines do it. ``accept_shared`` lets data be replaced that other plans read and would write
    differently, ``accepted`` are findings that do not refuse it. ``program`` is nnU-Net's command (default: the
    installed one). ``dataset`` is the dataset as it will be then, with plans that are not written yet.

    Raises UsageError for whatever nnU-Net could not carry out, or would skip with a line in its output.
    """
    assert_acceptable(accepted, [rule.info for rule in RULES])
    dataset = dataset or dataset_of(workspace, id_or_name)
    default = dataset.plans[0].identifier if len(dataset.plans) == 1 else DEFAULT_IDENTIFIER
    plans = plans_of(dataset, identifier or default)
    configurations = _configurations(plans, names)
    cases = _cases(dataset)
    program = program or runtime.command(PREPROCESS)
    if program is None:
        raise UsageError(
            f"nnU-Net is not installed here: there is no command {PREPROCESS}",
            hint="pip install 'plansguard[train]', or run this in the environment that nnU-Net is installed in",
        )
    processes = processes or {}
    numbers = {} if elsewhere else {one.name: _processes(one.name, processes) for one in configurations}
    report = accept(_report(dataset, plans, configurations, numbers, accept_shared, settings), accepted)
    users = dataset.data_users
    targets = [_target(one, users, program, processes.get(one.name)) for one in _one_per_folder(configurations)]
    return Job(dataset, plans, cases, tuple(targets), report)


def by_command(_: Job, target: Target, lock: Sequence[int]) -> FolderWork:
    """Fill a folder by nnU-Net's command, its output passed through."""
    return FolderWork(*execute(target.command, lock))


def run(job: Job, target: Target, fill: Fill = by_command) -> Outcome:
    """Let nnU-Net preprocess one configuration, and complete the record on success.

    The record is marked unfinished from before nnU-Net starts until every case is present. Raises WriteRefused when
    nnU-Net is at work on the same folder already, even for a plansguard that was killed; when a record cannot be
    written; and when plans or dataset.json were changed meanwhile, so that it is unknown which of them nnU-Net read.
    """
    folder = target.folder
    with occupied(folder, f"nnU-Net is still at work on {folder}, started by another plansguard") as lock:
        unfinished = _unfinished_record(job, target)
        _write(target.record_path, unfinished)
        before = _generation(folder)
        work = fill(job, target, lock)
        files = _listing(folder)
        missing = tuple(sorted(job.cases - (files.cases if files else frozenset())))
        untouched = before is not None and before == _generation(folder)
        outcome = Outcome(target, work, files, missing, untouched)
        if outcome.done and files is not None:
            _assert_unchanged(job, target)
            _write(target.record_path, finished_record(unfinished, now=_now(), files=files))
    return outcome


# --- Before


def _configurations(plans: Plans, names: Sequence[str]) -> list[Configuration]:
    """Those asked for, each once; nnU-Net itself skips a name that it does not find, and reports success."""
    if not names:
        raise UsageError("no configuration is named", hint=some_configuration(plans))
    return [configuration_of(plans, name) for name in dict.fromkeys(names)]


def _cases(dataset: Dataset) -> frozenset[str]:
    """The training cases as nnU-Net finds them: listed in dataset.json, else by the names of the images.

    Source: utilities/utils.py, get_filenames_of_train_images_and_targets.
    """
    try:
        dataset_json = dataset.dataset_json
        listed = dataset_json.value.get("dataset")
        if isinstance(listed, dict) and disk.is_folder(dataset.raw_folder):
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


def _processes(configuration: str, given: Mapping[str, int]) -> int:
    """The number of processes that nnU-Net starts."""
    return given.get(configuration) or PROCESSES_OF.get(configuration, OTHER_PROCESSES)


def _report(
    dataset: Dataset,
    plans: Plans,
    configurations: list[Configuration],
    processes: Mapping[str, int],
    accept_shared: bool,
    settings: ActiveSettings,
) -> Report:
    """The report of the rules about the plans; the data that will be replaced, and their records, are left out."""
    without_records = replace(
        dataset,
        documents=tuple(each for each in dataset.documents if not each.path.endswith(PREPROCESSING_RECORD_ENDING)),
        unreadable=tuple(each for each in dataset.unreadable if not each.path.endswith(PREPROCESSING_RECORD_ENDING)),
    )
    reading = Reading(depth="none")
    names = [configuration.name for configuration in configurations]
    requests = [
        Request(plans.identifier, name, reading=reading, starts=True, processes=processes.get(name)) for name in names
    ]
    rules = [rule for rule in RULES if rule.info.name in _SHARED or not rule.info.code.startswith(_NOT_ASKED)]
    subjects = [replace(without_records, request=request) for request in requests]
    report = run_rules("preprocess", [str(dataset.folder)], subjects, settings=settings, rules=rules)
    findings = distinct(
        replace(finding, severity=Severity.WARNING) if finding.name in _SHARED and accept_shared else finding
        for finding in report.findings
    )
    return replace(report, findings=tuple(findings))


def _one_per_folder(configurations: list[Configuration]) -> list[Configuration]:
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
    """The data_identifier, which must be the name of a folder: nnU-Net deletes what it names."""
    try:
        identifier = str(configuration.usable.require("data_identifier"))
    except Absent as absent:
        raise UsageError(
            f"{configuration.name} cannot be preprocessed: {absent.reason}",
            hint="correct what plansguard check reports, and type this again",
        ) from absent
    if not is_folder_name(identifier):
        raise UsageError(
            f"{configuration.name} has the data_identifier {identifier!r}: nnU-Net would delete what it names",
            hint="give it the name of a folder of its own, such as "
            f"{configuration.plans.identifier}_{configuration.name}",
        )
    return identifier


def _target(
    configuration: Configuration, users: dict[str, list[DataUser]], program: str, processes: int | None
) -> Target:
    identifier = _identifier(configuration)
    plans = configuration.plans
    folder = plans.path.parent / identifier
    others = tuple(
        user
        for user in users.get(identifier, ())
        if (user.plans.identifier, user.configuration.name) != (plans.identifier, configuration.name)
    )
    assert_no_link(folder)
    name = folder.absolute().parent.name
    command = [program, "-d", dataset_id(name) or name, "-plans_name", plans.identifier]
    command += ["-c", configuration.name, *([] if processes is None else ["-np", str(processes)])]
    return Target(DataUser(plans, configuration, True), folder, _listing(folder), others, tuple(command))


def assert_no_link(folder: Path) -> None:
    """Raise UsageError if a data folder is a link: nnU-Net deletes the folder, and Python deletes no links."""
    if disk.is_link(folder):
        raise UsageError(
            f"{folder} is a symbolic link, and nnU-Net stops when it deletes it: Cannot call rmtree on a symbolic link",
            hint=f"rm {quoted(folder)}; nnU-Net then makes a folder there. To keep data on another disk, link the "
            "folder of the whole dataset",
        )


def _listing(folder: Path) -> Listing | None:
    """The files of a data folder, None if there is no such folder."""
    try:
        return listing(folder)
    except FileNotFoundError:
        return None


def _generation(folder: Path) -> tuple[int, ...] | None:
    """A value that changes as soon as a file is deleted from a folder or added to it; None if there is no folder.

    Names and sizes do not suffice: nnU-Net may have deleted all files and written others of the same size.
    """
    status = disk.status(folder)
    return None if status is None else (status.st_dev, status.st_ino, status.st_mtime_ns)


# --- The preprocessing record


def _unfinished_record(job: Job, target: Target) -> dict[str, Any]:
    version = packages.nnunet_version()
    return unfinished_record(
        nnunet_version=None if version is None else packages.dotted(version),
        now=_now(),
        plans=job.plans.identifier,
        configuration=target.configuration,
        data_identifier=target.folder.name,
        fields=target.user.configuration.input,
        dataset=dataset_fields(job.dataset.dataset_json.value),
        cases=len(job.cases),
        present=_listing(target.folder),
        before=_present_record(target.record_path),
    )


def _present_record(path: Path) -> PreprocessingRecord | None:
    try:
        return known(lambda: PreprocessingRecordFile(json_document.read(path)).record)
    except UnreadableDocument:
        return None


def _is_record(path: Path) -> bool:
    """Whether a file is a preprocessing record, also a faulty one, or is empty."""
    with suppress(UnreadableDocument):
        return recognise(json_document.read(path).value) == "stamp"
    return disk.size(path) == 0


def _write(path: Path, record: dict[str, Any]) -> None:
    with locked(path.parent):
        write_atomically(path, json_document.dumps(record), _is_record)


def _assert_unchanged(job: Job, target: Target) -> None:
    """Raise WriteRefused unless plans and dataset.json are unchanged: nnU-Net reads them after us, and twice."""
    for document in (job.plans.document, job.dataset.dataset_json.document):
        if json_document.read_bytes(Path(document.path)) != document.raw:
            raise WriteRefused(
                f"{document.path} was changed while nnU-Net preprocessed: which version it read is unknown",
                hint=f"preprocess {target.configuration} again",
            )


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
