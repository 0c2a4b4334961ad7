"""``plansguard check``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from plansguard.cli.common_options import Datasets, FailOn, Outputs, SettingsFile, emit, load_settings, parse_outputs
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


Paths = Annotated[
    list[Path] | None,
    Argument(
        help="Plans files, dataset folders, or folders above them. Default: the current folder.", show_default=False
    ),
]
Plans = Annotated[
    str | None, Option("-p", "--plans", metavar="IDENTIFIER", help="Check only these plans, as -p of nnU-Net.")
]
Configuration = Annotated[
    str | None, Option("-c", "--configuration", help="Check only this configuration, such as 3d_fullres.")
]
Weights = Annotated[
    Path | None,
    Option(
        "-pretrained_weights",
        "--weights",
        metavar="CHECKPOINT",
        help="Also check whether these weights fit, as for -pretrained_weights of nnUNetv2_train.",
    ),
]
Data = Annotated[
    Depth,
    Option(
        help="How much of the preprocessed arrays is read: nothing, the headers of every case, also the values of "
        "a few cases, or those of all."
    ),
]
Dask = Annotated[
    str | None, Option(metavar="ADDRESS", help="Read cases on the workers of this Dask cluster (plansguard[dask]).")
]
AllowEmpty = Annotated[
    bool, Option("--allow-empty", help="Exit with 0 instead of 3 when nothing is found to check, or no plans.")
]


def check(
    paths: Paths = None,
    dataset: Datasets = None,
    plans: Plans = None,
    configuration: Configuration = None,
    weights: Weights = None,
    data: Data = Depth.HEADERS,
    seed: Annotated[int, Option(help="Selects the few cases of --data sample.")] = 12345,
    dask: Dask = None,
    output: Outputs = [],  # noqa: B006 - typer copies it
    fail_on: FailOn = None,
    settings: SettingsFile = None,
    allow_empty: AllowEmpty = False,
) -> None:
    """Check plans, and the files beside them, against each other.

    The files of one dataset folder are checked together, even when only one of them is named. Exit code: 0 no
    finding at or above --fail-on, 1 findings, 2 a file cannot be read or the command is wrong, 3 nothing to check,
    or no plans.
    """
    from plansguard.commands.check import check as run_check

    outputs = parse_outputs(output)
    active = load_settings(settings, paths or [_folder(id_or_name) for id_or_name in dataset or []])
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
    """Return the workers that read cases: threads for headers, processes for values, which need a processor each."""
    if data is Depth.NONE:
        return None
    from plansguard.artefacts.data.workers import DASK, Pool

    if dask is not None:
        return Pool(DASK + dask, progress)
    return Pool("processes" if data is Depth.ALL else "threads", progress)


def _folder(id_or_name: str) -> Path:
    """The folder of the dataset: the settings are in it or above."""
    workspace = Workspace.from_environment()
    return workspace.preprocessed_folder(workspace.dataset_name(id_or_name))
