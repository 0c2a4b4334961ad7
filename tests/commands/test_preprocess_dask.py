"""``plansguard preprocess --dask`` with the real nnU-Net on two worker processes, one of which is killed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import plansguard
from plansguard.commands.cluster_preprocessing import _assert_alike, _assert_case_by_case, _copy_labels
from plansguard.core import cluster
from plansguard.core.cluster import connected
from plansguard.core.errors import UsageError
from plansguard.nnunet import case_preprocessing, runtime
from plansguard.nnunet.case_preprocessing import Inputs, WorkerView
from tests.conftest import ROOT
from tests.support.command import run
from tests.support.dask_workers import dask_cluster
from tests.support.preprocessing import contents, posix_only, preprocess, process, record_of, wait_for
from tests.support.preprocessing_records import CT, FOLDER
from tests.support.variants import place

WORDS = ("-p", "nnUNetPlans", "-c", "3d_fullres")
#: With one thread, Blosc2 writes blocks in their order, and two files of the same array are the same.
ONE_THREAD = {"BLOSC_NTHREADS": "1"}
CASES = 5
#: A worker with nnU-Net takes half of this memory; an image of so many voxels in each direction, 250 MB as float32.
MEMORY, LARGE = "1GiB", 400
OTHER = "Dataset001_PretrainCT"

real = pytest.mark.nnunet
pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, folder="workspace")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), ONE_THREAD) as address:
        yield address


@pytest.fixture
def blocking(workspace: Path) -> Iterator[Path]:
    """A pipe in place of a label: the worker that opens it waits. Its content is beside it."""
    label = place(workspace, CT, "raw/labelsTr/fine_001.nii.gz")
    label.rename(label.with_suffix(".kept"))
    os.mkfifo(label)
    ignored = {"ignore": [{"rule": "PG205", "reason": "a pipe is no file"}]}
    (workspace / "plansguard.json").write_text(json.dumps(ignored), encoding="utf-8")
    yield label
    with suppress(OSError):  # no worker waits
        os.close(os.open(label, os.O_WRONLY | os.O_NONBLOCK))


def files_of(workspace: Path) -> dict[str, bytes]:
    """The data and the labels that nnU-Net copies."""
    folders = (place(workspace, CT, f"preprocessed/{name}") for name in (FOLDER, "gt_segmentations"))
    return {str(path.relative_to(workspace)): path.read_bytes() for folder in folders for path in folder.iterdir()}


def unfinished(workspace: Path) -> list[Path]:
    """The folders in which cases are written now."""
    return [*place(workspace, CT, "preprocessed").glob(f".{FOLDER}.unfinished*/*/*")]


def is_blocked(workspace: Path) -> bool:
    """Whether all cases are there but the one that waits."""
    done = [*place(workspace, CT, f"preprocessed/{FOLDER}").glob("*.pkl")]
    return len(done) == CASES - 1 and len(unfinished(workspace)) == 1


# --- The same as nnU-Net


@real
def test_the_bytes_are_those_of_nnunets_own_command(workspace: Path, address: str) -> None:
    done = preprocess(*WORDS, "--dask", address)
    assert (done.code, done.err) == (0, "")
    assert f"running nnU-Net's preprocessing for 3d_fullres on 2 workers of the Dask cluster {address}" in done.out
    record, ours = record_of(workspace), files_of(workspace)
    assert (record["nnunetv2"], record["files"]["cases"]) == ("2.8.1", CASES)
    shutil.rmtree(place(workspace, CT, "preprocessed/gt_segmentations"))
    command = [str(runtime.command("nnUNetv2_preprocess")), "-d", "2", "-c", "3d_fullres", "-np", "2"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **ONE_THREAD})
    assert files_of(workspace) == ours
    assert len(ours) == 4 * CASES
    again = preprocess(*WORDS, "--dask", address, "--resume", "auto")
    assert (again.code, "the data are complete: nothing to do" in again.out) == (0, True)


@real
@posix_only
def test_a_worker_that_is_killed_in_a_case(workspace: Path, address: str, blocking: Path) -> None:
    with process(*WORDS, "--dask", address) as running:
        wait_for(lambda: is_blocked(workspace))
        with connected(address) as client:
            (busy,) = [worker for worker, keys in client.processing().items() if keys]
            pid = client.run(os.getpid)[busy]
        blocking.with_suffix(".kept").replace(blocking)
        os.kill(pid, signal.SIGKILL)
        assert running.wait(120) == 0
    assert record_of(workspace)["files"]["cases"] == CASES
    assert unfinished(workspace) == []


@real
def test_a_case_that_fails_is_named_and_the_others_are_there(workspace: Path, address: str) -> None:
    image = place(workspace, CT, "raw/imagesTr/fine_002_0000.nii.gz")
    image.write_bytes(image.read_bytes()[:100])
    done = preprocess(*WORDS, "--dask", address, "--output", f"json={workspace / 'ended.json'}")
    assert done.code == 4
    assert "plansguard: 1 case failed\n  fine_002: RuntimeError: " in done.err
    assert f"holds 4 of 5 cases; {FOLDER}.stamp.json is marked unfinished" in done.err
    assert "fix the errors above, then run the same command again" in done.err
    assert record_of(workspace)["finished"] is None
    ended = json.loads((workspace / "ended.json").read_bytes())
    assert (ended["dask"], ended["targets"][0]["missing"]) == (address, ["fine_002"])
    assert [*ended["targets"][0]["failures"]] == ["fine_002"]
    assert not place(workspace, CT, "preprocessed/gt_segmentations").exists()


@real
@posix_only
def test_an_interruption_keeps_nothing_that_a_worker_still_writes(
    workspace: Path, address: str, blocking: Path
) -> None:
    with process(*WORDS, "--dask", address, stderr=subprocess.PIPE) as running:
        wait_for(lambda: is_blocked(workspace))
        running.terminate()
        waiting = os.open(blocking, os.O_WRONLY | os.O_NONBLOCK)
        assert running.wait(60) == 128 + signal.SIGTERM
        assert running.stderr is not None
        assert b"interrupted" in running.stderr.read()
    assert record_of(workspace)["finished"] is None
    assert unfinished(workspace) == []
    # In this order: SimpleITK opens the file more than once, and would wait at another pipe without end.
    blocking.with_suffix(".kept").replace(blocking)
    os.close(waiting)
    before = contents(place(workspace, CT, f"preprocessed/{FOLDER}"))
    done = preprocess(*WORDS, "--dask", address, "--resume", "auto")
    assert (done.code, len(before)) == (0, 3 * (CASES - 1))


@real
@pytest.mark.long
def test_a_case_that_needs_more_than_the_memory_limit(workspace: Path, tmp_path: Path) -> None:
    import SimpleITK

    for part in ("raw/imagesTr/fine_003_0000", "raw/labelsTr/fine_003"):
        path = place(workspace, CT, f"{part}.nii.gz")
        small = SimpleITK.ReadImage(str(path))
        large = SimpleITK.Expand(small, [ceil(LARGE / size) for size in small.GetSize()])
        SimpleITK.WriteImage(large, str(path))
    with dask_cluster(tmp_path, ONE_THREAD, workers=1, memory=MEMORY) as address:
        done = preprocess(*WORDS, "--dask", address)
    assert done.code == 4
    assert "plansguard: 1 case failed\n  fine_003: each worker that began it ended unexpectedly" in done.err
    assert f"holds 4 of 5 cases; {FOLDER}.stamp.json is marked unfinished" in done.err


# --- The road


@real
@pytest.mark.long
@pytest.mark.workspace(OTHER, CT, folder="workspace")
@pytest.mark.usefixtures("workspace")
def test_a_road_preprocesses_and_reads_its_data_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    road = ("finetune", "-s", "1", "-t", "2", "-tp", "Moved", "-c", "3d_fullres", "--steps", "9", "-device", "cpu")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = run(*road, "--dask", address, "--until", "preprocess")
    assert done.code == 0, done.err
    assert f"preprocess -d 2 -p Moved -c 3d_fullres --dask {address} --resume auto" in done.err
    done = run(*road, "--dask", address, "--dry-run", "--output", "json")
    assert {one["state"] for one in done.json["steps"] if one["name"] == "preprocess"} == {"done"}
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    for option in ("--dry-run", "--print=sh"):  # the second does not ask for the cluster, but reads the data
        done = run(*road, "--dask", "tcp://127.0.0.1:9", option)
        assert (done.code, "no Dask scheduler answers" in done.err) == (2, True)


# --- Refused before anything is deleted


@real
def test_a_cluster_that_does_not_answer(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    folder = place(workspace, CT, f"preprocessed/{FOLDER}")
    folder.mkdir()
    (folder / "old.b2nd").write_bytes(b"old")
    before = contents(workspace)
    done = preprocess(*WORDS, "--dask", "tcp://127.0.0.1:9", "--yes")
    assert (done.code, "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in done.err) == (2, True)
    monkeypatch.setattr(runtime, "installed", lambda: False)
    done = preprocess(*WORDS, "--dask", "tcp://127.0.0.1:9", "--yes")
    assert (done.code, "--dask needs nnU-Net here as well" in done.err) == (2, True)
    assert contents(workspace) == before


@real
def test_a_dry_run_compares_the_workers(workspace: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(workspace)
    done = preprocess(*WORDS, "--dask", address, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "would run nnU-Net's preprocessing for 3d_fullres on 2 workers of the Dask cluster" in done.out
    monkeypatch.setattr(plansguard, "__version__", "0.0.1")  # here, and not on the workers
    done = preprocess(*WORDS, "--dask", address, "--dry-run")
    assert (done.code, ", and 0.0.1 is installed here: nothing was deleted" in done.err) == (2, True)
    assert contents(workspace) == before


def view(version: str | None = "2.8.1", digest: str | None = "12") -> WorkerView:
    return WorkerView(("0.2.0", version, "4.14.1"), (digest,))


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (view("2.7.0"), "has nnunetv2 2.7.0, and 2.8.1 is installed here: nothing was deleted"),
        (view(None), "does not have nnunetv2: nothing was deleted"),
        (view(digest=None), "does not see /data/plans.json: nothing was deleted"),
        (view(digest="34"), "sees another file at /data/plans.json: nothing was deleted"),
        (ModuleNotFoundError("No module named 'plansguard'"), "cannot run plansguard (ModuleNotFoundError: No module"),
    ],
    ids=["version", "package", "file", "content", "plansguard"],
)
def test_a_worker_that_differs(seen: Any, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        _assert_alike("tcp://a:1", seen, view(), ["/data/plans.json"])
    assert caught.value.reason.startswith(f"the Dask worker tcp://a:1 {reason}")
    assert caught.value.hint


def test_a_worker_that_is_alike() -> None:
    _assert_alike("tcp://a:1", view(), view(), ["/data/plans.json"])


def test_only_newer_labels_are_copied(tmp_path: Path) -> None:
    """As nnU-Net does: a copy that is as new as its label stays, whatever is in it."""
    labels = {name: str(tmp_path / f"raw_{name}") for name in ("new", "newer", "same")}
    copies = tmp_path / "gt_segmentations"
    copies.mkdir()
    for name, label in labels.items():
        Path(label).write_text("raw", encoding="utf-8")
        os.utime(label, (100, 200 if name == "newer" else 100))
        if name != "new":
            (copies / name).write_text("copy", encoding="utf-8")
            os.utime(copies / name, (100, 100))
    _copy_labels(labels, copies)
    assert {path.name: path.read_text(encoding="utf-8") for path in copies.iterdir()} == {
        "new": "raw",
        "newer": "raw",
        "same": "copy",
    }
    assert (copies / "newer").stat().st_mtime == 200


class Usual:
    """Has the name and the place of nnU-Net's."""

    def run(self) -> None: ...


class Derived(Usual):
    def modify(self) -> None: ...


class Own(Usual):
    def run(self) -> None: ...


@pytest.mark.parametrize(("kind", "name"), [(Usual, ""), (Derived, ""), (Own, "Own")])
def test_a_preprocessor_with_its_own_run(kind: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "nnunetv2.preprocessing.preprocessors.default_preprocessor"
    monkeypatch.setitem(sys.modules, place, SimpleNamespace(DefaultPreprocessor=Usual))
    monkeypatch.setattr(case_preprocessing, "_pickled", lambda _: pickle.dumps((kind(), None)))
    assert case_preprocessing.replaced_run(Inputs("plans.json", "dataset.json", ("", ""), (), "2d")) == name


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        ("pending", TimeoutError(), "is lost: no worker is free within 300 s: nothing was deleted"),
        ("cancelled", OSError("connection lost"), "is lost: connection lost: nothing was deleted"),
        ("error", ImportError("no nnU-Net"), "cannot load nnU-Net's preprocessing (ImportError: no nnU-Net)"),
    ],
)
def test_what_failed_before_the_first_case(status: str, error: Exception, said: str) -> None:
    def result(timeout: float) -> None:
        raise error

    client = SimpleNamespace(submit=lambda *_, pure: SimpleNamespace(status=status, result=result))
    inputs = Inputs("plans.json", "dataset.json", ("", ""), (), "2d")
    with pytest.raises(UsageError) as refused:
        _assert_case_by_case(client, inputs, "tcp://127.0.0.1:1")
    assert said in refused.value.reason
