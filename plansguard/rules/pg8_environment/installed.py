"""PG801, PG802, PG805, PG806, PG819: the installed nnU-Net, for plans, weights and trainers. Without one: nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard.core.errors import Absent
from plansguard.core.report import Location, Severity
from plansguard.nnunet.install import packages
from plansguard.nnunet.install.python_sources import folder_of
from plansguard.nnunet.install.trainer_folder import OLDEST_NNUNET
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.subjects.training_run import TrainingRun

# The first releases of nnU-Net that read a network from plans, that rebuild old residual plans with the right keyword,
# that predict with torch 2.6, and that load pretrained weights with it.
_READS_NETWORKS = (2, 3, 1)
_REBUILDS_RESIDUAL = (2, 5, 1)
_PREDICTS_WITH_NEW_TORCH = (2, 5, 2)
_FINE_TUNES_WITH_NEW_TORCH = (2, 6)
#: The first torch whose torch.load accepts only plain tensors by default.
_STRICT_TORCH = (2, 6)


@rule(
    "PG801",
    Severity.ERROR,
    message="the installed nnU-Net {version} cannot rebuild a ResidualEncoderUNet of the old format",
    fix="update: pip install --upgrade nnunetv2",
)
def old_residual_plans_under_old_nnunet(
    configuration: Configuration, nnunet_version: tuple[int, ...] | None
) -> Iterator[Found]:
    """The installed nnU-Net cannot rebuild residual plans of the old format.

    What it checks: for plans of the old format with ResidualEncoderUNet, the installed nnU-Net is 2.5.1 or newer.

    Why it matters: it passes `n_conv_per_stage` in place of `n_blocks_per_stage`, and stops with a `TypeError`. So do
    all releases before 2.5.1.

    How to fix: update nnU-Net.

    Example: plans of nnU-Net 2.2 under 2.4.

    Evidence: VR-02; nnU-Net issue 2126.
    """
    if "architecture" in configuration.resolved or configuration.get("UNet_class_name") != "ResidualEncoderUNet":
        return
    if nnunet_version is not None and nnunet_version < _REBUILDS_RESIDUAL:
        yield found(configuration.at("UNet_class_name"), version=packages.dotted(nnunet_version))


@rule(
    "PG802",
    Severity.ERROR,
    message="the installed nnU-Net {nnunet} cannot load checkpoints with torch {torch}",
    fix="update: pip install --upgrade nnunetv2; or take torch below 2.6",
)
def old_nnunet_refuses_checkpoint(dataset: Dataset, checkpoint: Checkpoint) -> Iterator[Found]:
    """The installed nnU-Net and torch cannot load checkpoints together.

    What it checks: with torch 2.6 or newer, the installed nnU-Net is at least 2.6 for weights that are to be
    fine-tuned, and at least 2.5.2 for checkpoints in model folders.

    Why it matters: it stops with `Weights only load failed`: torch 2.6 loads only tensors by default. Older nnU-Nets do
    not change that: `Unsupported global: numpy.core.multiarray.scalar`.

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
    "PG805",
    Severity.ERROR,
    message="no installed package has the network class {name}",
    fix="install the package that has it, or update: pip install --upgrade dynamic-network-architectures nnunetv2",
)
def network_class_not_installed(run: TrainingRun, configuration: Configuration) -> Iterator[Found]:
    """The network class named in the plans is in no installed package.

    What it checks: the sources of the package in `network_class_name` define that class, or, as nnU-Net searches, any
    module of `dynamic_network_architectures` defines a class of that name.

    Why it matters: nnU-Net stops: `ImportError: Network class could not be found, please check/correct your plans
    file`. Plans of a newer nnU-Net or of a fork name networks that an older package does not have.

    How to fix: install the package.

    Example: plans with `PrimusV3M`, and dynamic_network_architectures 0.4.2.

    Evidence: VR-07; utilities/get_network_from_plans.py.
    """
    from plansguard.nnunet.install.trainer_search import finds_network

    name = configuration.architecture.get("network_class_name")
    if folder_of("dynamic_network_architectures") is None:
        raise Absent("dynamic_network_architectures is not installed: install plansguard[train]")
    trainer = run.trainer_class
    if not isinstance(name, str) or finds_network(name) or (trainer is not None and trainer.own_network):
        return
    at = configuration.at("architecture", "network_class_name")
    yield found(at, network=name, name=name.rpartition(".")[2])


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


@rule(
    "PG819",
    Severity.ERROR,
    message="the installed nnU-Net {version} does not read the architecture of plans",
    fix="update: pip install --upgrade nnunetv2",
)
def new_plans_under_old_nnunet(configuration: Configuration, nnunet_version: tuple[int, ...] | None) -> Iterator[Found]:
    """The installed nnU-Net is older than the format of the plans.

    What it checks: for plans with `architecture`, the installed nnU-Net is 2.3.1 or newer.

    Why it matters: nnU-Net stops with `KeyError: 'UNet_class_name'` when the network is built. Some users then edit the
    plans by hand, and train another network.

    How to fix: update nnU-Net; do not edit the plans.

    Example: plans of nnU-Net 2.8 on a machine with 2.2.

    Evidence: VR-03; nnU-Net issues 2322, 2830; utilities/plans_handling/plans_handler.py of nnU-Net 2.3 and 2.3.1.
    """
    if nnunet_version is not None and nnunet_version < _READS_NETWORKS and "architecture" in configuration.resolved:
        yield found(configuration.at("architecture"), version=packages.dotted(nnunet_version))
