"""Paths as services that show a repository know them: relative to its root."""

from __future__ import annotations

import os
from pathlib import Path

from plansguard.core import disk
from plansguard.nnunet.workspace import ROOTS

#: Variables of GitHub Actions and GitLab CI that name the folder of the checkout.
_CHECKOUTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")
#: Findings about a variable have its name in place of a path.
_VARIABLES = (*ROOTS, "nnUNet_extTrainer")


def source_root() -> Path:
    """Return the folder of the checkout that the current folder is in; outside of one, the current folder."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if disk.is_there(folder / ".git"):
            return folder
    named = (Path(os.environ[name]) for name in _CHECKOUTS if os.environ.get(name))
    return next((folder for folder in named if folder.is_absolute() and here.is_relative_to(folder)), here)


def normal(path: str) -> Path:
    """Return the absolute path without ``..``."""
    return Path(os.path.normpath(Path(path).absolute()))


def below(path: str, root: Path) -> str | None:
    """Return a path relative to the root, with ``/`` everywhere; None outside of it. Links are not followed."""
    absolute = normal(path)
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else None


def shown_below(path: str, root: Path) -> str:
    """Return a path relative to the root; unchanged for one outside of it and for the name of a variable."""
    return path if is_variable(path) else below(path, root) or path


def is_variable(path: str) -> bool:
    """Return whether the place of a finding is one of nnU-Net's variables."""
    return path in _VARIABLES
