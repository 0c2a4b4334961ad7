"""Preprocess on the workers of a Dask cluster, case by case, with nnU-Net's own code.

``on_cluster`` connects and compares before anything is deleted. Its result takes the place of nnU-Net's command in
``commands.preprocess.run``: the same folders are deleted and made, in the same order, and the same files are copied.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from plansguard.artefacts.data.listing import listing
from plansguard.commands.preprocess import FolderWork, Job, Target
from plansguard.core import disk
from plansguard.core.cluster import CallEnd, ClusterLost, call_each, call_on_all, connected
from plansguard.core.errors import UsageError
from plansguard.core.signals import STOP_REQUESTS, handle_signals
from plansguard.documents.file_names import CANONICAL_NAMES
from plansguard.nnunet import runtime
from plansguard.nnunet.case_preprocessing import (
    COMPARED,
    CaseTask,
    Inputs,
    WorkerView,
    preprocess_case,
    replaced_run,
    training_cases,
    view,
)
from plansguard.nnunet.workspace import GROUND_TRUTH

#: How long files that another machine wrote may be invisible here: network file systems cache the content of folders.
VISIBLE_SECONDS = 60
#: How long to wait until a worker is free and has loaded nnU-Net.
LOADING_SECONDS = 300
_WORKERS_DIED = "each worker that began it ended unexpectedly: often for lack of memory"
_SHARED = "folders and files need the same path on every worker, on a shared file system"


@dataclass(frozen=True)
class Cluster:
    """A cluster whose ``workers`` can preprocess a job; ``inputs`` are those of its configurations.

    ``files`` has images and label of each case, and ``truth`` the labels by the names of their copies.
    """

    client: Any
    address: str
    workers: int
    inputs: Mapping[str, Inputs]
    files: Mapping[str, tuple[Sequence[str], str]]
    truth: Mapping[str, str]

    def preprocess(self, job: Job, target: Target, progress: Callable[[int, int], None]) -> FolderWork:
        """Delete and fill one folder as nnU-Net's command does; a case that fails does not stop the others.

        ``progress`` is called with the number of cases that have ended and of all.
        """
        folder = target.folder.absolute()
        received: list[int] = []
        failures: dict[str, str] = {}
        cause = ""
        with handle_signals(STOP_REQUESTS, lambda number, _: received.append(number)):
            try:
                cases = self._emptied(target, folder)
                for done, end in enumerate(_ends(self.client, cases, lambda: bool(received)), 1):
                    progress(done, len(cases))
                    if end.error:
                        failures[end.name] = _WORKERS_DIED if end.killed else end.error
                if not failures and not received:
                    _wait_until_visible(folder, cases, lambda: bool(received))
                    _copy_labels(self.truth, job.dataset.folder / GROUND_TRUTH)
            except ClusterLost as lost:
                cause = f"the Dask cluster at {self.address} lost the work: {lost}"
            except OSError as error:
                cause = f"{type(error).__name__}: {error}"
            finally:
                _discard(_unfinished(folder))
        failed = bool(failures or cause or received)
        return FolderWork(int(failed), next(iter(received), None), failures, cause)

    def _emptied(self, target: Target, folder: Path) -> dict[str, CaseTask]:
        """Delete the data, and make an empty folder for these cases.

        What earlier runs left beside it is removed first, and with it the place of workers that still write for them.
        """
        place = _unfinished(folder)
        _discard(place)
        for left in disk.matching(folder.parent, f"{place.name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        if disk.is_folder(folder):
            shutil.rmtree(folder)
        folder.mkdir()
        unfinished = place / uuid4().hex
        unfinished.mkdir(parents=True)
        inputs = self.inputs[target.configuration]
        return {
            name: CaseTask(inputs, name, images, label, str(folder), str(unfinished))
            for name, (images, label) in self.files.items()
        }


def _ends(client: Any, cases: Mapping[str, CaseTask], stopped: Callable[[], bool]) -> Iterator[CallEnd]:
    """How each case ended. Those whose workers died are repeated one by one: Dask blames all that were submitted."""
    killed = []
    for end in call_each(client, preprocess_case, cases.items(), stopped):
        if end.killed:
            killed.append(end.name)
        else:
            yield end
    yield from call_each(client, preprocess_case, ((name, cases[name]) for name in killed), stopped, one_by_one=True)


@contextmanager
def on_cluster(address: str, job: Job) -> Iterator[Cluster]:
    """Connect to a cluster, and compare its workers with this machine.

    UsageError when there is no cluster or no worker, when a worker lacks a package or a file or has another version,
    and when the preprocessor of the plans does not preprocess case by case.
    """
    if not runtime.installed():
        raise UsageError(
            "--dask needs nnU-Net here as well, to find the cases",
            hint="pip install 'plansguard[train]', or run this in the environment that nnU-Net is installed in",
        )
    plans, dataset_json = (
        Path(path).absolute()
        for path in (job.plans.document.path, job.dataset.folder / CANONICAL_NAMES["dataset.json"])
    )
    paths = [str(path) for path in (plans, dataset_json, job.dataset.raw_folder.absolute(), plans.parent)]
    here = view(paths)
    # Before there are threads: nnU-Net forks to list files.
    files = training_cases(job.dataset.raw_folder, _json(dataset_json))
    truth = _labels(job.dataset.raw_folder)
    with connected(address) as client:
        views = _views(client, paths, address)
        for worker, seen in sorted(views.items()):
            _assert_alike(worker, seen, here, paths)
        digests = tuple(str(digest) for digest in here.digests[:2])
        inputs = {
            target.configuration: Inputs(str(plans), str(dataset_json), digests, here.versions, target.configuration)
            for target in job.targets
        }
        for one in inputs.values():
            _assert_case_by_case(client, one, address)
        yield Cluster(client, address, len(views), inputs, files, truth)


def _views(client: Any, paths: Sequence[str], address: str) -> dict[str, WorkerView | BaseException]:
    """What each worker has and sees."""
    try:
        return call_on_all(client, view, paths)
    except ClusterLost as lost:
        raise _lost(address, str(lost)) from lost


def _lost(address: str, why: str) -> UsageError:
    hint = "look into the logs of its scheduler and workers, and start those again that do not answer"
    return UsageError(f"the Dask cluster at {address!r} is lost: {why}: nothing was deleted", hint=hint)


def _assert_alike(worker: str, seen: WorkerView | BaseException, here: WorkerView, paths: Sequence[str]) -> None:
    """Raise UsageError unless a worker has the same versions, and sees the same files."""
    if isinstance(seen, BaseException):
        raise UsageError(
            f"the Dask worker {worker} cannot run plansguard ({type(seen).__name__}: {seen})",
            hint=f"install plansguard {here.versions[0]} and nnU-Net in the environment of the workers: "
            "pip install 'plansguard[train,dask]'",
        )
    for package, there, ours in zip(COMPARED, seen.versions, here.versions, strict=True):
        if there != ours:
            has = f"has {package} {there}, and {ours} is installed here" if there else f"does not have {package}"
            raise UsageError(
                f"the Dask worker {worker} {has}: nothing was deleted",
                hint=f"install {package}=={ours} in the environment of the workers, and restart them",
            )
    for path, there, ours in zip(paths, seen.digests, here.digests, strict=True):
        if there != ours:
            what = "does not see" if there is None else "sees another file at"
            raise UsageError(f"the Dask worker {worker} {what} {path}: nothing was deleted", hint=_SHARED)


def _assert_case_by_case(client: Any, inputs: Inputs, address: str) -> None:
    """Let a worker load nnU-Net and the preprocessor; UsageError where that fails."""
    future = client.submit(replaced_run, inputs, pure=False)
    try:
        name = future.result(timeout=LOADING_SECONDS)
    except Exception as error:
        if future.status != "error":  # pending or cancelled: it was not the function that failed
            why = f"no worker is free within {LOADING_SECONDS} s" if future.status == "pending" else str(error)
            raise _lost(address, why) from error
        raise UsageError(
            f"the Dask workers cannot load nnU-Net's preprocessing ({type(error).__name__}: {error}): "
            "nothing was deleted",
            hint="a worker must be able to import nnunetv2.preprocessing.preprocessors.default_preprocessor",
        ) from error
    if name:
        raise UsageError(
            f"{name} has a run() of its own, which --dask would not call: nothing was deleted",
            hint="leave --dask out for this preprocessor",
        )


def _unfinished(folder: Path) -> Path:
    """The folder beside the data in which cases are written before they are whole; each run has a folder in it."""
    return folder.with_name(f".{folder.name}.unfinished")


def _discard(place: Path) -> None:
    """Remove a folder in which workers may still write: it is renamed first, and they no longer find it."""
    if disk.is_folder(place):
        shutil.rmtree(place.rename(place.with_name(f"{place.name}-{uuid4().hex[:8]}")), ignore_errors=True)


def _wait_until_visible(folder: Path, cases: Iterable[str], stopped: Callable[[], bool]) -> None:
    """Wait until this machine sees every case; for those that it does not see in time, the caller has its own words."""
    names, until = frozenset(cases), time.monotonic() + VISIBLE_SECONDS
    while not (names <= listing(folder).cases or stopped() or time.monotonic() > until):
        time.sleep(1)


def _labels(raw: Path) -> dict[str, str]:
    """The label of each case, by the name of its copy for the validation."""
    dataset_json = _json(raw / CANONICAL_NAMES["dataset.json"])
    cases = training_cases(raw, dataset_json)
    return {f"{name}{dataset_json['file_ending']}": label for name, (_, label) in cases.items()}


def _copy_labels(labels: Mapping[str, str], folder: Path) -> None:
    """Copy the labels that are newer than their copies, as nnU-Net does at the end."""
    folder.mkdir(exist_ok=True)
    for name, label in labels.items():
        there, ours = disk.modified(folder / name), disk.modified(label)
        if there is None or ours is None or ours > there:
            shutil.copy2(label, folder / name)


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(disk.content(path))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read, and nnU-Net needs it: {error}", hint="put the right one there"
        ) from error
    return value
