"""What nnU-Net finds in this folder, which ``nnUNet_extTrainer`` names: a class for every schedule, by its name.

nnU-Net imports every module of such a folder and asks it for an attribute of the trainer's name. The folder holds
nothing else and is no package, as nnU-Net wants it; the classes live in the installed package.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from plansguard.training.trainer_name import is_step_name

    if not is_step_name(name):
        raise AttributeError(name)
    from plansguard.training.trainer import trainer_class

    return trainer_class(name)
