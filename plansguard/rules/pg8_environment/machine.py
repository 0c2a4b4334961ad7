"""PG820 to PG826: what a machine, a container or a job lets the processes of a training or preprocessing use."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, repeat, takewhile
from math import ceil, prod
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import Absent, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import counted, in_bytes
from plansguard.nnunet import printed_commands
from plansguard.nnunet.augmentation import Augmentation, augmentation, batch_bytes, processes
from plansguard.nnunet.constants import STOCK_TRAINERS, TRAINERS_WITH_OWN_NETWORK
from plansguard.nnunet.install import gpus
from plansguard.nnunet.network import parameters
from plansguard.nnunet.network.unet import UnknownNetwork, network_of
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import CONFIGURATION, NUMBER, PLANS, folder_to_train_on
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects import machine
from plansguard.subjects.documents import DatasetJson, Fingerprint
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.subjects.training_run import TrainingRun

#: Seconds since another process unpacked a case, while it probably unpacks the next ones.
_JUST_NOW = 60
_MEBIBYTE = 2**20
#: Bytes of a process that preprocesses, without its case.
_PROGRAM = 250_000_000
#: Open files that most systems allow.
_ENOUGH_FILES = 1024


@rule(
    "PG820",
    Severity.WARNING,
    message="/dev/shm has {room}, and {contents}",
    fix="in a container, start it with --ipc=host or --shm-size={size}m; elsewhere make /dev/shm larger, or augment in "
    "the main process, which is slower: export nnUNet_n_proc_DA=0",
)
def shared_memory_too_small(
    run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson
) -> Iterator[Found]:
    """The shared memory is too small for the batches that nnU-Net's processes hand over.

    What it checks: for a training with processes for augmentation, the free space of `/dev/shm` against the batches
    that are in it while the queues of both loaders are full: 22 on the CPU, 11 with CUDA, which copies them. A batch
    has 4 bytes for each voxel and channel, and 2 for its label. An error if `/dev/shm` is smaller than one batch, with
    nnU-Net's own trainers.

    Why it matters: a batch without room is thrown away; if none has room, the training waits for its first one forever.
    nnU-Net prints `unable to allocate shared memory(shm) for file </torch_...>: No space left on device (28)` each
    time. Older releases of torch end with a bus error, and nnU-Net with `One or more background workers are no longer
    alive`.

    How to fix: Docker gives 64 MB. `docker run --ipc=host` shares the memory of the host; `--shm-size` gives another
    size.

    Example: plans with a batch of 2 patches of 128 voxels in each direction and 4 channels, of which one has 76 MB, in
    a container with 64 MB.

    Evidence: PP-10; nnU-Net issues 1898, 2595, 1343; measured with nnU-Net 2.8.1 and torch 2.15 in namespaces with a
    small `/dev/shm`.
    """
    loaders, shared = _loaders(run, configuration, dataset_json), _machine(run).shared
    if loaders is None:
        return
    if shared is None:
        raise Absent("the size of the shared memory is not known here")
    batches = loaders.shared_batches(pinned=run.device == "cuda") * run.gpus
    needed, never = batches * loaders.batch, shared.total < loaders.batch
    if shared.free < needed:
        one = f"a single batch takes {in_bytes(loaders.batch)}"
        yield found(
            configuration.at("batch_size"),
            severity=Severity.ERROR if never and run.base_trainer in STOCK_TRAINERS else None,
            room=f"{in_bytes(shared.total)}, of which {in_bytes(shared.free)} are free",
            contents=one if never else f"{batches} batches of {in_bytes(loaders.batch)} take {in_bytes(needed)}",
            size=ceil(needed / _MEBIBYTE),
        )


@rule(
    "PG821",
    Severity.WARNING,
    message="{memory} of memory can be used ({source}), and the training takes at least {needed} with {processes} for "
    "augmentation",
    fix="ask for more memory, or take fewer processes: export nnUNet_n_proc_DA={fewer}",
)
def memory_too_small_for_processes(
    run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson
) -> Iterator[Found]:
    """The job or container has too little memory for the processes that augment.

    What it checks: the memory of the machine, of its control groups (Docker, Kubernetes, SLURM) and of the variables of
    SLURM, the smallest of them, against the least that a training takes. nnU-Net starts 12 processes for the training
    unless `nnUNet_n_proc_DA` names another number or the machine has fewer cores, and half as many for its validation,
    on each GPU. Each takes 4 batches or more, the main process 0.55 GB, and full queues are memory as well. A trainer
    of a number of steps copies its checkpoint, which has 8 bytes per parameter. Data of nnU-Net up to 2.5 (`.npz`) that
    are not unpacked yet are unpacked before the first epoch, by half as many processes as augment, with one array each.
    Memory of CUDA and of cached images is not counted, so that a training may need several times as much.

    Why it matters: the system kills a process after minutes or days, and no message names memory. nnU-Net only says:
    `One or more background workers are no longer alive`.

    How to fix: ask for more memory. Fewer processes take less and, where they are as many as cores, are hardly slower.

    Example: `sbatch --mem=2G` on a node with many cores, where nnU-Net starts 18 processes.

    Evidence: PP-10; nnU-Net issues 2863, 2626, 2162; memory of real processes measured with nnU-Net 2.8.1.
    """
    loaders, memory = _loaders(run, configuration, dataset_json), _machine(run).memory
    if loaders is None:
        return
    if memory is None:
        raise Absent("the memory that can be used is not known here")
    packed, copied = _packed(run, configuration), _copied(run, configuration, dataset_json)
    numbers = range(loaders.training.processes, 0, -1)
    least = {number: copied + _memory(run, augmentation(number, loaders.batch), packed) for number in numbers}
    needed = least[loaders.training.processes]
    if memory.amount < needed:
        yield found(
            run.at,
            memory=in_bytes(int(memory.amount)),
            source=memory.source,
            processes=_processes(loaders.processes * run.gpus),
            needed=in_bytes(needed),
            fewer=max((number for number in numbers if least[number] <= memory.amount), default=0),
        )


@rule(
    "PG822",
    Severity.INFO,
    message="{cores} can be used ({source}), and nnU-Net starts {processes} for augmentation",
    fix="as many as cores are enough, and take less memory: export nnUNet_n_proc_DA={enough}",
)
def more_processes_than_cores(run: TrainingRun) -> Iterator[Found]:
    """There are more processes for augmentation than cores.

    What it checks: the cores that may be used, by the affinity of the process (`taskset`, SLURM), its control groups
    (Docker, Kubernetes) and the variables of SLURM, the fewest of them, against the processes for training on all GPUs.
    Old data (`.npz`) are unpacked by half as many processes, so that they are covered as well.

    Why it matters: nnU-Net counts the cores of the machine and not those of the job. More processes than cores augment
    no faster, and each takes memory (PG821).

    How to fix: ask for as many cores as nnU-Net starts processes, or set `nnUNet_n_proc_DA`.

    Example: a job of SLURM without `--cpus-per-task` gets one core of a node with 64. nnU-Net starts 12 processes.

    Evidence: PP-10; nnU-Net issues 2863, 2626; utilities/default_n_proc_DA.py.
    """
    number, cores = processes(os.environ) * run.gpus, _machine(run).cores
    if cores is None:
        raise Absent("the number of cores that can be used is not known here")
    if not run.validates and number > max(1, cores.amount):
        enough = max(1, int(cores.amount) // run.gpus)
        yield found(
            run.at,
            cores=machine.in_cores(cores.amount),
            source=cores.source,
            processes=_processes(number),
            enough=enough,
        )


@rule(
    "PG823",
    Severity.WARNING,
    message="a process may open {most} files, and the main process of this training opens about {needed}",
    fix="ulimit -n {enough}",
)
def too_few_open_files(run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson) -> Iterator[Found]:
    """A process may open too few files for the batches that nnU-Net's processes hand over.

    What it checks: the limit of open files (`ulimit -n`) against one file for each array of the batches that wait in
    the main process: the images, and the segmentation in every resolution.

    Why it matters: the training stops with `RuntimeError: received 0 items of ancdata` or `Too many open files`. The
    last line is `One or more background workers are no longer alive`.

    How to fix: raise the limit in the shell or in the script of the job.

    Example: `ulimit -n 64` on a shared machine.

    Evidence: PP-10; measured with nnU-Net 2.8.1, whose main process had 76 open files for a network of 5 stages.
    """
    loaders, most = _loaders(run, configuration, dataset_json), _machine(run).open_files
    if loaders is None:
        return
    if most is None:
        raise Absent("the number of files that can be opened is not known here")
    try:
        needed = loaders.open_files(len(network_of(configuration.architecture).strides))
    except UnknownNetwork as error:
        raise Absent(error.reason) from error
    if most < needed:
        yield found(run.at, most=most, needed=needed, enough=_ENOUGH_FILES)


@rule(
    "PG824",
    Severity.WARNING,
    message="{left} of {cases} are not unpacked yet, and one was unpacked {seconds} s ago: another training seems to "
    "unpack them",
    fix="wait until the other training is in its first epoch; or preprocess again with nnU-Net 2.6 or later, whose "
    "data are not unpacked: " + printed_commands.preprocess(NUMBER, PLANS, CONFIGURATION),
)
def another_training_unpacks(run: TrainingRun, configuration: Configuration) -> Iterator[Found]:
    """Another training is unpacking the preprocessed data.

    What it checks: for data of nnU-Net up to 2.5 (`.npz`), whether some cases are not unpacked while another `.npy` of
    the folder was written in the last minute.

    Why it matters: two trainings that unpack into one folder read each other's unfinished files and delete them. They
    stop with `No data left in file` or `FileNotFoundError`, or `One or more background workers are no longer alive`.

    How to fix: start one fold, and the others when it trains.

    Example: five folds that a script starts at once after the data were copied to a new machine.

    Evidence: PP-10; nnU-Net issue 1870; unpack_dataset in training/dataloading/utils.py of nnU-Net 2.8.1.
    """
    from plansguard.artefacts.data.cases import times_of_unpacking  # needed by trainings only

    folder = folder_to_train_on(run.dataset, configuration)
    times = times_of_unpacking(folder)
    left, seconds = len(folder.names) - len(times), time.time() - max(times, default=0)
    if left and 0 <= seconds < _JUST_NOW:
        cases = counted(len(folder.names), "case")
        yield found(Location(str(folder.path)), left=left, cases=cases, seconds=int(seconds))


@rule(
    "PG825",
    Severity.WARNING,
    message="{memory} of memory can be used ({source}), and the largest cases take at least {needed} in {processes}",
    fix="{remedy}",
    roles=PREPROCESSED,
)
def memory_too_small_for_preprocessing(
    plans: Plans,
    configuration: Configuration,
    dataset_json: DatasetJson,
    fingerprint: Fingerprint,
    processes: int,
) -> Iterator[Found]:
    """The job or container has too little memory for the processes that preprocess.

    What it checks: before a preprocessing on this machine, the memory of the machine, of its control groups and of
    SLURM's variables, the smallest of them, against the least that the processes take while each has one of the largest
    cases: 0.25 GB, and the case twice as it is read, or once before and once after resampling, with 4 bytes for each
    voxel and channel. Resampling takes several times as much.

    Why it matters: the system kills a process, and nnU-Net stops with `Some background worker is 6 feet under`. No
    message names memory. It has deleted the earlier data by then.

    How to fix: ask for more memory, or take fewer processes (`-np`).

    Example: `sbatch --mem=4G`, and the 8 processes of `2d` for images of 512 x 512 x 600 voxels.

    Evidence: PP-10; nnU-Net issues 2592, 2779; 0.9 GB and 1.7 GB measured with nnU-Net 2.8.1 where this is 0.5 GB: a
    case of 28 million voxels that is not resampled, and one that is.
    """
    memory, cases = machine.here().memory, _bytes_of_cases(plans, configuration, dataset_json, fingerprint)
    if memory is None:
        raise Absent("the memory that can be used is not known here")
    needed = sum(cases[:processes]) + processes * _PROGRAM
    if memory.amount < needed:
        totals = accumulate(case + _PROGRAM for case in chain(cases, repeat(0.0)))
        fewer = len([*takewhile(lambda total: total <= memory.amount, totals)])
        yield found(
            configuration.at(),
            memory=in_bytes(int(memory.amount)),
            source=memory.source,
            processes=_processes(processes),
            needed=in_bytes(int(needed)),
            remedy=f"take fewer processes: {_with(fewer, plans, configuration)}" if fewer else "ask for more memory",
        )


@rule(
    "PG826",
    Severity.INFO,
    message="{cores} can be used ({source}), and nnU-Net starts {processes} to preprocess",
    fix="as many as cores are enough, and take less memory: {command}",
    roles=PREPROCESSED,
)
def more_processes_than_cores_to_preprocess(
    plans: Plans, configuration: Configuration, processes: int
) -> Iterator[Found]:
    """There are more processes to preprocess than cores.

    What it checks: before a preprocessing on this machine, the cores that may be used, as PG822 counts them, against
    `-np`. Without `-np`, nnU-Net starts 8 processes for `2d` and `3d_lowres`, and 4 for all others. A machine that is
    small as a whole is not reported.

    Why it matters: more processes than cores preprocess no faster, and each takes memory (PG825).

    How to fix: ask for as many cores as nnU-Net starts processes, or give `-np`.

    Example: a job of SLURM without `--cpus-per-task`, which gets one core.

    Evidence: PP-10; nnU-Net issue 2626; experiment_planning/plan_and_preprocess_entrypoints.py.
    """
    cores = machine.here().cores
    if cores is None:
        raise Absent("the number of cores that can be used is not known here")
    if cores.source != machine.WHOLE and processes > max(1, cores.amount):
        enough = max(1, int(cores.amount))
        yield found(
            configuration.at(),
            cores=machine.in_cores(cores.amount),
            source=cores.source,
            processes=_processes(processes),
            command=_with(enough, plans, configuration),
        )


def _with(processes: int, plans: Plans, configuration: Configuration) -> str:
    """The preprocessing by so many processes; only the option before the plans are written, as in a road."""
    if not disk.is_file(plans.path):
        return f"-np {processes}"
    dataset = plans.path.absolute().parent.name
    return printed_commands.preprocess(dataset, plans.identifier, configuration.name, processes=processes)


def _bytes_of_cases(
    plans: Plans, configuration: Configuration, dataset_json: DatasetJson, fingerprint: Fingerprint
) -> list[float]:
    """The least that each case takes while it is preprocessed, largest first, without the process itself."""
    order, spacing = plans.require("transpose_forward"), configuration.require("spacing")
    if None in spacing or min(spacing, default=0) <= 0 or len(spacing) not in (2, 3):
        raise Absent(f"configuration {configuration.name} has no spacing that images could be resampled to")
    resampled = fingerprint.sizes_at(spacing, order)
    resampled += [fingerprint.shapes[axis] for axis in order[: 3 - len(spacing)]]  # the slices of a 2D configuration
    channels = len(dataset_json.channels)
    sizes = zip(map(prod, zip(*fingerprint.shapes, strict=True)), map(prod, zip(*resampled, strict=True)), strict=True)
    return sorted((4 * channels * (before + max(before, after)) for before, after in sizes), reverse=True)


def _machine(run: TrainingRun) -> machine.Machine:
    """What the training may use here; Absent if it is for another machine, as `fewer_gpus_than_asked` judges."""
    if run.device == "cuda" and run.gpu_memory is not None and gpus.visible() == ():
        raise Absent("the training is for another machine: there is no GPU here, and --gpu-memory is given")
    return machine.here()


def _loaders(run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson) -> Augmentation | None:
    """The loaders of one GPU; None if no processes augment, or nothing is trained."""
    number = processes(os.environ)
    if run.validates or number < 1:
        return None
    try:
        channels = parameters.input_channels(configuration.resolved, dataset_json.value)
    except UnknownNetwork as error:
        raise Absent(error.reason) from error
    batch_size = max(1, configuration.require("batch_size") // run.gpus)
    return augmentation(number, batch_bytes(batch_size, channels, configuration.require("patch_size")))


def _memory(run: TrainingRun, loaders: Augmentation, packed: Sequence[int]) -> int:
    """The bytes of the processes on all GPUs, and of those that unpack arrays while the queues of the others are full.

    Source: on_train_start in training/nnUNetTrainer/nnUNetTrainer.py of nnU-Net 2.8.1.
    """
    unpacked = min(len(packed), max(1, loaders.training.processes // 2))
    unpacking = unpacked * sum(packed) // max(1, len(packed))
    return loaders.memory(pinned=run.device == "cuda") * run.gpus + unpacking


def _packed(run: TrainingRun, configuration: Configuration) -> list[int]:
    """The bytes of arrays that are unpacked before the first epoch; none where the data are not there, or not read."""
    from plansguard.artefacts.data.cases import largest_to_unpack  # needed by trainings only

    folder = known(lambda: folder_to_train_on(run.dataset, configuration))
    return [] if folder is None else largest_to_unpack(folder)


def _copied(run: TrainingRun, configuration: Configuration, dataset_json: DatasetJson) -> int:
    """The bytes of the checkpoint that a trainer of a number of steps copies before it is written."""
    if run.steps is None or run.disables_checkpointing or run.base_trainer in TRAINERS_WITH_OWN_NETWORK:
        return 0
    try:
        return parameters.checkpoint_bytes(configuration.resolved, configuration.architecture, dataset_json.value)
    except (Absent, UnknownNetwork):
        return 0


def _processes(number: int) -> str:
    return "1 process" if number == 1 else f"{number} processes"
