"""``plansguard show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from plansguard.cli.common_options import AsJson, TextJsonOrHtml, emit_text_or_json, page, text_or_json
from plansguard.cli.progress_bar import progress_bar


def show(
    path: Annotated[
        Path,
        Argument(
            metavar="CHECKPOINT|MODEL|PLANS",
            help="A .pth file, a model folder, a folder of models or an exported zip of them, or a plans file.",
        ),
    ],
    output: TextJsonOrHtml = [],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
) -> None:
    """Show what a checkpoint, a trained model or plans contain.

    That is training, spacing, normalization, and the network by stages. Nothing in a checkpoint is executed, no
    weights are read, and neither torch nor nnU-Net is needed. Spacings are in mm; spacings, patches and strides
    have the order of the array axes, after transpose_forward. Stages count from 0 at the full resolution.

    Examples:
        plansguard show checkpoint_final.pth
        plansguard show nnUNet_preprocessed/Dataset002_FinetuneCT/nnUNetPlans.json
    """
    from plansguard.commands.show import show as run_show
    from plansguard.render import show as rendering

    outputs = text_or_json(output, as_json=as_json, html=True)
    with progress_bar(f"reading {path}"):
        description = run_show(path)
    emit_text_or_json(
        outputs,
        lambda screen: rendering.text(description, screen),
        lambda: rendering.as_json(description),
        page("description", description),
    )
