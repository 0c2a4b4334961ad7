"""What a machine lets a training use: real limits of this machine, files that stand for those of others, and findings.

Control groups, mounts and limits are real where the tests may set them; the reason of a skipped test names what failed.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plansguard.commands.preprocess import prepare
from plansguard.core.report import Finding, Severity
from plansguard.nnunet.command_line import OTHER_PROCESSES, PROCESSES_OF
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects import machine
from plansguard.subjects.machine import Limit, Machine, SharedMemory, read_machine
from tests.conftest import ROOT
from tests.rules.pg7_run.test_hardware import judged, only, reason
from tests.rules.pg7_run.trainings import CT, PLANS, READY
from tests.support.data_folders import DATA, old_format
from tests.support.variants import ROOTS, place

pytestmark = pytest.mark.workspace(CT, edits=READY)

GROUPS = Path("/sys/fs/cgroup")
READ = "import json; from plansguard.subjects.machine import here; print(json.dumps(here()))"
GIGABYTE = 10**9
ROOMY = Machine(Limit(64, "this machine"), Limit(10**12, "this machine"), SharedMemory(10**12, 10**12), 1024)
CPU = ("-device", "cpu")


def in_process(*launcher: str, **variables: str) -> Any:
    """What another process may use, started by these words: cores, memory, shared memory, open files."""
    command = [*launcher, sys.executable, "-c", READ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{launcher[0]} cannot be used here: {done.stderr.strip()[-100:]}")
    return json.loads(done.stdout)


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"there is no {program}")
    return found


@contextmanager
def control_group(controller: str, **limits: int) -> Iterator[Path]:
    """A real control group with these limits, of version 1 or 2."""
    parent = GROUPS / controller if (GROUPS / controller).is_dir() else GROUPS
    group = parent / f"plansguard-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made in {parent}: {error.strerror}")
    try:
        for name, value in limits.items():
            path = group / name.replace("__", ".")
            if not path.exists():
                pytest.skip(f"{parent} has no {path.name}")
            path.write_text(str(value))
        yield group
    finally:
        group.rmdir()


def inside(group: Path) -> Sequence[str]:
    """The words that start a process in a control group."""
    return ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")


# ---------------------------------------------------------------------------------------------------------------------
# Limits of this machine
# ---------------------------------------------------------------------------------------------------------------------


def test_cores_of_taskset() -> None:
    cores = in_process(needs("taskset"), "-c", str(min(os.sched_getaffinity(0))))[0]
    assert cores[0] == 1
    assert cores[1] in ("this machine", "the CPU affinity, as of taskset")


def test_cores_of_a_real_control_group() -> None:
    with control_group("cpu", cpu__cfs_quota_us=50_000) as group:
        assert in_process(*inside(group))[0] == [0.5, f"the control group {group}"]


def test_memory_of_a_real_control_group() -> None:
    with control_group("memory", memory__limit_in_bytes=300 * 2**20) as group:
        assert in_process(*inside(group))[1] == [300 * 2**20, f"the control group {group}"]


def test_shared_memory_of_a_real_mount() -> None:
    mounted = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'
    total, free = in_process(needs("unshare"), "-m", "sh", "-c", mounted, "sh")[2]
    assert total == free == 64 * 2**20


def test_real_limit_of_open_files() -> None:
    assert in_process(needs("prlimit"), "--nofile=50")[3] == 50


# ---------------------------------------------------------------------------------------------------------------------
# Files and variables of other machines
# ---------------------------------------------------------------------------------------------------------------------


def system(root: Path, files: dict[str, str]) -> Path:
    """Files of a system. The CPU affinity stays that of this process."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


SECOND = {"proc/self/cgroup": "0::/slurm/job_7/step_0\n"}
CONTAINER = {"proc/self/cgroup": "0::/\n"}
HOSTED = {"proc/self/cgroup": "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n1:name=systemd:/docker/1f\n"}
GROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "cores", "at"),
    [
        ({**SECOND, f"{GROUP}/slurm/job_7/cpu.max": "25000 100000\n"}, 0.25, f"/{GROUP}/slurm/job_7"),
        ({**SECOND, f"{GROUP}/slurm/job_7/cpu.max": "max 100000\n"}, None, ""),
        ({**CONTAINER, f"{GROUP}/cpu.max": "50000 100000"}, 0.5, f"/{GROUP}"),
        ({"proc/self/cgroup": "0::/../../pod\n", f"{GROUP}/cpu.max": "50000 100000"}, 0.5, f"/{GROUP}"),
        (
            {
                **HOSTED,
                f"{GROUP}/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
                f"{GROUP}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            0.5,
            f"/{GROUP}/cpu,cpuacct",
        ),
        (
            {
                **HOSTED,
                f"{GROUP}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                f"{GROUP}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            None,
            "",
        ),
        ({"proc/self/cgroup": "no such line\n\n::\n"}, None, ""),
        ({}, None, ""),
    ],
)
def test_cores_of_control_groups(tmp_path: Path, files: dict[str, str], cores: float | None, at: str) -> None:
    """Of version 2 in a job and in containers, of version 1 in a container that shows the path of its host."""
    found = read_machine({}, system(tmp_path, files)).cores
    assert found is not None
    if cores is None:
        assert "control group" not in found.source
    else:
        assert found == (cores, f"the control group {at}")


MEMORY = {"proc/meminfo": "MemFree: 1 kB\nMemTotal:       2000000 kB\n"}


@pytest.mark.parametrize(
    ("files", "variables", "expected"),
    [
        (MEMORY, {}, (2_048_000_000, "this machine")),
        ({**MEMORY, **CONTAINER, f"{GROUP}/memory.max": "max"}, {}, (2_048_000_000, "this machine")),
        ({**MEMORY, **CONTAINER, f"{GROUP}/memory.max": "5"}, {}, (5, f"the control group /{GROUP}")),
        (
            {**MEMORY, **HOSTED, f"{GROUP}/memory/memory.limit_in_bytes": "7"},
            {},
            (7, f"the control group /{GROUP}/memory"),
        ),
        (
            {**MEMORY, **HOSTED, f"{GROUP}/memory/memory.limit_in_bytes": "9223372036854771712"},
            {},
            (2_048_000_000, "this machine"),
        ),
        (MEMORY, {"SLURM_MEM_PER_NODE": "100"}, (100 * 2**20, "SLURM_MEM_PER_NODE")),
        (MEMORY, {"SLURM_MEM_PER_NODE": "0"}, (2_048_000_000, "this machine")),
        (
            MEMORY,
            {"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "2"},
            (200 * 2**20, "SLURM_MEM_PER_CPU"),
        ),
        (MEMORY, {"SLURM_MEM_PER_CPU": "100"}, (2_048_000_000, "this machine")),
        ({}, {}, None),
    ],
)
def test_memory(
    tmp_path: Path, files: dict[str, str], variables: dict[str, str], expected: tuple[int, str] | None
) -> None:
    assert read_machine(variables, system(tmp_path, files)).memory == expected


def test_cores_of_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    of_node = {"SLURM_CPUS_ON_NODE": "4"}
    assert read_machine(of_node, tmp_path).cores == (4, "SLURM_CPUS_ON_NODE")
    assert read_machine({**of_node, "SLURM_CPUS_PER_TASK": "2"}, tmp_path).cores == (2, "SLURM_CPUS_PER_TASK")
    assert read_machine({"SLURM_CPUS_PER_TASK": "all"}, tmp_path).cores == (64, "this machine")


@pytest.mark.parametrize("number", ["-1", "0", "abc", "1e9999", "", "1.5", "9" * 300, "1" * 4300])
@pytest.mark.parametrize("cores", ["-1", "4", "9" * 300])
def test_impossible_numbers_limit_nothing(tmp_path: Path, number: str, cores: str) -> None:
    variables = {"SLURM_MEM_PER_NODE": number, "SLURM_CPUS_PER_TASK": number, "SLURM_CPUS_ON_NODE": cores}
    files = {"sys/fs/cgroup/cpu.max": f"{number} {cores}", "proc/meminfo": f"MemTotal: {number} kB\n"}
    files["proc/self/cgroup"] = "0::/\n"
    found = read_machine(variables, system(tmp_path, files))
    of_core = read_machine({"SLURM_MEM_PER_CPU": number, "SLURM_CPUS_ON_NODE": cores}, tmp_path)
    assert found.cores is not None
    assert found.cores.amount > 0
    assert (found.memory, of_core.memory) == (None, None)


def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    assert read_machine({}, system(tmp_path, {"proc/meminfo": "MemTotal:\n"})).memory is None


def test_a_system_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS, and Windows, which has no limit of open files."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert read_machine({}, tmp_path) == (Limit(os.cpu_count() or 1, "this machine"), None, None, None)


# ---------------------------------------------------------------------------------------------------------------------
# Findings
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a training run on another machine, with 64 cores unless limits are given, and 12 processes by default."""

    def put(processes: str = "12", **limits: Any) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: 64)
        monkeypatch.setattr(machine, "here", lambda: ROOMY._replace(**limits))
        monkeypatch.setenv("nnUNet_n_proc_DA", processes)

    return put


def found(*arguments: str) -> list[tuple[str, Severity]]:
    return [(finding.code, finding.severity) for finding in judged(*CPU, *arguments).findings]


def shared(size: int, free: int | None = None) -> SharedMemory:
    return SharedMemory(size, size if free is None else free)


#: 2 patches of 56 x 64 x 64 voxels, with 6 bytes for each.
BATCH = 2_752_512
#: Of the network, counted by torch.
PARAMETERS = 16_219_912


@pytest.mark.usefixtures("workspace")
def test_shared_memory(on: Any) -> None:
    for room, expected in (
        (shared(22 * BATCH), []),
        (shared(22 * BATCH - 1), [("PG820", Severity.WARNING)]),
        (shared(GIGABYTE, free=0), [("PG820", Severity.WARNING)]),
        (shared(BATCH), [("PG820", Severity.WARNING)]),
        (shared(BATCH - 1), [("PG820", Severity.ERROR)]),
    ):
        on(shared=room)
        assert found() == expected
        assert "PG820" not in dict(found("--val"))
    on("0", shared=shared(0))
    assert found() == []


@pytest.mark.usefixtures("workspace")
def test_what_is_said_of_shared_memory(on: Any) -> None:
    on(shared=shared(64_000_000, free=10_000_000))
    finding: Finding = only(judged(*CPU))
    assert finding.message == ("/dev/shm has 64.0 MB, of which 10.0 MB are free, and 22 batches of 2.8 MB take 60.6 MB")
    assert "--ipc=host or --shm-size=58m" in finding.fix
    on(shared=shared(1_000_000))
    assert only(judged(*CPU)).message.endswith("and a single batch takes 2.8 MB")


@pytest.mark.usefixtures("workspace")
def test_custom_trainers_may_make_other_batches(on: Any) -> None:
    on(shared=shared(1_000_000))
    assert ("PG820", Severity.WARNING) in found("-tr", "MyTrainer")


@pytest.mark.usefixtures("workspace")
def test_docker(on: Any) -> None:
    """Its 64 MiB of shared memory have room for small patches."""
    on(shared=shared(64 * 2**20))
    assert found() == []


@pytest.mark.usefixtures("workspace")
def test_memory_of_processes(on: Any) -> None:
    least = 550_000_000 + (4 * 18 + 22) * BATCH
    on(memory=Limit(least, "SLURM_MEM_PER_NODE"))
    assert found() == []
    on(memory=Limit(least - 1, "SLURM_MEM_PER_NODE"))
    finding: Finding = only(judged(*CPU))
    assert finding.code == "PG821"
    assert finding.message == (
        "809 MB of memory can be used (SLURM_MEM_PER_NODE), and the training takes at least 809 MB with 18 processes "
        "for augmentation"
    )
    assert finding.fix.endswith("nnUNet_n_proc_DA=11")
    on(memory=Limit(1, "SLURM_MEM_PER_NODE"))
    assert only(judged(*CPU)).fix.endswith("nnUNet_n_proc_DA=0")


@pytest.mark.usefixtures("workspace")
def test_memory_for_the_copy_of_a_checkpoint(on: Any) -> None:
    """Which a trainer of a number of steps makes, with 8 bytes for each parameter."""
    least, copied = 550_000_000 + (4 * 18 + 22) * BATCH, 8 * PARAMETERS
    on(memory=Limit(least + copied, "a test"))
    assert found("-tr", "nnUNetTrainer_5steps") == []
    on(memory=Limit(least + copied - 1, "a test"))
    assert found("-tr", "nnUNetTrainer_5steps", "--disable_checkpointing") == []
    assert found("-tr", "nnUNetTrainer_5steps") == [("PG821", Severity.WARNING)]
    finding: Finding = only(judged(*CPU, "-tr", "nnUNetTrainer_5steps"))
    assert finding.fix.endswith("nnUNet_n_proc_DA=11")


def test_memory_of_the_processes_that_unpack(workspace: Path, on: Any) -> None:
    """Half as many as augment, each with the larger array of a case."""
    old_format()(workspace, CT)
    folder = place(workspace, CT, f"preprocessed/{DATA}")
    archives = sorted(folder.glob("*.npz"))
    images = [zipfile.ZipFile(path).getinfo("data.npy").file_size for path in archives]
    unpacking = min(len(images), 6) * sum(images) // len(images)
    least, headers = 550_000_000 + (4 * 18 + 22) * BATCH, 1000
    assert unpacking > 10 * headers
    on(memory=Limit(least + unpacking + headers, "a test"))
    assert ("PG821", Severity.WARNING) not in found()
    on(memory=Limit(least + unpacking - headers, "a test"))
    assert ("PG821", Severity.WARNING) in found()
    for path in archives:
        for ending in (".npy", "_seg.npy"):
            (folder / f"{path.stem}{ending}").touch()
    assert ("PG821", Severity.WARNING) not in found()


@pytest.mark.usefixtures("workspace")
def test_cores(on: Any) -> None:
    on(cores=Limit(1.5, "a test"))
    finding: Finding = only(judged(*CPU))
    assert (finding.code, finding.severity) == ("PG822", Severity.INFO)
    assert finding.message == "1.5 cores can be used (a test), and nnU-Net starts 12 processes for augmentation"
    assert finding.fix.endswith("nnUNet_n_proc_DA=1")
    on("1", cores=Limit(0.5, "a test"))
    assert found() == []


@pytest.mark.usefixtures("workspace")
def test_open_files(on: Any) -> None:
    """Of 13 batches with 5 arrays each, and 11 others: as many as the real main process had open."""
    on(open_files=76)
    assert found() == []
    on(open_files=75)
    assert found() == [("PG823", Severity.WARNING)]


@pytest.mark.usefixtures("workspace")
def test_what_is_not_known(on: Any) -> None:
    on(cores=None, memory=None, shared=None, open_files=None)
    report = judged(*CPU)
    assert report.findings == ()
    for code in ("PG820", "PG821", "PG822", "PG823"):
        assert "is not known here" in reason(report, code)


@pytest.mark.usefixtures("workspace")
def test_a_training_for_another_machine_is_not_judged_here(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    on(shared=shared(0), open_files=1)
    report = judged(gpu_memory=24)
    assert report.findings == ()
    assert "another machine" in reason(report, "PG820")


def unpacking() -> list[Finding]:
    return [finding for finding in judged(*CPU).findings if finding.code == "PG824"]


def test_data_that_another_training_unpacks(workspace: Path) -> None:
    old_format()(workspace, CT)
    folder = place(workspace, CT, f"preprocessed/{DATA}")
    names = sorted(path.stem for path in folder.glob("*.npz"))

    assert unpacking() == []
    array = folder / f"{names[0]}.npy"
    array.write_bytes(b"\x93NUMPY")
    (finding,) = unpacking()
    assert finding.message.startswith(f"{len(names) - 1} of {len(names)} cases are not unpacked yet, and one was ")
    assert finding.location.path == str(workspace / ROOTS["preprocessed"] / CT / DATA)
    hour_ago = time.time() - 3600
    os.utime(array, (hour_ago, hour_ago))
    assert unpacking() == []
    for name in names:
        (folder / f"{name}.npy").write_bytes(b"\x93NUMPY")
    assert unpacking() == []


@pytest.mark.nnunet
@pytest.mark.slow
def test_data_that_nnunet_unpacks(workspace: Path) -> None:
    import numpy

    old_format()(workspace, CT)
    folder = place(workspace, CT, f"preprocessed/{DATA}")
    data, seg = numpy.zeros((1, 160, 256, 256), numpy.float32), numpy.zeros((1, 160, 256, 256), numpy.int16)
    for path in folder.glob("*.npz"):  # large enough to stop nnU-Net between two of them
        numpy.savez_compressed(path, data=data, seg=seg)
    unpack = "from nnunetv2.training.dataloading.utils import unpack_dataset as unpack; "
    code = f"if __name__ == '__main__': {unpack} unpack({str(folder)!r}, num_processes=1)"
    script = workspace / "unpack.py"
    script.write_text(code, encoding="utf-8")
    running = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    try:
        while not [*folder.glob("*_seg.npy")]:
            assert running.poll() is None
            time.sleep(0.005)
        os.killpg(running.pid, signal.SIGSTOP)
        (finding,) = unpacking()
        assert "another training seems to unpack them" in finding.message
        os.killpg(running.pid, signal.SIGCONT)
        assert running.wait(120) == 0
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert unpacking() == []


# ---------------------------------------------------------------------------------------------------------------------
# Preprocessing
# ---------------------------------------------------------------------------------------------------------------------


def preprocessing(configuration: str = "3d_fullres", **options: Any) -> dict[str, Finding]:
    """The findings about the machine before a preprocessing, by code."""
    workspace, names = Workspace.from_environment(), [configuration]
    job = prepare(workspace, CT, names, ActiveSettings(), program="nnUNetv2_preprocess", **options)
    return {finding.code: finding for finding in job.report.findings if finding.code.startswith("PG82")}


@pytest.mark.usefixtures("workspace")
def test_memory_for_preprocessing(on: Any) -> None:
    on(memory=Limit(600e6, "a container"))
    finding = preprocessing()["PG825"]
    assert finding.message == (
        "600 MB of memory can be used (a container), and the largest cases take at least 1.0 GB in 4 processes"
    )
    assert finding.fix.endswith("plansguard preprocess -d 2 -p nnUNetPlans -c 3d_fullres -np 2")
    assert "in 8 processes" in preprocessing("2d")["PG825"].message
    assert preprocessing(processes={"3d_fullres": 2}) == preprocessing(elsewhere=True) == {}
    many = preprocessing(processes={"3d_fullres": 10**9})["PG825"]  # it took minutes and gigabytes
    assert (many.fix, "in 1000000000 processes" in many.message) == (finding.fix, True)
    on(memory=Limit(100e6, "a container"))
    assert preprocessing(processes={"3d_fullres": 1})["PG825"].fix == "ask for more memory"


@pytest.mark.usefixtures("workspace")
def test_cores_for_preprocessing(on: Any) -> None:
    on(cores=Limit(2.5, "a container"))
    finding = preprocessing()["PG826"]
    assert (finding.severity, "2.5 cores can be used" in finding.message) == (Severity.INFO, True)
    on(cores=Limit(2, machine.WHOLE))
    assert preprocessing() == {}
    on(cores=Limit(2.5, "a container"))
    assert finding.fix.endswith("plansguard preprocess -d 2 -p nnUNetPlans -c 3d_fullres -np 2")
    assert preprocessing(processes={"3d_fullres": 2}) == preprocessing(elsewhere=True) == {}


def test_a_case_takes_more_where_resampling_makes_it_larger(on: Any, workspace: Path) -> None:
    on(memory=Limit(600e6, "a container"))
    plans = place(workspace, CT, PLANS)
    value = json.loads(plans.read_bytes())
    value["configurations"]["3d_fullres"]["spacing"] = [0.2, 0.2, 0.2]
    plans.write_text(json.dumps(value))
    resampled = round(56 * 1.5 / 0.2) * round(66 * 1.2 / 0.2) * round(64 * 1.2 / 0.2)
    needed = 250e6 + 4 * (56 * 66 * 64 + resampled)
    message = preprocessing(processes={"3d_fullres": 2})["PG825"].message
    assert float(message.split("at least ")[1].split(" GB")[0]) == pytest.approx(2 * needed / 1e9, rel=0.05)


@pytest.mark.nnunet
def test_the_processes_that_nnunet_starts() -> None:
    from nnunetv2.experiment_planning import plan_and_preprocess_entrypoints as entrypoints

    code = inspect.getsource(entrypoints.preprocess_entry)
    assert f"default_np = {json.dumps(dict(PROCESSES_OF))}" in code
    assert f"else {OTHER_PROCESSES} for c in args.c" in code
