"""``plansguard doctor``."""

from __future__ import annotations

from dataclasses import replace

import typer

from plansguard.cli.common_options import (
    FailOn,
    Outputs,
    Quiet,
    SettingsFile,
    Verbose,
    emit,
    load_settings,
    parse_outputs,
    print_line,
)
from plansguard.cli.progress_bar import progress_bar


def doctor(
    output: Outputs = [],  # noqa: B006 - typer copies it
    fail_on: FailOn = None,
    settings: SettingsFile = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Check this machine: nnU-Net's variables, packages and disk.

    Trainer folders, clashing dataset ids and free space are checked as well. Nothing is written. Exit code: 0 no
    finding at or above --fail-on, 1 findings, 2 a check crashed or the command is wrong.

    Examples:
        plansguard doctor
        plansguard doctor --fail-on warning --output json=doctor.json
    """
    from plansguard.commands.doctor import described
    from plansguard.commands.doctor import doctor as run_doctor

    outputs = parse_outputs(output, verbose=verbose, quiet=quiet)
    active = load_settings(settings, [])
    if outputs.text_on_screen:
        for line in described():
            print_line(line)
        print_line("")
    with progress_bar("checking this machine"):
        report = replace(run_doctor(active), fail_on=fail_on or active.fail_on)
    emit(report, outputs)
    raise typer.Exit(report.exit_code())
