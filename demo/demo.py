"""Demonstrate the main workflow on the fixtures: migrate plans, check them, edit them by hand, move them back.

Creates a small nnU-Net workspace in ``demo/workspace`` (replaced at every run) and runs the commands that a user would
type. Needs the light package only.
"""

from __future__ import annotations

from pathlib import Path

import stage

PLANS = Path("nnUNet_preprocessed/Dataset002_FinetuneCT/PretrainPlans.json")


def main() -> None:
    """Run the commands; each must end with the stated exit code."""
    stage.enter()
    stage.say(
        "Dataset001_PretrainCT has been trained, Dataset002_FinetuneCT has been planned. Its fine-tuning needs the"
    )
    stage.say("plans of the weights. The whole road, judged for a machine with a GPU of 24 GB:")
    road = "finetune -s 1 -t 2 -tp PretrainPlans -c 3d_fullres -f 0 1 2 3 4 --steps 50000 --gpu-memory 24 --dry-run"
    stage.plansguard(road, expect=0)
    stage.say("Its first step is to migrate the plans.")
    stage.plansguard("migrate -s 1 -t 2 -tp PretrainPlans", expect=0)
    stage.say("Everything fits.")
    stage.plansguard("check -d 2 -p PretrainPlans", expect=0)
    stage.say(
        "A week later the target spacing of 3d_fullres is edited by hand: 2.5 mm slices become 1.0 mm. nnU-Net would"
    )
    stage.say("train without a message.")
    stage.edit_spacing(PLANS, "3d_fullres", "2.5", "1.0")
    stage.plansguard("check -d 2 -p PretrainPlans", expect=1)
    stage.say("Plans are moved back to where they came from.")
    stage.plansguard("migrate -s 2 -t 1 -sp PretrainPlans -tp Back", expect=1)
    stage.leave()


if __name__ == "__main__":
    main()
