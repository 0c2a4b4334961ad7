"""Demonstrate checks of preprocessed data, made by the real nnU-Net, before and after an edit of the plans.

As demo.py, and needs plansguard[train]. It takes about half a minute.
"""

from __future__ import annotations

from pathlib import Path

import stage

PLANS = Path("nnUNet_preprocessed/Dataset002_FinetuneCT/nnUNetPlans.json")


def main() -> None:
    """Run the commands; each must end with the stated exit code."""
    stage.enter()
    stage.say("Preprocess, and keep a record of what the data were made with.")
    stage.plansguard("preprocess -d 2 -p nnUNetPlans -c 3d_fullres -np 1 --yes", expect=0)
    stage.say("Plans and arrays agree, every voxel of them.")
    stage.plansguard("check -d 2 -p nnUNetPlans -c 3d_fullres --data all", expect=0)
    stage.say("The spacing of 3d_fullres is edited. The arrays are unchanged.")
    stage.edit_spacing(PLANS, "3d_fullres", "1.5", "1.0")
    stage.plansguard("check -d 2 -p nnUNetPlans -c 3d_fullres", expect=1)
    stage.leave()


if __name__ == "__main__":
    main()
