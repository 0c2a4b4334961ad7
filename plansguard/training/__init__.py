"""Training for exactly N optimiser steps: the schedule, its name, and a trainer that nnU-Net finds by that name."""

from __future__ import annotations

import os
from pathlib import Path

EXTENSION = Path(__file__).resolve().parent / "extension"
"""The folder that ``nnUNet_extTrainer`` is to name."""

EXTENSION_VARIABLE = "nnUNet_extTrainer"

OLDEST_NNUNET = (2, 8)
"""The first nnU-Net that looks for trainers there. Source: utilities/find_objects.py."""


def search_path(present: str) -> str:
    """The value for ``nnUNet_extTrainer``: the folders that it names already, and ours."""
    folders = [folder for folder in present.split(os.pathsep) if folder.strip()]
    return os.pathsep.join(folders if str(EXTENSION) in folders else [*folders, str(EXTENSION)])
