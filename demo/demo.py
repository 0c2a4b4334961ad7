"""The main job on the fixtures: migrate plans, check them, break them by hand, see it found, see a wrong move refused.

Lays out a small nnU-Net workspace in ``demo/workspace`` (replaced at every run) and types the commands that a user
would type. Needs the light package only.
"""

from __future__ import annotations

from pathlib import Path

import stage

PLANS = Path("nnUNet_preprocessed/Dataset002_FinetuneCT/PretrainPlans.json")


def main() -> None:
    """Run the story; every step states the exit code that it must have."""
    stage.enter()
    stage.say(
        "Dataset001_PretrainCT has been trained, Dataset002_FinetuneCT has been planned. Its fine-tuning needs the"
    )
    stage.say("plans of the weights: move them.")
    stage.plansguard("migrate -s 1 -t 2 -tp PretrainPlans", expect=0)
    stage.say("Everything fits.")
    stage.plansguard("check -d 2 -p PretrainPlans", expect=0)
    stage.say(
        "A week later somebody edits the target spacing of 3d_fullres by hand: 2.5 mm slices become 1.0 mm. nnU-Net"
    )
    stage.say("would train on without a word.")
    stage.edit_spacing(PLANS, "3d_fullres", "2.5", "1.0")
    stage.plansguard("check -d 2 -p PretrainPlans", expect=1)
    stage.say("And the classic: -s and -t the wrong way round.")
    stage.plansguard("migrate -s 2 -t 1 -tp PretrainPlans", expect=1)
    stage.leave()


if __name__ == "__main__":
    main()
