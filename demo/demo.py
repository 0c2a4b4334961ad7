"""The main job on the fixtures: migrate plans, check them, break them by hand, see it found, see a wrong move refused.

Lays out a small nnU-Net workspace in ``demo/workspace`` (replaced at every run) and types the commands that a user
would type. Needs the light package only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKSPACE = HERE / "workspace"
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
PLANS = Path("nnUNet_preprocessed/Dataset002_FinetuneCT/PretrainPlans.json")


def main() -> None:
    """Run the story; every step states the exit code that it must have."""
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    shutil.copytree(HERE.parent / "fixtures/workspace", WORKSPACE)
    os.chdir(WORKSPACE)
    for folder in FOLDERS:
        os.environ[folder] = folder
    say("Dataset001_PretrainCT has been trained, Dataset002_FinetuneCT has been planned. Its fine-tuning needs the")
    say("plans of the weights: move them.")
    plansguard("migrate -s 1 -t 2 -tp PretrainPlans", expect=0)
    say("Everything fits.")
    plansguard("check -d 2 -p PretrainPlans", expect=0)
    say("A week later somebody edits the target spacing of 3d_fullres by hand: 2.5 mm slices become 1.0 mm. nnU-Net")
    say("would train on without a word.")
    edit_spacing()
    plansguard("check -d 2 -p PretrainPlans", expect=1)
    say("And the classic: -s and -t the wrong way round.")
    plansguard("migrate -s 2 -t 1 -tp PretrainPlans", expect=1)
    say("That was it. To play on:")
    print(f"cd {os.path.relpath(WORKSPACE, HERE.parent)}")
    print("export", *(f"{folder}=$PWD/{folder}" for folder in FOLDERS))
    print(f"{sys.executable} -m plansguard check")


def plansguard(arguments: str, *, expect: int) -> None:
    """Show the command, run it, insist on its exit code."""
    print(f"$ plansguard {arguments}", flush=True)
    result = subprocess.run([sys.executable, "-m", "plansguard", *arguments.split()], check=False)
    print(f"(exit code {result.returncode})\n", flush=True)
    if result.returncode != expect:
        sys.exit(f"the demo expected exit code {expect}")


def edit_spacing() -> None:
    """Change one number in the plans' text, as an editor would."""
    before, configuration, after = PLANS.read_text().partition('"3d_fullres": {')
    print(f"$ sed -i ... {PLANS}   # 3d_fullres, spacing: 2.5 -> 1.0\n", flush=True)
    PLANS.write_text(before + configuration + after.replace("2.5,", "1.0,", 1))


def say(text: str) -> None:
    """A line of the story."""
    print(f"# {text}", flush=True)


if __name__ == "__main__":
    main()
