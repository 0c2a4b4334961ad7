"""Packages that are installed and cannot be imported: one message, which names the package and what to type."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import NoReturn

import pytest

from plansguard.core.errors import Absent, UsageError
from plansguard.core.unusable_packages import assert_numexpr_loads, unusable_package
from plansguard.nnunet.install import packages
from tests.conftest import ROOT
from tests.support.command import Done, run, start
from tests.support.preprocessing_records import ALONE, CT, data
from tests.support.variants import PLANS, RESENC, place

PLATFORM = "libm.so.6: version `GLIBC_2.38' not found"

pytestmark = pytest.mark.workspace(CT)


def run_with_broken(package: str, site: Path, *words: str | Path) -> Done:
    """Run a command where the import of a package fails as for another glibc."""
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").write_text(f'raise ImportError("""\n\n{PLATFORM}\nand more""")')
    done = start(*words, environment={"PYTHONPATH": f"{site}:{ROOT}"})
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("package", ["numpy", "blosc2", "SimpleITK"])
def test_a_check_of_values(package: str, workspace: Path, tmp_path: Path) -> None:
    if package == "blosc2":
        pytest.importorskip("numpy", reason="numpy is asked for first")
    for edit in (*ALONE, data()):
        edit(workspace, CT)
    done = run_with_broken(package, tmp_path / "site", "check", "-d", "2", "--data", "all")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plansguard: ")
    assert f"cannot be imported: {PLATFORM}\n  install it again for " in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        (PLATFORM, "pip install --force-reinstall deepdiff"),
        ("libblas.so.0: failed to map segment from shared object", "free memory or end other processes"),
        ("libblas.so.0: failed to map segment from shared object: Operation not permitted", "pip install"),
        ("libblas.so.0: cannot allocate memory in static TLS block", "pip install"),
        ("\n\nREAD THIS\nOriginal error was: libblas.so.0: failed to map segment from shared object\n", "free memory"),
    ],
)
def test_a_shared_library(reason: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names only the last part of the module; and where memory is missing, no installation helps."""
    monkeypatch.setattr("sys.path", ["/python/lib", "/python/lib/site-packages", ""])
    file = "/python/lib/site-packages/deepdiff/linalg/_blas.cpython-311.so"
    error = unusable_package(ImportError(reason, name="_blas", path=file))
    assert str(error) == f"the package deepdiff cannot be imported: {reason.rpartition('was: ')[2].strip()}"
    assert hint in error.hint


@pytest.mark.parametrize("error", ["ImportError: libtorch_cpu.so: failed to map segment", "MemoryError"])
def test_an_import_in_another_process_without_memory(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of the package: `doctor` advised to install it again (PG807)."""
    (tmp_path / "of_this_test.py").write_text(f"import sys; sys.exit({error!r})", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Absent, match="there is no memory to import of_this_test"):
        packages.import_error("of_this_test")


def test_a_shared_library_of_python_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/python/lib", "/python/lib/lib-dynload"])
    error = unusable_package(ImportError("libssl.so: not found", name="_ssl", path="/python/lib/lib-dynload/_ssl.so"))
    assert error.hint.startswith(f"it belongs to Python itself: install {sys.executable} again")


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            "ImportError('libtorch_cuda.so: failed to map segment from shared object')",
            "libtorch_cuda.so: failed to map",
        ),
        ("OSError('libtorch_global_deps.so: no such file')", "libtorch_global_deps.so: no such file"),
        ("MemoryError", "Cannot allocate memory"),
    ],
)
def test_a_training_shows_the_first_error_of_torch(error: str, shown: str, tmp_path: Path) -> None:
    """Torch that is imported again after a failure only says that it was imported before."""
    torch = tmp_path / "torch"
    torch.mkdir()
    again = 'ImportError("it can only be initialized once per process")'
    torch.joinpath("__init__.py").write_text(
        f"import sys\nerror = {again} if hasattr(sys, 'tried') else {error}\nsys.tried = True\nraise error\n"
    )
    code = (
        "import sys\nfrom plansguard import cli\nfrom plansguard.training.launch import launch\n"
        "from plansguard.training.options import Options\n"
        "cli.build_app = lambda words: lambda prog_name: launch(['2', '3d_fullres', '0'], Options())\ncli.main()"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert shown in done.stderr
    assert "once per process" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.nnunet
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS"])
@pytest.mark.parametrize(
    ("value", "loads", "instead"),
    [
        *((value, True, "") for value in ("4", "", " 4 ", "0", "-1")),
        *((value, False, instead) for value, instead in (("4,2", "4"), ("x", "1"), ("4.0", "4"), ("9" * 30, "1"))),
    ],
)
def test_a_number_of_threads_for_numexpr(
    variable: str, value: str, loads: bool, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged as numexpr does; the rules that read values failed (PG000)."""
    for name in ("OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    monkeypatch.delitem(sys.modules, "numexpr", raising=False)
    done = subprocess.run([sys.executable, "-c", "import numexpr"], capture_output=True)
    assert (done.returncode == 0) is loads
    if loads:
        assert_numexpr_loads()
        return
    with pytest.raises(UsageError, match=f"{variable} is .*, and numexpr takes one number") as caught:
        assert_numexpr_loads()
    assert caught.value.hint == f"export {variable}={instead}"


@pytest.mark.nnunet
@pytest.mark.parametrize("depth", ["sample", "all"])
def test_a_check_of_values_with_threads_that_numexpr_refuses(depth: str, workspace: Path) -> None:
    for edit in (*ALONE, data()):
        edit(workspace, CT)
    done = start("check", "-d", "2", "--data", depth, environment={"OMP_NUM_THREADS": "4,2"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("plansguard: OMP_NUM_THREADS is ")


def test_a_command_without_rules(workspace: Path, tmp_path: Path) -> None:
    paths = place(workspace, CT, PLANS), place(workspace, CT, RESENC)
    done = run_with_broken("deepdiff", tmp_path / "site", "diff", *paths)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"plansguard: the package deepdiff cannot be imported: {PLATFORM}\n")
    assert done.err.endswith(": pip install --force-reinstall deepdiff\n")


def test_a_module_that_plansguard_lacks_is_its_own_fault(workspace: Path, tmp_path: Path) -> None:
    fake = tmp_path / "site"
    fake.mkdir()
    (fake / "sitecustomize.py").write_text(
        "import sys\nsys.modules['plansguard.nnunet.plans_diff'] = None\n", encoding="utf-8"
    )
    paths = place(workspace, CT, PLANS), place(workspace, CT, RESENC)
    done = start("diff", *paths, environment={"PYTHONPATH": f"{fake}:{ROOT}"})
    assert "plansguard.nnunet.plans_diff" in done.stderr.splitlines()[-1]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("number", "what"), [(errno.EAGAIN, "cannot start a process: "), (errno.ENOMEM, ""), (errno.EMFILE, "")]
)
def test_a_process_or_file_that_cannot_be_had(number: int, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(arguments: list[str]) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("plansguard.cli.build_app", limited)
    done = run("check")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"plansguard: {what}{os.strerror(number)}\n  free memory or end other processes")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(MemoryError(), os.strerror(errno.ENOMEM)), (RuntimeError("can't start new thread"), "cannot start a thread")],
)
def test_memory_or_a_thread_that_cannot_be_had(error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(arguments: list[str]) -> NoReturn:
        raise error

    monkeypatch.setattr("plansguard.cli.build_app", limited)
    done = run("check")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"plansguard: {reason}\n  free memory or end other processes")


@pytest.mark.workspace(CT, chdir=True)
@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("words", [("check",), ("status",), ("report", "-o", "pages")])
def test_a_command_where_no_thread_can_be_started(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit of processes of a user or a container: the progress is not shown, and no GPU is known."""
    expected = run(*words)

    def limited(thread: Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", limited)
    assert run(*words) == expected
