"""Training for exactly N optimiser steps: the schedule, its name, and a trainer that nnU-Net finds by that name."""

from __future__ import annotations

from pathlib import Path

EXTENSION = Path(__file__).resolve().parent / "extension"
"""The folder that ``nnUNet_extTrainer`` is to name."""

OLDEST_NNUNET = (2, 8)
"""The first nnU-Net that looks for trainers there. Source: utilities/find_objects.py."""
