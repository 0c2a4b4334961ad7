"""PG8xx: the installed nnU-Net and torch. Without an installed nnU-Net nothing is checked."""

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

# The first releases of nnU-Net that rebuild old residual plans with the right keyword, that predict with torch 2.6,
# that load pretrained weights with it, and whose learning rate scheduler works with torch 2.7.
_REBUILDS_RESIDUAL = (2, 5, 1)
_PREDICTS_WITH_NEW_TORCH = (2, 5, 2)
_FINE_TUNES_WITH_NEW_TORCH = (2, 6)
_SCHEDULES_WITH_NEW_TORCH = (2, 6)
_TORCH_OF_OTHER_SCHEDULERS = (2, 7)
#: Several times slower in 3D than the releases before and after it; newer nnU-Nets exclude it.
_SLOW_TORCH = (2, 9)
#: The first torch whose torch.load accepts only plain tensors by default.
_STRICT_TORCH = (2, 6)


@rule(
    "PG801",
    Severity.ERROR,
    message="{configuration} is a ResidualEncoderUNet in the old format, which nnU-Net {version}, installed here, "
    "rebuilds with the wrong keyword",
    fix="update: pip install --upgrade nnunetv2",
)
def old_residual_plans_under_old_nnunet(configuration: Configuration) -> Iterator[Found]:
    """The installed nnU-Net cannot rebuild residual plans of the old format.

    What it checks: for plans of the old format with ResidualEncoderUNet, the installed nnU-Net is 2.5.1 or newer.

    Why it matters: older releases pass `n_conv_per_stage` in place of `n_blocks_per_stage` and stop with a `TypeError`.

    How to fix: update nnU-Net.

    Example: plans of nnU-Net 2.2 under 2.4.

    Evidence: VR-02; nnU-Net issue 2126.
    """
    if "architecture" in configuration.resolved or configuration.get("UNet_class_name") != "ResidualEncoderUNet":
        return
    version = packages.nnunet_version()
    if version is not None and version < _REBUILDS_RESIDUAL:
        at = configuration.at("UNet_class_name")
        yield found(at, version=packages.dotted(version))


@rule(
    "PG802",
    Severity.ERROR,
    message="the installed nnU-Net {nnunet} cannot load checkpoints with torch {torch}: Weights only load failed",
    fix="update: pip install --upgrade nnunetv2; or take torch below 2.6",
)
def old_nnunet_refuses_checkpoint(dataset: Dataset, checkpoint: Checkpoint) -> Iterator[Found]:
    """The installed nnU-Net and torch cannot load checkpoints together.

    What it checks: with torch 2.6 or newer, the installed nnU-Net is at least 2.6 for weights that are to be
    fine-tuned, and at least 2.5.2 for checkpoints in model folders.

    Why it matters: torch 2.6 loads only tensors by default; older nnU-Nets do not change that and stop with
    `Unsupported global: numpy.core.multiarray.scalar`.

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
    Severity.WARNING,
    message="{what}",
    fix="uninstall the one that is not meant: {program} -m pip uninstall nnunetv2; or activate one environment only",
)
def several_nnunet_installations(run: TrainingRun) -> Iterator[Found]:
    """Two copies of nnU-Net are installed, and the command may run the other one.

    What it checks: the `nnUNetv2_train` that a shell finds is run by the Python that plansguard runs with, and this
    Python finds no second `nnunetv2` after the one that it imports.

    Why it matters: edits and trainers are in one copy, and the command runs the other. The imported one is checked.

    How to fix: keep one copy in each environment.

    Example: a clone of nnU-Net in `PYTHONPATH`, and another in site-packages.

    Evidence: VR-05; nnU-Net issues 1618, 1925, 2080, 2081, 2345, 2501, 2830, STU-Net issue 8.
    """
    installed = packages.nnunet_installations()
    if installed.imported is None:
        return
    if installed.shadowed:
        what = f"this Python imports nnU-Net from {installed.imported}, and there is another in {installed.shadowed[0]}"
        yield found(run.at, what=what, program=quoted(sys.executable))
    elif installed.is_ours is False:
        what = f"nnU-Net in {installed.imported} is checked, but {installed.command} is run by {installed.interpreter}"
        yield found(run.at, what=what, program=quoted(str(installed.interpreter)))


@rule(
    "PG804",
    Severity.ERROR,
    message="nnunetv2 {nnunet} and torch {torch} do not go together: {why}",
    fix="{remedy}",
)
def torch_does_not_suit_nnunet(run: TrainingRun) -> Iterator[Found]:
    """The installed nnU-Net does not work with the installed torch.

    What it checks: the version of torch fulfils the metadata of the installed nnU-Net. Two more cases are warnings,
    because metadata of older releases do not exclude them: nnU-Net below 2.6 with torch 2.7, and the slow torch 2.9.

    Why it matters: pip allows a forbidden pair when torch is updated later. Before 2.6, nnU-Net's learning rate
    scheduler passes one argument too many to torch 2.7: `TypeError: __init__() takes from 2 to 3 positional arguments
    but 4 were given`. In torch 2.9, 3D convolutions in half precision take several times as long.

    How to fix: install a torch that fits, or update nnU-Net.

    Example: nnunetv2 2.5.2, and a torch that was updated to 2.7 for a new GPU.

    Evidence: VR-07; nnU-Net issues 2983, 3002, 3003, nnssl issue 3, pytorch issue 166122.
    """
    nnunet, torch = packages.nnunet_version(), packages.torch_version()
    if nnunet is None or torch is None:
        return
    asked, severity = packages.requirement("torch"), Severity.WARNING
    if asked is not None and not packages.fulfils(torch, asked):
        severity, why, remedy = Severity.ERROR, f"this nnU-Net asks for torch{asked}", f"pip install 'torch{asked}'"
    elif nnunet < _SCHEDULES_WITH_NEW_TORCH and torch >= _TORCH_OF_OTHER_SCHEDULERS:
        why, remedy = "it cannot set learning rates with it", "update: pip install --upgrade nnunetv2"
    elif torch[:2] == _SLOW_TORCH:
        why, remedy = "3D convolutions in half precision are several times slower", "take torch 2.8 or 2.10"
    else:
        return
    versions = packages.dotted(nnunet), packages.dotted(torch)
    yield found(run.at, severity=severity, nnunet=versions[0], torch=versions[1], why=why, remedy=remedy)


@rule(
    "PG805",
    Severity.ERROR,
    message="the network {network} is not installed, and dynamic_network_architectures{version} has no class {name}",
    fix="install the package that has it, or update: pip install --upgrade dynamic-network-architectures nnunetv2",
)
def network_class_not_installed(run: TrainingRun, configuration: Configuration) -> Iterator[Found]:
    """The network class named in the plans is in no installed package.

    What it checks: the sources of the package in `network_class_name` define that class, or, as nnU-Net searches, any
    module of `dynamic_network_architectures` defines a class of that name.

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
    Severity.ERROR,
    message="{trainer} needs nnunetv2 {oldest}; {version} is installed",
    fix="update: pip install 'plansguard[train]'",
)
def nnunet_too_old_for_steps(run: TrainingRun) -> Iterator[Found]:
    """The installed nnU-Net is too old for plansguard's step trainers.

    What it checks: for trainers with a number of steps in their name, nnU-Net 2.8 or later is installed.

    Why it matters: older releases do not search `nnUNet_extTrainer`, and lack methods that the step trainers override.

    How to fix: update nnU-Net, or train by epochs.

    Example: `-tr nnUNetTrainer_50000steps` under nnU-Net 2.6.

    Evidence: TR-01; utilities/find_objects.py.
    """
    version = packages.nnunet_version()
    if run.steps is not None and version is not None and version < OLDEST_NNUNET:
        yield found(run.at, oldest=packages.dotted(OLDEST_NNUNET), version=packages.dotted(version))
