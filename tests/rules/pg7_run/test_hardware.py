"""The machine of a training: its GPUs, their memory, and the space on its disks."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plansguard.artefacts.data.cases import SAMPLED, bytes_to_unpack, list_folder
from plansguard.commands.train import judge, prepare
from plansguard.core.errors import UsageError
from plansguard.core.free_space import FreeSpace
from plansguard.core.report import Finding, Report, Severity
from plansguard.nnunet.install import gpus
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.rules.pg7_run import hardware
from plansguard.subjects.request import Reading
from plansguard.training.options import Options
from tests.rules.pg7_run.hardware_variants import BATCH
from tests.rules.pg7_run.trainings import CT, FULLRES, PLANS, READY
from tests.support import checkpoints
from tests.support.arrays import npy, npz
from tests.support.data_folders import DATA, old_format
from tests.support.graphics import ADA, AMPERE, PARTED, TURING, install, uuid
from tests.support.training_records import training_values
from tests.support.variants import ROOTS, place, put

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="the program in place of nvidia-smi is a shell script"),
    pytest.mark.workspace(CT, edits=READY),
]


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer without a GPU; `install` adds some."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), "/usr/bin", "/bin"]))
    monkeypatch.setattr(gpus, "_DRIVERS", (str(tmp_path / "proc/version"),))
    monkeypatch.setattr(gpus, "_NVIDIA_GPUS", tmp_path / "proc/gpus")
    return tmp_path


@pytest.fixture
def workspace(workspace: Path, computer: Path) -> Path:
    """A dataset that is ready to be trained, on that computer."""
    return workspace


def judged(*arguments: str, depth: str = "headers", **changes: Any) -> Report:
    """The gate's report on a training of this dataset."""
    values = training_values([CT, "3d_fullres", "0", *arguments])
    run = prepare(Workspace.from_environment(), values, Reading(depth), **changes)
    return judge(run, "gate", ActiveSettings())


def only(report: Report) -> Finding:
    (finding,) = report.findings
    return finding


def reason(report: Report, code: str) -> str:
    """Why a rule was not checked."""
    (skipped,) = (one for one in report.not_checked if one.code == code)
    return skipped.reason


# ---------------------------------------------------------------------------------------------------------------------
# Which GPUs there are
# ---------------------------------------------------------------------------------------------------------------------


def names() -> list[str] | None:
    there = gpus.visible()
    return None if there is None else [gpu.name for gpu in there]


def test_no_driver_no_gpu(computer: Path) -> None:
    assert gpus.visible() == ()


def test_what_nvidia_smi_says(computer: Path) -> None:
    install(computer, ADA, AMPERE)
    first, second = gpus.visible() or ()
    assert (first.uuid, second.uuid) == (uuid(0), uuid(1))


def test_a_gpu_has_a_name_and_memory(computer: Path) -> None:
    install(computer, AMPERE)
    (gpu,) = gpus.visible() or ()
    assert (gpu.uuid, gpu.name) == (uuid(0), "NVIDIA A100-PCIE-40GB")
    assert (gpu.memory, gpu.used) == (40960 * 2**20 / 1e9, 4 * 2**20 / 1e9)


def test_it_is_asked_once(computer: Path) -> None:
    program = install(computer, ADA)
    assert names() == ["NVIDIA GeForce RTX 4090"]
    program.write_text("#!/bin/sh\nexit 1\n")
    assert names() == ["NVIDIA GeForce RTX 4090"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("0,1,2", [0, 1, 2]),
        ("2, 0", [2, 0]),
        ("1", [1]),
        ("1,7,0", [1]),
        ("1,-1,0", [1]),
        ("1,1", []),
        ("nonsense", []),
        ("-1", []),
        ("", []),
        (uuid(2), [2]),
        (f"{uuid(1)},{uuid(0)[:9]}", [1, 0]),
        ("GPU-", []),
        ("MIG-5a1f0c4e", None),
    ],
)
def test_what_cuda_visible_devices_leaves(
    computer: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, found: list[int] | None
) -> None:
    install(computer, ADA, ADA, ADA)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
    there = gpus.visible()
    assert (there is None) == (found is None)
    assert [gpu.uuid for gpu in there or ()] == [uuid(number) for number in found or ()]


def test_numbers_are_ambiguous_where_gpus_differ(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA counts by speed, nvidia-smi by place."""
    install(computer, TURING, ADA)
    assert gpus.visible() == (gpus.Gpu(uuid(0), ""), gpus.Gpu(uuid(1), ""))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus.visible() == (gpus.Gpu(uuid(1), ""),)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", uuid(1))
    assert names() == ["NVIDIA GeForce RTX 4090"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert names() == ["NVIDIA GeForce RTX 4090"]


def test_of_gpus_in_parts_nothing_is_known(computer: Path) -> None:
    install(computer, PARTED)
    assert gpus.visible() is None


def test_memory_that_the_driver_does_not_report(computer: Path) -> None:
    install(computer, "[N/A], {uuid}, [N/A], [Not Supported], NVIDIA GB10")
    assert gpus.visible() == (gpus.Gpu(uuid(0), "NVIDIA GB10"),)


@pytest.mark.parametrize("after", ["exit 9", "kill -9 $$", "printf '\\377'"])
def test_a_program_that_fails(computer: Path, after: str) -> None:
    """The driver lists its GPUs in files, but not their memory."""
    install(computer, ADA, after=after)
    assert gpus.visible() is None
    for bus, number in (("0000:01:00.0", 0), ("0000:21:00.0", 1)):
        folder = computer / "proc/gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(
            f"Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 138\nGPU UUID: \t {uuid(number)}\nBus Type: \t PCIe\n"
        )
    assert gpus.visible() == tuple(gpus.Gpu(uuid(number), "NVIDIA GeForce RTX 4090") for number in (0, 1))


def test_a_program_that_never_answers(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(computer, after="exec sleep 60")
    monkeypatch.setattr(gpus, "_TIMEOUT", 0.2)
    assert gpus.visible() is None


@pytest.mark.parametrize(
    "answer",
    ["exec yes", f"echo 'Disabled, GPU-x, {'9' * 5000}, 0, A'; exit 9", "yes 'Disabled, GPU-x, 1, 1, A' | head -9999"],
    ids=["endless", "digits", "rows"],
)
def test_a_program_that_prints_too_much(computer: Path, answer: str) -> None:
    install(computer, after=answer)
    assert gpus.visible() is None


def test_numbers_that_are_none(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(computer, ADA)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "9" * 5000)
    assert gpus.visible() == ()
    assert gpus._gb("9" * 5000) is None


@pytest.mark.parametrize("memory", [float("nan"), float("inf")])
def test_memory_that_is_no_number(workspace: Path, memory: float) -> None:
    with pytest.raises(UsageError, match="is no amount of memory"):
        judged(gpu_memory=memory)


def test_amds_driver(computer: Path) -> None:
    (computer / "proc").mkdir()
    (computer / "proc/version").touch()
    assert gpus.visible() is None


# ---------------------------------------------------------------------------------------------------------------------
# Their memory
# ---------------------------------------------------------------------------------------------------------------------


def test_how_much_too_small(workspace: Path) -> None:
    """Batches of 64 take 32 times what those of 2 take: 0.70 GB."""
    install(workspace, ADA)
    put(PLANS, BATCH, 64)(workspace, CT)
    assert judged().findings == ()
    for gigabytes, severity in (
        (23.9, None),
        (23.6, Severity.WARNING),
        (17.4, Severity.WARNING),
        (17.2, Severity.ERROR),
    ):
        found = judged(gpu_memory=gigabytes).findings
        assert [finding.severity for finding in found] == ([severity] if severity else []), gigabytes


def test_message_and_fix(workspace: Path) -> None:
    put(PLANS, BATCH, 64)(workspace, CT)
    finding = only(judged(gpu_memory=11.5))
    assert finding.message == ("3d_fullres needs about 22.5 GB by nnU-Net's estimate, the GPU has 11.5 GB")
    assert finding.fix == (
        "a configuration that inherits from 3d_fullres with batch_size 31, which would fit; or plan for this GPU with "
        "-gpu_memory_target"
    )


def test_the_batch_is_divided(workspace: Path) -> None:
    put(PLANS, BATCH, 64)(workspace, CT)
    assert judged("-num_gpus", "2", gpu_memory=12).findings == ()
    finding = only(judged("-num_gpus", "2", gpu_memory=10))
    assert "about 11.3 GB by nnU-Net's estimate" in finding.message
    assert finding.mark == "32 samples of [56, 64, 64] on each GPU"
    assert "batch_size 52," in finding.fix


def test_a_patch_too_large_wants_other_plans(workspace: Path) -> None:
    put(PLANS, f"{FULLRES}/patch_size", [224, 256, 256])(workspace, CT)
    (finding,) = (one for one in judged(gpu_memory=25.5).findings if one.code == "PG711")
    assert finding.severity is Severity.ERROR
    assert finding.fix == (
        "plan for this GPU, under a name of its own: nnUNetv2_plan_experiment -d 2 -pl ExperimentPlanner "
        "-gpu_memory_target 24 -overwrite_plans_name nnUNetPlans_24G"
    )


def test_weights_want_the_same_network(workspace: Path) -> None:
    plans, dataset_json = (
        json.loads(place(workspace, CT, f"preprocessed/{name}.json").read_bytes())
        for name in ("nnUNetPlans", "dataset")
    )
    dataset_json["labels"] = {"background": 0, "tumour": 1}
    checkpoints.write(workspace / "weights.pth", plans, dataset_json)
    report = judged("-pretrained_weights", str(workspace / "weights.pth"), gpu_memory=0.3)
    (finding,) = (one for one in report.findings if one.code == "PG711")
    assert finding.fix == (
        "a configuration that inherits from 3d_fullres with a smaller patch_size, each side a multiple of what the "
        "network pools along it"
    )


def test_memory_that_others_use(workspace: Path) -> None:
    put(PLANS, BATCH, 64)(workspace, CT)
    install(workspace, ADA.replace("394", "20480"))
    finding = only(judged())
    assert finding.severity is Severity.WARNING
    assert finding.message.endswith(", NVIDIA GeForce RTX 4090 has 25.8 GB, of which 21.5 GB are in use")
    assert finding.fix == "wait until that is free, or take another GPU with CUDA_VISIBLE_DEVICES"


def test_the_smallest_gpu_counts(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(workspace, ADA, TURING)
    put(PLANS, BATCH, 64)(workspace, CT)
    assert "--gpu-memory" in reason(judged("-num_gpus", "2"), "PG711")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert "NVIDIA GeForce RTX 2080 Ti has 11.8 GB" in only(judged("-num_gpus", "2")).message
    assert judged().findings == ()


def test_trainings_without_a_gpu(workspace: Path) -> None:
    for arguments in (("-device", "cpu"), ("--val",)):
        assert [one for one in judged(*arguments, gpu_memory=0.1).findings if one.code == "PG711"] == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("network_class_name", "dynamic_network_architectures.architectures.primus.Primus", "Primus"),
        ("network_class_name", "dynamic_network_architectures.architectures.unet.ResidualUNet", "ResidualUNet"),
        ("arch_kwargs/n_stages", 3, "features_per_stage has"),
    ],
)
def test_networks_that_cannot_be_estimated(workspace: Path, path: str, value: Any, said: str) -> None:
    put(PLANS, f"{FULLRES}/architecture/{path}", value)(workspace, CT)
    assert said in reason(judged(gpu_memory=0.1), "PG711")


def test_a_trainer_with_another_network(workspace: Path) -> None:
    report = judged("-tr", "nnUNetTrainerBN", gpu_memory=0.1)
    assert "nnUNetTrainerBN builds another network" in reason(report, "PG711")
    assert "nnUNetTrainerBN builds another network" in reason(report, "PG715")


# ---------------------------------------------------------------------------------------------------------------------
# Devices
# ---------------------------------------------------------------------------------------------------------------------


def test_more_processes_on_another_device(workspace: Path) -> None:
    finding = only(judged("-device", "cpu", "-num_gpus", "2"))
    assert (finding.code, finding.severity) == ("PG714", Severity.ERROR)
    assert finding.message == (
        "this training is to run on the device cpu, and nnU-Net takes -num_gpus 2 with the device cuda only"
    )


def test_apples_device(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert only(judged("-device", "mps")).code == "PG714"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert judged("-device", "mps").findings == ()


def test_a_training_for_another_machine(workspace: Path) -> None:
    finding = only(judged())
    assert finding.message == "this training is to run on 1 GPU, and none can be seen"
    assert "-device cpu" in finding.fix
    assert judged(gpu_memory=24).findings == ()


# ---------------------------------------------------------------------------------------------------------------------
# Disks
# ---------------------------------------------------------------------------------------------------------------------

#: Bytes of one checkpoint of this dataset's 3d_fullres network: 8 for each of its parameters.
CHECKPOINT = 129_759_296
FOLD = f"{ROOTS['results']}/{CT}/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Path]]:
    """Disks with so many bytes free; the list is of the folders that were asked about."""

    def leave(number: int) -> list[Path]:
        asked: list[Path] = []

        def usage(path: Path) -> Any:
            asked.append(path)
            return SimpleNamespace(free=number)

        monkeypatch.setattr(shutil, "disk_usage", usage)
        return asked

    return leave


def on_cpu(*arguments: str, **changes: Any) -> list[tuple[str, Severity]]:
    """Code and severity of what is found."""
    report = judged("-device", "cpu", *arguments, **changes)
    return [(finding.code, finding.severity) for finding in report.findings]


TIGHT, FULL = ("PG715", Severity.WARNING), ("PG715", Severity.ERROR)


def test_room_for_checkpoints(workspace: Path, free: Callable[[int], list[Path]]) -> None:
    asked = free(3 * CHECKPOINT)
    assert on_cpu() == []
    assert workspace / ROOTS["results"] in asked  # the nearest folder that is there
    for room, found in ((3 * CHECKPOINT - 1, TIGHT), (2 * CHECKPOINT, TIGHT), (2 * CHECKPOINT - 1, FULL)):
        free(room)
        assert on_cpu() == [found]
    for arguments in (("--disable_checkpointing",), ("--val",)):
        assert "PG715" not in dict(on_cpu(*arguments))


def test_checkpoints_that_are_there_need_no_room(workspace: Path, free: Callable[[int], list[Path]]) -> None:
    folder = workspace / FOLD
    folder.mkdir(parents=True)
    (folder / "checkpoint_latest.pth").touch()
    free(2 * CHECKPOINT)
    assert TIGHT not in on_cpu("--c")
    (folder / "checkpoint_best.pth").touch()
    free(CHECKPOINT)
    assert {TIGHT, FULL}.isdisjoint(on_cpu("--c"))
    free(CHECKPOINT - 1)
    assert FULL in on_cpu("--c")


def test_room_for_checkpoints_that_are_kept(workspace: Path, free: Callable[[int], list[Path]]) -> None:
    """Only trainers of a number of steps keep some."""
    keeping, steps = Options(save_limit=2), ("-tr", "nnUNetTrainer_5000steps")
    free(4 * CHECKPOINT)
    assert TIGHT in on_cpu(*steps, options=keeping)
    assert TIGHT not in on_cpu(*steps)
    assert TIGHT not in on_cpu(options=keeping)
    free(5 * CHECKPOINT)
    assert TIGHT not in on_cpu(*steps, options=keeping)


def test_what_is_said_of_a_full_disk(workspace: Path, free: Callable[[int], list[Path]]) -> None:
    free(100_000_000)
    finding = only(judged("-device", "cpu"))
    root = workspace / ROOTS["results"]
    assert finding.message == (
        "the checkpoints of this training take 0.39 GB (3 files of 0.13 GB), and 0.10 GB are free"
    )
    assert finding.location.path == str(root)


@pytest.mark.usefixtures("workspace")
def test_what_is_said_of_a_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "free_space", lambda folder: FreeSpace(100_000_000, "the quota of this user"))
    message = only(judged("-device", "cpu")).message
    assert message.endswith("and 0.10 GB are free (the quota of this user)")


def test_a_disk_that_cannot_be_asked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert "is not known: Permission denied" in reason(judged("-device", "cpu"), "PG715")


@pytest.fixture
def packed(workspace: Path) -> Path:
    """The data as nnU-Net up to 2.5 wrote them."""
    old_format()(workspace, CT)
    return place(workspace, CT, f"preprocessed/{DATA}")


def unpack(folder: Path, case: str) -> int:
    """What nnU-Net makes of one case; in bytes."""
    with zipfile.ZipFile(folder / f"{case}.npz") as archive:
        for member, ending in (("data.npy", ".npy"), ("seg.npy", "_seg.npy")):
            (folder / f"{case}{ending}").write_bytes(archive.read(member))
    return sum((folder / f"{case}{ending}").stat().st_size for ending in (".npy", "_seg.npy"))


def test_room_to_unpack(packed: Path, free: Callable[[int], list[Path]]) -> None:
    cases = list_folder(packed).names
    needed = bytes_to_unpack(list_folder(packed))
    for room, found in ((needed, None), (needed - 1, Severity.WARNING), (needed // 2, Severity.ERROR)):
        asked = free(room)
        levels = [severity for code, severity in on_cpu() if code == "PG716"]
        assert levels == ([found] if found else [])
        assert packed in asked
    unpacked = sum(unpack(packed, case) for case in cases)
    assert bytes_to_unpack(list_folder(packed)) == 0
    assert unpacked == pytest.approx(needed, abs=100 * len(cases))  # numpy pads the headers


def test_data_that_stay_packed(workspace: Path, free: Callable[[int], list[Path]]) -> None:
    free(0)
    assert "PG716" not in dict(on_cpu())
    shutil.rmtree(place(workspace, CT, f"preprocessed/{DATA}"))
    assert "is not there yet" in reason(judged("-device", "cpu"), "PG716")


def test_data_that_is_not_to_be_read(packed: Path) -> None:
    assert "--data none" in reason(judged("-device", "cpu", depth="none"), "PG716")


def test_many_archives_are_judged_by_a_few(tmp_path: Path) -> None:
    content = npz({"data": npy((2, 3, 4, 5)), "seg": npy((1, 3, 4, 5), "|i1")})
    for number in range(3 * SAMPLED):
        (tmp_path / f"case_{number:03d}.npz").write_bytes(content)
    each = 2 * 128 + 2 * 60 * 4 + 60
    assert bytes_to_unpack(list_folder(tmp_path)) == 3 * SAMPLED * each
    for number in range(3 * SAMPLED // 2):
        (tmp_path / f"case_{number:03d}.npy").touch()
        (tmp_path / f"case_{number:03d}_seg.npy").touch()
    assert bytes_to_unpack(list_folder(tmp_path)) == 3 * SAMPLED * each // 2
    (tmp_path / "case_191.npz").write_bytes(b"")
    assert 0 < bytes_to_unpack(list_folder(tmp_path)) <= 3 * SAMPLED * each // 2


@pytest.mark.nnunet
def test_what_nnunet_unpacks(tmp_path: Path) -> None:
    import numpy
    from nnunetv2.training.dataloading.utils import unpack_dataset

    numpy.savez_compressed(
        tmp_path / "a.npz", data=numpy.zeros((2, 9, 8, 7), numpy.float32), seg=numpy.zeros((1, 9, 8, 7), numpy.int16)
    )
    expected = bytes_to_unpack(list_folder(tmp_path))
    unpack_dataset(str(tmp_path), num_processes=1)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.npy")) == expected
