"""``plansguard env``."""

from __future__ import annotations

import os
import shlex

import typer

from plansguard.errors import UsageError


def env() -> None:
    """Print what a shell must export so that nnU-Net's own commands find the trainers of plansguard steps.

    Type: eval "$(plansguard env)". Folders that the variable names already stay in it. nnU-Net must be 2.8 or later,
    and plansguard be installed beside it. While they train, the trainers read PLANSGUARD_SAVE_EVERY (steps between two
    checkpoints, 2500), PLANSGUARD_MAX_TIME (such as 23h30m: then a checkpoint, and exit code 75) and
    PLANSGUARD_PORTABLE (1: predict from the checkpoints without plansguard).
    """
    from plansguard import extension, machine

    version = machine.nnunet_version()
    if version is not None and version < extension.OLDEST_NNUNET:
        oldest = machine.dotted(extension.OLDEST_NNUNET)
        raise UsageError(
            f"nnunetv2 {machine.dotted(version)} has no {extension.VARIABLE}; it came with {oldest}",
            hint="pip install 'plansguard[train]'",
        )
    folders = extension.search_path(os.environ.get(extension.VARIABLE, ""))
    typer.echo(f"export {extension.VARIABLE}={shlex.quote(folders)}")
