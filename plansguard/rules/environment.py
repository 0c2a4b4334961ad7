"""PG8xx: the nnU-Net and the torch that are installed here. Machines without nnU-Net have nothing to judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard import machine
from plansguard.parts import Configuration
from plansguard.report import Location, Severity
from plansguard.rules.declare import Found, found, rule
from plansguard.subject import Dataset

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint import Checkpoint

#: The first releases that rebuild old residual plans with the right keyword; that predict with torch 2.6; that take
#: pretrained weights with it.
_REBUILDS_RESIDUAL = (2, 5, 1)
_PREDICTS_WITH_NEW_TORCH = (2, 5, 2)
_FINE_TUNES_WITH_NEW_TORCH = (2, 6)
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
    version = machine.nnunet_version()
    if version is not None and version < _REBUILDS_RESIDUAL:
        at = configuration.at("UNet_class_name")
        yield found(at, configuration=configuration.name, version=machine.dotted(version))


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
    nnunet, torch = machine.nnunet_version(), machine.torch_version()
    wanted = dataset.request.weights is checkpoint
    needed = _FINE_TUNES_WITH_NEW_TORCH if wanted else _PREDICTS_WITH_NEW_TORCH
    if nnunet is not None and torch is not None and nnunet < needed and torch >= _STRICT_TORCH:
        yield found(Location(checkpoint.path), nnunet=machine.dotted(nnunet), torch=machine.dotted(torch))
