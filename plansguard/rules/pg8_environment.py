"""PG8xx: the nnU-Net and the torch that are installed here. Machines without nnU-Net have nothing to judge."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard.core.errors import Absent
from plansguard.core.report import Location, Severity
from plansguard.core.text import quoted
from plansguard.nnunet.install import packages
from plansguard.nnunet.install.python_sources import folder_of
from plansguard.nnunet.install.trainer_folder import OLDEST_NNUNET
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.subjects.training_run import TrainingRun

#: The first releases that rebuild old residual plans with the right keyword; that predict with torch 2.6; that take
#: pretrained weights with it.
_REBUILDS_RESIDUAL = (2, 5, 1)
_PREDICTS_WITH_NEW_TORCH = (2, 5, 2)
_FINE_TUNES_WITH_NEW_TORCH = (2, 6)
#: The first release whose learning rates torch 2.7 can set.
_SCHEDULES_WITH_NEW_TORCH = (2, 6)
_TORCH_OF_OTHER_SCHEDULERS = (2, 7)
#: In 3D it is several times slower than those before and after it; newer nnU-Nets exclude it.
_SLOW_TORCH = (2, 9)
#: From here on torch.load refuses what is not plain tensors, unless it is told not to.
_STRICT_TORCH = (2, 6)


@rule(
    "PG801",
    "old-residual-plans-under-old-nnunet",
    Severity.ERROR,
    message="{configuration} is a ResidualEncoderUNet in the old format, which nnU-Net {version}, installed here, "
    "rebuilds with the wrong keyword",
    fix="update: pip install --upgrade nnunetv2",
    modes=("VR-02",),
)
def old_residual_plans_under_old_nnunet(configuration: Configuration) -> Iterator[Found]:
    """The installed nnU-Net cannot rebuild residual plans of the old format.

    What it checks: for plans without `architecture` whose `UNet_class_name` is ResidualEncoderUNet, whether the nnU-Net
    that is installed here is 2.5.1 or newer.

    Why it matters: older releases pass `n_conv_per_stage` where the network wants `n_blocks_per_stage`, and stop with
    a `TypeError`.

    How to fix: update nnU-Net.

    Example: plans of nnU-Net 2.2 under 2.4.

    Evidence: VR-02; nnU-Net issue 2126.
    """
    if "architecture" in configuration.resolved or configuration.get("UNet_class_name") != "ResidualEncoderUNet":
        return
    version = packages.nnunet_version()
    if version is not None and version < _REBUILDS_RESIDUAL:
        at = configuration.at("UNet_class_name")
        yield found(at, configuration=configuration.name, version=packages.dotted(version))


@rule(
    "PG802",
    "old-nnunet-refuses-checkpoint",
    Severity.ERROR,
    message="the installed nnU-Net {nnunet} cannot load checkpoints with torch {torch}: Weights only load failed",
    fix="update: pip install --upgrade nnunetv2; or take torch below 2.6",
    modes=("AR-09",),
)
def old_nnunet_refuses_checkpoint(dataset: Dataset, checkpoint: Checkpoint) -> Iterator[Found]:
    """The installed nnU-Net and torch cannot load checkpoints together.

    What it checks: beside torch 2.6 or newer, as installed here, nnU-Net below 2.6 for weights that are to be
    fine-tuned, and below 2.5.2 for checkpoints in model folders.

    Why it matters: torch 2.6 loads nothing but tensors unless it is told otherwise; older nnU-Nets do not tell it, and
    stop with `Unsupported global: numpy.core.multiarray.scalar`.

    How to fix: update nnU-Net.

    Example: nnU-Net 2.5.1 with torch 2.7.

    Evidence: AR-09; nnU-Net issue 2681, MRSegmentator issue 19, axondeepseg issue 994.
    """
    nnunet, torch = packages.nnunet_version(), packages.torch_version()
    wanted = dataset.request.weights is checkpoint
    needed = _FINE_TUNES_WITH_NEW_TORCH if wanted else _PREDICTS_WITH_NEW_TORCH
    if nnunet is not None and torch is not None and nnunet < needed and torch >= _STRICT_TORCH:
        yield found(Location(checkpoint.path), nnunet=packages.dotted(nnunet), torch=packages.dotted(torch))


@rule(
    "PG803",
    "several-nnunet-installations",
    Severity.WARNING,
    message="{what}",
    fix="uninstall the one that is not meant: {program} -m pip uninstall nnunetv2; or activate one environment only",
    modes=("VR-05",),
)
def several_nnunet_installations(run: TrainingRun) -> Iterator[Found]:
    """Two copies of nnU-Net are within reach, and it depends on the command which one runs.

    What it checks: whether the `nnUNetv2_train` that a shell finds is run by the Python that plansguard runs with, and
    whether this Python finds a second `nnunetv2` behind the one that it imports.

    Why it matters: edits and trainers go into one copy, and the command runs the other. What is checked here is the
    copy that is imported here.

    How to fix: keep one copy for each environment.

    Example: a clone of nnU-Net in `PYTHONPATH`, and another in site-packages.

    Evidence: VR-05; nnU-Net issues 1618, 1925, 2080, 2081, 2345, 2501, 2830, STU-Net issue 8.
    """
    there = packages.nnunet_installations()
    if there.imported is None:
        return
    program = sys.executable
    if there.shadowed:
        what = f"this Python imports nnU-Net from {there.imported}, and another lies behind it in {there.shadowed[0]}"
    elif there.is_ours is False:
        what = f"nnU-Net in {there.imported} is what is checked, but {there.command} is run by {there.interpreter}"
        program = str(there.interpreter)
    else:
        return
    yield found(run.at, what=what, program=quoted(program))


@rule(
    "PG804",
    "torch-does-not-suit-nnunet",
    Severity.ERROR,
    message="nnunetv2 {nnunet} and torch {torch} do not go together: {why}",
    fix="{remedy}",
    modes=("VR-07",),
)
def torch_does_not_suit_nnunet(run: TrainingRun) -> Iterator[Found]:
    """The installed torch is one that the installed nnU-Net does not work with.

    What it checks: the version of torch against what the installed nnU-Net's own metadata ask for. As warnings, what
    those of older releases could not know: below 2.6 they break with torch 2.7, and torch 2.9 is slow.

    Why it matters: pip installs a forbidden pair when torch is updated later. Before 2.6, nnU-Net's learning rate
    scheduler passes one argument too many to torch 2.7: `TypeError: __init__() takes from 2 to 3 positional arguments
    but 4 were given`. In torch 2.9, 3D convolutions in half precision take several times as long.

    How to fix: install a torch that fits, or update nnU-Net.

    Example: nnunetv2 2.5.2, and a torch that was updated to 2.7 for a new GPU.

    Evidence: VR-07; nnU-Net issues 2983, 3002, 3003, nnssl issue 3, pytorch issue 166122.
    """
    nnunet, torch = packages.nnunet_version(), packages.torch_version()
    if nnunet is None or torch is None:
        return
    asked, severity = packages.requirement("torch", of=packages.NNUNET), Severity.WARNING
    if asked is not None and not packages.fulfils(torch, asked):
        severity, why, remedy = Severity.ERROR, f"this nnU-Net asks for torch{asked}", f"pip install 'torch{asked}'"
    elif nnunet < _SCHEDULES_WITH_NEW_TORCH and torch >= _TORCH_OF_OTHER_SCHEDULERS:
        why, remedy = "it cannot set learning rates with it", "update: pip install --upgrade nnunetv2"
    elif torch[:2] == _SLOW_TORCH:
        why, remedy = "3D convolutions in half precision are several times slower", "take torch 2.8 or 2.10"
    else:
        return
    versions = {"nnunet": packages.dotted(nnunet), "torch": packages.dotted(torch)}
    yield Found(run.at, {**versions, "why": why, "remedy": remedy}, severity)


@rule(
    "PG805",
    "network-class-not-installed",
    Severity.ERROR,
    message="the network {network} is not installed here: neither is that there, nor does "
    "dynamic_network_architectures{version} have a class {name}",
    fix="install the package that has it, or update: pip install --upgrade dynamic-network-architectures nnunetv2",
    modes=("VR-07",),
)
def network_class_not_installed(run: TrainingRun, configuration: Configuration) -> Iterator[Found]:
    """The network that the plans name is in no installed package.

    What it checks: `network_class_name` of the configuration to be trained, in the sources of the package that it
    names; then, as nnU-Net does it, a class of the same name anywhere in `dynamic_network_architectures`.

    Why it matters: `ImportError: Network class could not be found, please check/correct your plans file`. Plans of a
    newer nnU-Net or of a fork name networks that an older package does not have.

    How to fix: install the package.

    Example: plans with `PrimusV3M`, and dynamic_network_architectures 0.4.2.

    Evidence: VR-07; utilities/get_network_from_plans.py.
    """
    from plansguard.nnunet.install.trainer_search import finds_network

    name = configuration.architecture.get("network_class_name")
    if folder_of("dynamic_network_architectures") is None:
        raise Absent("dynamic_network_architectures is not installed beside plansguard")
    trainer = run.trainer_class
    if not isinstance(name, str) or finds_network(name) or (trainer is not None and trainer.own_network):
        return
    version = packages.version("dynamic_network_architectures")
    at = configuration.at("architecture", "network_class_name")
    yield found(at, network=name, name=name.rpartition(".")[2], version=f" {version}" if version else "")


@rule(
    "PG806",
    "nnunet-too-old-for-steps",
    Severity.ERROR,
    message="{trainer} needs nnunetv2 {oldest}; here is {version}",
    fix="update: pip install 'plansguard[train]'",
    modes=("TR-01",),
)
def nnunet_too_old_for_steps(run: TrainingRun) -> Iterator[Found]:
    """A training of a number of steps is to run under an nnU-Net that does not know plansguard's trainers.

    What it checks: for trainers with a number of steps in their name, that nnU-Net 2.8 or later is installed.

    Why it matters: older releases do not look into `nnUNet_extTrainer`, so they find no such trainer, and its hooks are
    made for 2.8.

    How to fix: update nnU-Net, or train by epochs.

    Example: `-tr nnUNetTrainer_50000steps` under nnU-Net 2.6.

    Evidence: TR-01; utilities/find_objects.py.
    """
    version = packages.nnunet_version()
    if run.steps is not None and version is not None and version < OLDEST_NNUNET:
        oldest, version_here = packages.dotted(OLDEST_NNUNET), packages.dotted(version)
        yield found(run.at, trainer=run.trainer, oldest=oldest, version=version_here)
