"""Earlier checkpoints that a training keeps beside its newest one (``--save-total-limit``). No torch."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from plansguard.core import disk

_NAME = re.compile(r"checkpoint_step([0-9]{1,12})\.pth")


def kept_in(folder: Path) -> dict[int, Path]:
    """The kept checkpoints of a folder by their step, the earliest first. UnreadableFolder if it cannot be listed."""
    names = {name: match for name in disk.file_names(folder) if (match := _NAME.fullmatch(name))}
    return {step: folder / name for step, name in sorted((int(match[1]), name) for name, match in names.items())}


def keep(latest: Path, step: int, most: int) -> None:
    """Keep the checkpoint of a step under a name of its own, and delete the earliest of more than ``most``.

    Both names lead to one file where the file system has links: it takes no room until the newest is replaced. Those of
    later steps are of an earlier training, and stay. OSError if it cannot be kept; what was kept before is unchanged.
    """
    path = latest.with_name(f"checkpoint_step{step}.pth")
    temporary = latest.with_name(f"{path.name}.tmp")
    with suppress(FileNotFoundError):
        temporary.unlink()
    try:
        try:
            os.link(latest, temporary)
        except OSError:
            shutil.copyfile(latest, temporary)
        temporary.replace(path)
    finally:
        with suppress(OSError):  # two names of one file are not replaced, and a copy may be incomplete
            temporary.unlink()
    own = [kept for kept_step, kept in kept_in(latest.parent).items() if kept_step <= step]
    for earlier in own[:-most]:
        earlier.unlink()
