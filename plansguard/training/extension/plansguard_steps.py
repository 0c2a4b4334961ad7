"""Module of the folder that ``nnUNet_extTrainer`` names: it has a class for every schedule, by the trainer's name.

nnU-Net imports every module of such a folder and asks for an attribute of the trainer's name. The folder must be no
package; it contains this module only, and the classes are in the installed package.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from plansguard.training.trainer_name import is_step_name

    if not is_step_name(name):
        raise AttributeError(name)
    from plansguard.training.trainer import trainer_class

    return trainer_class(name)
