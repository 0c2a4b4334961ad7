"""``plansguard adapt``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from plansguard.cli.common_options import (
    AsJson,
    TextOrJson,
    emit_text_or_json,
    print_line,
    print_next,
    text_or_json,
)
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.errors import UsageError


class NewChannels(str, Enum):
    """The values of --new-channels."""

    ZERO = "zero"
    AVERAGED = "averaged"
    INITIALISED = "initialised"


Weights = Annotated[Path, Argument(metavar="CHECKPOINT", help="The weights: a .pth file, or the folder of a model.")]
Dataset = Annotated[str, Option("-d", "--dataset", metavar="ID_OR_NAME", help="The dataset to be trained on.")]
Plans = Annotated[
    str | None,
    Option("-p", "--plans", metavar="IDENTIFIER", help="Its plans with the network (default: those in the weights)."),
]
Configuration = Annotated[
    str | None,
    Option("-c", "--configuration", metavar="CONFIGURATION", help="Default: the configuration of the weights."),
]
Output = Annotated[
    Path | None, Option("-o", metavar="FILE", help="The file of the adapted weights, which ends in .pth.")
]
Channels = Annotated[
    list[str],
    Option("--channel", metavar="NAME=OLD", help="A channel that has another name in the weights. Repeatable."),
]
Labels = Annotated[
    list[str],
    Option("--label", metavar="NAME=OLD", help="A label or region that has another name in the weights. Repeatable."),
]
OldChannels = Annotated[
    list[str],
    Option("--old-channel", metavar="NAME", help="For a file without names: each channel, in its order. Repeatable."),
]
OldLabels = Annotated[
    list[str],
    Option("--old-label", metavar="NAME", help="For a file without names: each class, in its order. Repeatable."),
]
Stem = Annotated[str | None, Option("--stem", metavar="NAME", help="The stem of a MultiTalent checkpoint to take.")]
New = Annotated[
    NewChannels,
    Option(
        "--new-channels",
        help="A channel that the weights lack: zero (the first output is that of the weights), the mean of their "
        "channels, or nnU-Net's initial values.",
    ),
]
EncoderOnly = Annotated[bool, Option("--encoder-only", help="Take no decoder and no segmentation layers.")]
RowByRow = Annotated[bool, Option("--verbose", help="Print a line for each parameter.")]
Force = Annotated[
    bool, Option("--force", help="Replace weights of another adaptation; a backup is kept beside the new ones.")
]
DryRun = Annotated[bool, Option("--dry-run", help="Print what would be taken from where, and write nothing.")]


def adapt(
    checkpoint: Weights,
    dataset: Dataset,
    plans: Plans = None,
    configuration: Configuration = None,
    to: Output = None,
    new_channels: New = NewChannels.ZERO,
    channels: Channels = [],  # noqa: B006 - typer copies it
    labels: Labels = [],  # noqa: B006
    old_channels: OldChannels = [],  # noqa: B006
    old_labels: OldLabels = [],  # noqa: B006
    stem: Stem = None,
    encoder_only: EncoderOnly = False,
    force: Force = False,
    dry_run: DryRun = False,
    output: TextOrJson = [],  # noqa: B006
    as_json: AsJson = False,
    verbose: RowByRow = False,
) -> None:
    """Adapt weights to the channels and classes of a dataset.

    Channels and classes are matched by their names; all else of the network stays. The new file is for migrate,
    finetune and -pretrained_weights. What was taken from where is in it and beside it. Needs
    plansguard[train], except with --dry-run.

    Examples:
        plansguard adapt checkpoint_final.pth -d 2 -o adapted.pth
        plansguard adapt checkpoint_final.pth -d 2 -p PretrainPlans --new-channels averaged --dry-run
    """
    from plansguard.commands import adapt as commands
    from plansguard.render import adapt as rendering
    from plansguard.subjects.adaptation import AdaptationChoices
    from plansguard.subjects.adaptation_command import record_of

    outputs = text_or_json(output, as_json=as_json, verbose=verbose)
    _assert_output(to, dry_run=dry_run, force=force)
    choices = AdaptationChoices(
        new_channels.value,
        _pairs("--channel", channels),
        _pairs("--label", labels),
        old_channels,
        old_labels,
        stem,
        encoder_only,
    )
    with progress_bar(f"reading {checkpoint}"):
        task = commands.task_of(checkpoint, dataset, plans, configuration, choices)
        record = record_of(task.weights, task.adaptation, task.dataset, task.plans)
        messages = [] if to is None or dry_run else commands.write(task, record, to, force=force)
    emit_text_or_json(outputs, lambda screen: rendering.text(record, screen), lambda: rendering.as_json(record))
    if outputs.text_on_screen:
        if messages:
            typer.echo()
        for message in messages:
            print_line(message)
        if to is not None and not dry_run:
            print_next(commands.next_commands(task, to))


def _assert_output(to: Path | None, *, dry_run: bool, force: bool) -> None:
    """Raise UsageError unless a file is named for the weights, or none is to be written."""
    if to is None and not dry_run:
        raise UsageError("no file is named for the adapted weights", hint="add -o adapted.pth, or --dry-run")
    if force and (to is None or dry_run):
        raise UsageError("--force replaces a file, and none is written", hint="leave it out, or write -o adapted.pth")


def _pairs(option: str, words: list[str]) -> dict[str, str]:
    """``["lesion=tumour"]`` as names and old names; UsageError for another form, and for a name given twice."""
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, old = word.partition("=")
        if not (name and equals and old) or name in pairs:
            raise UsageError(f"{option} {word} is not NAME=OLD, once for each name", hint="for example lesion=tumour")
        pairs[name] = old
    return pairs
