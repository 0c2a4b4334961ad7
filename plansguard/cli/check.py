"""``plansguard check``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plansguard.cli.common_options import FailOn, Outputs, SettingsFile, emit, load_settings, parse_outputs
from plansguard.cli.progress_bar import Progress, progress_bar
from plansguard.nnunet.workspace import Workspace
from plansguard.subjects.request import Reading

if TYPE_CHECKING:
    from plansguard.artefacts.data.workers import Pool


class Depth(str, Enum):
    """How much of the preprocessed arrays is read."""

    NONE = "none"
    HEADERS = "headers"
    SAMPLE = "sample"
    ALL = "all"


def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Plans files, dataset folders, or folders above them. The current folder if nothing is named.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("-d", "--dataset", metavar="ID_OR_NAME", help="A dataset below $nnUNet_preprocessed. Repeatable."),
    ] = None,
    plans: Annotated[
        str | None,
        typer.Option("-p", "--plans", metavar="IDENTIFIER", help="Judge only these plans, as -p of nnU-Net."),
    ] = None,
    configuration: Annotated[
        str | None, typer.Option("-c", "--configuration", help="Judge only this configuration, such as 3d_fullres.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "-pretrained_weights",
            "--weights",
            metavar="CHECKPOINT",
            help="Also judge whether these weights fit, as for -pretrained_weights of nnUNetv2_train.",
        ),
    ] = None,
    data: Annotated[
        Depth,
        typer.Option(
            help="How much of the preprocessed arrays is read: nothing, the headers of every case, also the values of "
            "a few cases, or those of all."
        ),
    ] = Depth.HEADERS,
    seed: Annotated[int, typer.Option(help="Which few cases --data sample takes.")] = 12345,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Read cases on the workers of this Dask cluster (plansguard[dask])."),
    ] = None,
    output: Outputs = [],  # noqa: B006 - typer copies it
    fail_on: FailOn = None,
    settings: SettingsFile = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Exit with 0 instead of 3 when nothing is found to check.")
    ] = False,
) -> None:
    """Check plans, and what lies beside them, against each other.

    The files of one dataset folder are judged together, also when only one of them is named. Exit code: 0 fine,
    1 findings, 2 something could not be read or the command is wrong, 3 nothing to check.
    """
    from plansguard.commands.check import check as run_check

    outputs = parse_outputs(output)
    active = load_settings(settings, paths or [_folder(one) for one in dataset or []])
    with progress_bar("reading cases") as progress:
        report = run_check(
            paths or [],
            datasets=dataset or [],
            plans=plans,
            configuration=configuration,
            weights=weights,
            reading=Reading(data.value, seed, pool_of(data, dask, progress)),
            settings=active,
        )
    emit(report, outputs)
    code = report.exit_code(fail_on or active.fail_on)
    raise typer.Exit(0 if code == 3 and allow_empty else code)


def pool_of(data: Depth, dask: str | None, progress: Progress) -> Pool | None:
    """Threads read headers, processes read values: that is work for a processor."""
    if data is Depth.NONE:
        return None
    from plansguard.artefacts.data.workers import DASK, Pool

    if dask is not None:
        return Pool(DASK + dask, progress)
    return Pool("processes" if data is Depth.ALL else "threads", progress)


def _folder(id_or_name: str) -> Path:
    """Where the dataset's settings may lie: in its folder or above."""
    workspace = Workspace.from_environment()
    return workspace.preprocessed_folder(workspace.dataset_name(id_or_name))
