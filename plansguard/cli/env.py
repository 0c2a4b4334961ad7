"""``plansguard env``."""

from __future__ import annotations

import os
import shlex

from plansguard.cli.common_options import TextOrJson, emit_text_or_json, text_or_json
from plansguard.core.errors import UsageError
from plansguard.render import plain_json


def env(output: TextOrJson = []) -> None:  # noqa: B006 - typer copies it
    """Print the variable by which nnU-Net finds the trainers.

    They are those that plansguard steps names. Folders in the variable are kept. nnU-Net must be 2.8 or later, and
    plansguard must be installed in the same environment. During training the trainers read PLANSGUARD_SAVE_EVERY (steps
    between two checkpoints, 2500), PLANSGUARD_SAVE_TOTAL_LIMIT (how many of them are kept), PLANSGUARD_MAX_TIME (such
    as 23h30m: then a checkpoint, and exit code 75) and PLANSGUARD_PORTABLE (1: predict without plansguard).

    Examples:
        eval "$(plansguard env)"
    """
    from plansguard.nnunet.install import packages, trainer_folder

    outputs = text_or_json(output)
    version = packages.nnunet_version()
    if version is not None and version < trainer_folder.OLDEST_NNUNET:
        oldest = packages.dotted(trainer_folder.OLDEST_NNUNET)
        raise UsageError(
            f"nnunetv2 {packages.dotted(version)} has no {trainer_folder.VARIABLE}; it came with {oldest}",
            hint="pip install 'plansguard[train]'",
        )
    folders = trainer_folder.search_path(os.environ.get(trainer_folder.VARIABLE, ""))
    variables = {trainer_folder.VARIABLE: folders}
    emit_text_or_json(
        outputs,
        lambda _: "".join(f"export {key}={_quoted(value)}\n" for key, value in variables.items()),
        lambda: plain_json({"schema": "plansguard/env/1", "variables": variables}),
    )


def _quoted(value: str) -> str:
    """A value as every shell reads it, with control characters spelled out."""
    if value.isprintable():
        return shlex.quote(value)
    return f'"$(printf {shlex.quote("".join(map(_in_format, value)))})"'


def _in_format(character: str) -> str:
    """A character in a format of printf."""
    if character in "\\%":
        return character * 2
    return character if character.isprintable() else "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
