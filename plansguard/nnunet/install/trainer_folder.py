"""The folder of plansguard's step trainers, and whether the installed nnU-Net can use it."""

from __future__ import annotations

import os
from typing import Final

from plansguard.core import disk
from plansguard.nnunet.install import packages

VARIABLE: Final = "nnUNet_extTrainer"
"""The environment variable that names folders of trainers outside nnU-Net. Source: utilities/find_objects.py."""

FOLDER: Final = disk.real(__file__).parents[2] / "training" / "extension"
"""The folder of plansguard's trainers, with a class for every number of steps."""

OLDEST_NNUNET: Final = (2, 8)
"""The first nnU-Net that reads the variable."""

REMEDY: Final = "pip install 'plansguard[train]'"
"""The command that installs a suitable nnU-Net."""


def obstacle() -> str:
    """Why the installed nnU-Net cannot train in steps, in one clause; empty where it can."""
    version = packages.nnunet_version()
    if version is None:
        return "training needs nnU-Net, which is not installed here"
    if version < OLDEST_NNUNET:
        return f"training in steps needs nnunetv2 {packages.dotted(OLDEST_NNUNET)}; here is {packages.dotted(version)}"
    return ""


def search_path(present: str) -> str:
    """The value for the variable: plansguard's folder, then those that ``present`` names.

    nnU-Net imports folder after folder, and one broken module ends its search.
    """
    folders = [folder for folder in present.split(os.pathsep) if folder.strip()]
    return os.pathsep.join([str(FOLDER), *(folder for folder in folders if folder != str(FOLDER))])
