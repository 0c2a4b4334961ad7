"""PG711 to PG716, PG740: the GPUs, their memory, the disk space and the processes that a training takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plansguard.core import disk
from plansguard.core.errors import Absent
from plansguard.core.free_space import FreeSpace, free_space
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, counted, quoted, whole
from plansguard.nnunet import constants, printed_commands
from plansguard.nnunet.install import gpus
from plansguard.nnunet.network import parameters
from plansguard.nnunet.network.gpu_memory import estimated_gigabytes, feature_map_elements, yardstick
from plansguard.nnunet.network.unet import UnknownNetwork
from plansguard.nnunet.printed_commands import ShellText
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import CONFIGURATION, NUMBER, PLANS, folder_to_train_on, yielded
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.plans import Configuration
from plansguard.training.kept_checkpoints import kept_in

if TYPE_CHECKING:
    from plansguard.subjects.training_run import TrainingRun

#: Shares of a GPU's memory. nnU-Net's own plans for this very GPU take 94 %; the estimate is good to about a fifth.
_TIGHT, _HOPELESS = 0.95, 1.3
_IN_USE = "wait until that is free, or take another GPU with CUDA_VISIBLE_DEVICES"
#: nnU-Net never plans for fewer samples.
_LEAST_BATCH = 2
#: Share of the estimated need below which the disk is too small even if the cases that were not read are smaller.
_SURELY_TOO_LITTLE = 0.8


class _Memory(NamedTuple):
    """Memory in GB of the smallest GPU that takes part; ``others`` is in use now."""

    name: str
    total: float
    others: float

    @property
    def room(self) -> float:
        """What a training may take without a finding."""
        return max(0.0, min(_TIGHT * self.total, self.total - self.others))


@rule(
    "PG711",
    Severity.WARNING,
    message="{configuration} needs about {needed:.1f} GB by nnU-Net's estimate, {gpu} has {memory:.1f} GB{in_use}",
    mark="{samples} of {patch_size} on each GPU",
    fix="plan for this GPU, under a name of its own: "
    + printed_commands.plan_experiment(
        NUMBER, yielded("planner"), memory=yielded("target"), name=ShellText("{plans}_{target}G")
    ),
)
def gpu_memory_too_small(run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson) -> Iterator[Found]:
    """The training takes more memory than the GPU has.

    What it checks: the estimate by which nnU-Net's planners choose patch and batch size, for this network, patch and
    batch, against the memory of the smallest GPU that takes part, from `--gpu-memory`, else from `nvidia-smi`. Several
    GPUs share the batch. A warning above 95 % of the memory or above what others leave of it, an error above 130 %. The
    estimate is good to about a fifth: nnU-Net's authors measured 7.7 to 9.1 GB for 8, and 22.7 for 24.

    Why it matters: the training stops with `CUDA out of memory`, in its first minutes or after many epochs. The latter
    happens if the patch only just fits. nnU-Net plans for 8 GB, or the preset's target, whatever GPU is there.

    How to fix: plan for the GPU with `-gpu_memory_target` or a smaller preset. If the network must not change, because
    pretrained weights are loaded, write a configuration that inherits from this one, with a smaller `batch_size` or
    `patch_size`; each side of the patch a multiple of what the network pools along it.

    Example: plans of `nnUNetPlannerResEncL`, made for 24 GB, on a GPU with 11 GB.

    Evidence: RT-01; nnU-Net issues 2814, 2719, 2075, 2339, 658.
    """
    if run.device != "cuda" or run.validates:
        return
    gpu, samples = _memory(run), ceil(configuration.require("batch_size") / run.gpus)
    by, needed = gpu_memory_needed(run, configuration, dataset_json, samples)
    if needed <= gpu.room:
        return
    fits = int(gpu.room / needed * samples) * run.gpus
    planner = run.plans.value.get("experiment_planner_used")
    yield found(
        configuration.at("batch_size"),
        severity=Severity.ERROR if needed > _HOPELESS * gpu.total else None,
        fix=_IN_USE if needed <= _TIGHT * gpu.total else _with_this_network(run, fits),
        needed=needed,
        patch_size=brief(configuration.require("patch_size")),
        samples=counted(samples, "sample"),
        gpu=gpu.name,
        memory=round(gpu.total, 2),
        in_use=f", of which {gpu.others:.1f} GB are in use" if gpu.others > (1 - _TIGHT) * gpu.total else "",
        planner=planner if planner in constants.YARDSTICKS else constants.YARDSTICK_OF_NETWORK[by.network],
        target=max(1, int(gpu.room)),
        fits=fits,
    )


@rule(
    "PG712",
    Severity.ERROR,
    message="a batch_size of {batch_size} cannot be divided among {gpus} GPUs",
    fix="-num_gpus {batch_size}, or a configuration that inherits from {configuration} with a batch_size of "
    "{gpus} or more",
)
def batch_smaller_than_gpus(run: TrainingRun, configuration: Configuration) -> Iterator[Found]:
    """There are more GPUs than samples in a batch.

    What it checks: `-num_gpus` against the `batch_size` of the configuration.

    Why it matters: every process stops: `AssertionError: Cannot run DDP if the batch size is smaller than the number of
    GPUs... Duh.`. nnU-Net divides the batch among the GPUs, it does not give a batch to each.

    How to fix: take fewer GPUs, or write a configuration that inherits from this one with a larger `batch_size`.

    Example: `-num_gpus 4` with the batch of 2 that most 3D plans have.

    Evidence: RT-02; nnU-Net issue 856.
    """
    batch_size = configuration.require("batch_size")
    if run.device == "cuda" and run.gpus > max(1, batch_size):
        yield found(configuration.at("batch_size"), batch_size=batch_size, gpus=run.gpus)


@rule(
    "PG713",
    Severity.WARNING,
    message="the {gpus} GPUs divide a batch_size of {batch_size} into {shares}",
    fix="a configuration that inherits from {configuration} with batch_size {better}, or {fewer}",
)
def batch_uneven_on_gpus(run: TrainingRun, configuration: Configuration) -> Iterator[Found]:
    """The batch is divided unevenly among the GPUs, or each of them gets a single sample.

    What it checks: `-num_gpus` against the `batch_size` of the configuration, if each GPU gets a sample.

    Why it matters: all GPUs wait for the one with the most samples, or are hardly used by a single sample each. Samples
    on the others have more weight, because gradients are averaged over GPUs. With a single sample each, a batch norm
    has nothing to average.

    How to fix: make the batch a multiple of the number of GPUs, in a configuration that inherits from this one; with as
    many samples on each GPU as planned for one, memory is used as planned.

    Example: a batch of 2 on two GPUs, in the hope that it trains twice as fast.

    Evidence: RT-02; nnU-Net issues 1516, 2482, 1485.
    """
    batch_size = configuration.require("batch_size")
    if run.device != "cuda" or run.validates or not 1 < run.gpus <= batch_size:
        return
    least, more = divmod(batch_size, run.gpus)
    if more or least == 1:
        yield found(
            configuration.at("batch_size"),
            batch_size=batch_size,
            gpus=run.gpus,
            shares=f"{least} or {least + 1} samples each" if more else "1 sample each",
            better=max(least, _LEAST_BATCH) * run.gpus,
            fewer=_fewer_gpus(batch_size, run.gpus),
        )


def _fewer_gpus(batch_size: int, gpus: int) -> str:
    """The largest number of GPUs with even shares of two samples or more, as an option."""
    fewer = [number for number in range(gpus - 1, 0, -1) if batch_size % number == 0 and batch_size // number > 1]
    return f"-num_gpus {fewer[0]}" if fewer else "a single GPU"


@rule(
    "PG714",
    Severity.ERROR,
    message="this training is to run on {asked}, and {trouble}",
    fix="{remedy}",
)
def fewer_gpus_than_asked(run: TrainingRun) -> Iterator[Found]:
    """The requested device or number of GPUs is not available.

    What it checks: for `-device cuda`, nnU-Net's default, that as many GPUs are visible as `-num_gpus` requests, if the
    driver can be asked; that another device has one process; and that `mps` is used on a Mac. With `--gpu-memory` on a
    machine without a GPU, the training is assumed to be for another machine.

    Why it matters: nnU-Net loads for some seconds and stops, for example with `Found no NVIDIA driver on your system`.
    Other messages are `Torch not compiled with CUDA enabled` and `invalid device ordinal`.

    How to fix: on a machine without a GPU take `-device cpu`. On a login node, where a job for another machine is only
    judged, give the memory of that machine's GPU with `--gpu-memory`. In a job, request as many GPUs from the queue as
    `-num_gpus`; CUDA_VISIBLE_DEVICES names those that the job may use.

    Example: a job was given one GPU, and the command has `-num_gpus 2`.

    Evidence: nnU-Net issues 1365, 1635, 2940.
    """
    asked = counted(run.gpus, "GPU") if run.device == "cuda" else f"the device {run.device}"
    if run.device != "cuda" and run.gpus > 1:
        trouble = f"nnU-Net takes -num_gpus {run.gpus} with the device cuda only"
        yield found(run.at, asked=asked, trouble=trouble, fix="-device cuda, or leave -num_gpus out")
    elif run.device == "mps" and sys.platform != "darwin":
        yield found(run.at, asked=asked, trouble="this is no Mac", fix="-device cuda, or -device cpu")
    elif run.device == "cuda":
        visible = gpus.visible()
        if visible is None or len(visible) >= run.gpus or not (visible or run.gpu_memory is None):
            return
        remedy = f"-num_gpus {len(visible)}" if visible else "without a GPU: -device cpu"
        if not visible:
            remedy += f"; if the training is for another machine: {_judged_for_another(run)}"
        remedy = f"check nvidia-smi and CUDA_VISIBLE_DEVICES; {remedy}"
        yield found(run.at, asked=asked, trouble=f"{len(visible) or 'none'} can be seen", remedy=remedy)


@rule(
    "PG715",
    Severity.WARNING,
    message="the checkpoints of this training take {needed:.2f} GB ({files} of {size:.2f} GB), and {free:.2f} "
    "GB are free{by_quota}",
    fix="make room there, or set nnUNet_results to another disk",
)
def disk_too_small(run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson) -> Iterator[Found]:
    """The disk is too small for the checkpoints.

    What it checks: the free space under `nnUNet_results` against the checkpoints that are not there yet. Each contains
    the weights and their momentum, 8 bytes per parameter; `checkpoint_best.pth`, `checkpoint_latest.pth` and those of
    `--save-total-limit` exist while `checkpoint_final.pth` is written. An error if the best and the final one have no
    room. Quotas of a project, user or group count on local file systems (Linux 5.14 or later), but not those that only
    a server knows, as with NFS, Lustre, GPFS and BeeGFS: ask `quota`, `lfs quota`, `mmlsquota` or `beegfs-ctl`.
    Predictions and optimizers with more than a momentum are not counted.

    Why it matters: a checkpoint that cannot be written ends the training, after hours or days. nnU-Net's own trainers
    lose the file that had its name.

    How to fix: make room, or set `nnUNet_results` to a larger disk.

    Example: a home folder with 1 GB left, and nnU-Net's 3D networks, whose checkpoints take 250 MB to 1 GB each.

    Evidence: RT-05; nnU-Net issue 1768.
    """
    if run.validates or run.disables_checkpointing:
        return
    space, place = _free(run.output_folder)
    free = space.amount
    size = checkpoint_size(run, configuration, dataset_json)
    missing = [name for name in constants.CHECKPOINTS if not disk.is_there(run.output_folder / name)]
    certain = max(1, len([name for name in missing if "latest" not in name]))
    likely = max(1, len(missing)) + _left_to_keep(run)
    if free < likely * size:
        yield found(
            Location(str(place)),
            severity=Severity.ERROR if free < certain * size else None,
            place=quoted(place),
            free=_gb(free),
            by_quota=space.by_quota,
            needed=_gb(likely * size),
            files=counted(likely, "file"),
            size=_gb(size),
        )


@rule(
    "PG716",
    Severity.WARNING,
    message="nnU-Net unpacks {needed:.2f} GB here before it trains, and {free:.2f} GB are free{by_quota}",
    fix="make room there, or preprocess again with nnU-Net 2.6 or later, whose data are not unpacked: "
    + printed_commands.preprocess(NUMBER, PLANS, CONFIGURATION),
)
def no_room_to_unpack(run: TrainingRun, configuration: Configuration) -> Iterator[Found]:
    """The disk is too small for data that nnU-Net unpacks.

    What it checks: for data of nnU-Net up to 2.5 (`.npz`), the sizes of the arrays that are not unpacked yet, against
    the free space, as PG715 counts it. Up to 64 archives are read. An error if not even four fifths have room.

    Why it matters: nnU-Net unpacks every case before the first epoch, also 2.8. On a full disk it stops with `OSError:
    ... requested and 0 written`, and leaves the disk full.

    How to fix: make room, or preprocess again: since 2.6 the data are read as they are packed.

    Example: 60 GB of `.npz`, which unpack to 150 GB, on a disk with 100 GB left.

    Evidence: RT-05; nnU-Net issue 1768.
    """
    from plansguard.artefacts.data.cases import bytes_to_unpack  # needed by trainings only

    folder = folder_to_train_on(run.dataset, configuration)
    needed = bytes_to_unpack(folder)
    space, _ = _free(folder.path)
    if space.amount < needed:
        yield found(
            Location(str(folder.path)),
            severity=Severity.ERROR if space.amount < _SURELY_TOO_LITTLE * needed else None,
            folder=quoted(folder.path),
            free=_gb(space.amount),
            by_quota=space.by_quota,
            needed=_gb(needed),
        )


@rule(
    "PG740",
    Severity.ERROR,
    message="{variable} is {value}, and nnU-Net needs {least} or more",
    fix="unset it, or run the command with another value: {command}",
)
def no_process_for_the_work(run: TrainingRun) -> Iterator[Found]:
    """A variable takes the processes away that nnU-Net trains or validates with.

    What it checks: that `nnUNet_def_n_proc` is 1 or more and `nnUNet_n_proc_DA` is 0 or more, where they are set.

    Why it matters: the final validation stops after all epochs, or the training waits for its first batch forever. The
    final validation opens a pool of `nnUNet_def_n_proc` processes: with 0 it stops with `ValueError: Number of
    processes must be at least 1`. With a negative number of processes for augmentation, the training waits.

    How to fix: unset the variable. For augmentation in the main process, `nnUNet_n_proc_DA=0` is right.

    Example: `nnUNet_def_n_proc=0`, by analogy with `nnUNet_n_proc_DA=0`.

    Evidence: measured with nnU-Net 2.8.1; perform_actual_validation and get_dataloaders of nnUNetTrainer.
    """
    for variable, least in ((constants.PROCESSES, 1), (constants.DA_PROCESSES, 0)):
        number = whole(os.environ.get(variable))
        if number is not None and number < least:
            command = f"env -u {variable} {run.command()}".replace(f" {variable}={os.environ[variable]}", "")
            yield found(run.at, variable=variable, value=number, least=least, command=command)


def _memory(run: TrainingRun) -> _Memory:
    if run.gpu_memory is not None:
        return _Memory("the GPU", run.gpu_memory, 0)
    visible = gpus.visible()
    if visible == ():
        raise Absent("there is no GPU here; --gpu-memory gives the memory of another machine's GPU")
    known = [gpu for gpu in (visible or ())[: run.gpus] if gpu.memory is not None]
    if not known:
        raise Absent("the memory of the GPU is not known; --gpu-memory gives it")
    return min((_Memory(gpu.name, gpu.memory or 0, gpu.used or 0) for gpu in known), key=lambda memory: memory.room)


def gpu_memory_needed(
    run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson, samples: int
) -> tuple[constants.Yardstick, float]:
    """What one GPU needs for this many samples, in GB, and the yardstick; Absent if the network is not known."""
    _check_planned(run)
    architecture, patch_size = configuration.architecture, configuration.require("patch_size")
    try:
        by = yardstick(architecture, run.plans.value.get("experiment_planner_used"))
        elements = feature_map_elements(architecture, patch_size, parameters.segmentation_heads(dataset_json.value))
    except UnknownNetwork as error:
        raise Absent(error.reason) from error
    return by, round(estimated_gigabytes(elements, samples, len(patch_size), by), 2)


def checkpoint_size(run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson) -> int:
    """Bytes of one checkpoint; Absent if the network is not known."""
    _check_planned(run)
    try:
        return parameters.checkpoint_bytes(configuration.resolved, configuration.architecture, dataset_json.value)
    except UnknownNetwork as error:
        raise Absent(error.reason) from error


def _left_to_keep(run: TrainingRun) -> int:
    """How many more checkpoints a trainer of a number of steps keeps beside its newest one."""
    limit = 0 if run.steps is None else run.options.save_limit
    return max(0, limit - len(kept_in(run.output_folder))) if limit else 0


def _check_planned(run: TrainingRun) -> None:
    """Raise Absent for trainers that do not train the network of the plans."""
    if run.base_trainer in constants.TRAINERS_WITH_OWN_NETWORK:
        raise Absent(f"{run.base_trainer} builds another network than the plans name")


def _with_this_network(run: TrainingRun, fits: int) -> str | None:
    """The fix if the network must not change, or a smaller batch is enough; None if new plans are better."""
    smaller = "a configuration that inherits from {configuration} with "
    if fits >= _LEAST_BATCH * run.gpus:
        return smaller + "batch_size {fits}, which would fit; or plan for this GPU with -gpu_memory_target"
    if run.weights is not None:
        return smaller + "a smaller patch_size, each side a multiple of what the network pools along it"
    return None


def _gb(number_of_bytes: int) -> float:
    return round(number_of_bytes / 1e9, 2)


def _judged_for_another(run: TrainingRun) -> str:
    """The command that only judges the training, for a GPU of another machine."""
    typed = run.dataset.request.typed
    if typed.in_road:
        return "add --gpu-memory GB"
    return run.command(options=[*["--dry-run"] * ("--dry-run" not in typed.shared), "--gpu-memory", "GB"])


def _free(path: Path) -> tuple[FreeSpace, Path]:
    """The space at ``path``, which need not exist, and the nearest folder above it that exists."""
    existing = next(folder for folder in (path, *path.absolute().parents) if disk.is_there(folder))
    try:
        return free_space(existing), existing
    except OSError as error:
        raise Absent(f"the free space is not known: {error.strerror}") from error
