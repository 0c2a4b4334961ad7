"""``plansguard check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plansguard.cli.common import FailOn, Outputs, SettingsFile, emit, load_settings, parse_outputs
from plansguard.workspace import Workspace


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
    from plansguard.checking import check as run_check

    outputs = parse_outputs(output)
    active = load_settings(settings, paths or [_folder(one) for one in dataset or []])
    report = run_check(paths or [], datasets=dataset or [], plans=plans, configuration=configuration, settings=active)
    emit(report, outputs)
    code = report.exit_code(fail_on or active.fail_on)
    raise typer.Exit(0 if code == 3 and allow_empty else code)


def _folder(id_or_name: str) -> Path:
    """Where the dataset's settings may lie: in its folder or above."""
    workspace = Workspace.from_environment()
    return workspace.preprocessed_folder(workspace.dataset_name(id_or_name))
