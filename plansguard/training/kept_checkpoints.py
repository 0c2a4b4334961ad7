"""Earlier checkpoints that a training keeps beside its newest one (``--save-total-limit``). No torch."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument

_NAME = re.compile(r"checkpoint_step(0|[1-9][0-9]{0,11})\.pth")


def kept_in(folder: Path) -> dict[int, Path]:
    """The kept checkpoints of a folder by their step, the earliest first. UnreadableFolder if it cannot be listed."""
    names = {name: match for name in disk.file_names(folder) if (match := _NAME.fullmatch(name))}
    return {step: folder / name for step, name in sorted((int(match[1]), name) for name, match in names.items())}


def keep(latest: Path, step: int, most: int, run: str) -> None:
    """Keep the checkpoint of a step under a name of its own, and delete the earliest of more than ``most``.

    Both names lead to one file where the file system has links: it takes no room until the newest is replaced. Those of
    later steps are of an earlier training, and stay, as do all that this ``run`` did not keep. OSError if it cannot be
    kept; what was kept before is unchanged.
    """
    path = latest.with_name(f"checkpoint_step{step}.pth")
    if (disk.is_there(path) or disk.is_link(path)) and not _is_kept(path, step, run):
        raise FileExistsError(errno.EEXIST, "this training did not write the file of that name", str(path))
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
    own = [kept for at, kept in kept_in(latest.parent).items() if at <= step and _is_kept(kept, at, run)]
    for earlier in own[:-most]:
        earlier.unlink()


def _is_kept(path: Path, step: int, run: str) -> bool:
    """Whether a file is the checkpoint of this step and run."""
    found = None if disk.is_link(path) else disk.status(path)
    return found is not None and _notes(path, found.st_ino, found.st_mtime_ns) == (step, run)


@lru_cache(maxsize=64)
def _notes(path: Path, _inode: int, _modified: int) -> tuple[int | None, object]:
    """The step and the run that a checkpoint names; it is read again when the file is another one."""
    try:
        checkpoint = read_checkpoint(path)
    except UnreadableDocument:
        return None, None
    return checkpoint.step, (checkpoint.steps or {}).get("run")
