"""Settings and fixtures of all tests."""

from __future__ import annotations

import gc
import os
import signal
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings
from typer.utils import get_params_from_function

from plansguard.nnunet.install import packages
from plansguard.subjects import machine
from tests.support.variants import ROOTS, lay_out, point_to

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT.parent / "shared" / "corpus"

# One test process runs per core, so child processes use one thread: torch's threads are busy while they wait for each
# other, and two trainings side by side take several times as long as one. On a CPU, nnU-Net's own command sets one
# thread per core, whatever the first variable says; with the second one they sleep while they wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Processes that a shell starts in the background ignore SIGINT, those of nohup SIGHUP, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No deadlines: the machines are shared. In CI every run uses the same examples, so that a failure is caused by the
# commit; elsewhere every run uses new ones.
settings.register_profile("plansguard", deadline=None, max_examples=50)
settings.register_profile("plansguard-ci", deadline=None, max_examples=50, derandomize=True)
# For hours: make fuzz.
settings.register_profile("plansguard-fuzz", deadline=None, max_examples=100_000)
settings.load_profile("plansguard-ci" if os.environ.get("CI") else "plansguard")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run trainings first, then what else needs nnU-Net, then other slow tests.

    A module stays in one process: a long one would run alone at the end.
    """

    def place(item: pytest.Item) -> tuple[bool, bool, bool]:
        slow, nnunet = item.get_closest_marker("slow"), item.get_closest_marker("nnunet")
        return not (slow and nnunet), not nnunet, not slow

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Nearly all that collecting tests makes stays: the search for garbage in it would be a third of its time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # later searches omit it too
        gc.enable()


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Return the folder of real files from public repositories, beside the checkout; none of them is copied here."""
    if not (CORPUS / "README.md").is_file():
        pytest.skip("the corpus of real files does not lie beside this checkout (../shared/corpus)")
    return CORPUS


@pytest.fixture(autouse=True)
def roomy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but variables limits what this process may use: findings are the same on every machine."""
    read = machine.read_machine

    def of_slurm(limit: machine.Limit | None) -> machine.Limit:
        return limit if limit and limit.source.startswith("SLURM") else machine.Limit(10**12, "this machine")

    def here() -> machine.Machine:
        found = read(os.environ, ROOT / "no such system")
        shared = machine.SharedMemory(10**12, 10**12)
        return machine.Machine(of_slurm(found.cores), of_slurm(found.memory), shared, 10**6)

    monkeypatch.setattr(machine, "here", here)


@pytest.fixture
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the fixtures' workspace and let nnU-Net's variables name it, on a machine without a GPU.

    ``pytest.mark.workspace(*datasets, edits=(), folder=".", chdir=False, variables=True)`` names the datasets to copy
    (default: all), the edits of the first of them, and the folder below ``tmp_path``; whether it is the current folder,
    and whether the variables are set.
    """
    marker = request.node.get_closest_marker("workspace")
    datasets: tuple[str, ...] = () if marker is None else marker.args
    options = {} if marker is None else marker.kwargs
    root = lay_out(tmp_path / options.get("folder", "."), *datasets)
    if options.get("variables", True):
        point_to(root, monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if options.get("chdir"):
        monkeypatch.chdir(root)
    for edit in options.get("edits", ()):
        edit(root, datasets[0])
    return root


@pytest.fixture(scope="session", autouse=True)
def _installed_packages_are_imported_once() -> Iterator[None]:
    """`plansguard doctor` imports torchvision in another process, which takes five seconds of a processor each time."""
    really, installed = packages.import_error, sysconfig.get_path("purelib")
    known = cache(lambda module, _: really(module))

    def import_error(module: str) -> str | None:
        spec = find_spec(module)
        ours = spec is not None and (spec.origin or "").startswith(installed)
        return known(module, tuple(sys.path)) if ours else really(module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "import_error", import_error)
        yield


@pytest.fixture(scope="session", autouse=True)
def _parameters_of_commands_are_read_once() -> Iterator[None]:
    """Tests run thousands of commands in one process; typer reads the annotations of each function four times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.main.get_params_from_function", cache(get_params_from_function))
        yield


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder; nnU-Net's variables are not set."""
    monkeypatch.chdir(tmp_path)
    for folder in ROOTS.values():
        monkeypatch.delenv(folder, raising=False)
