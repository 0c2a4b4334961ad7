"""What the demos share: a small nnU-Net workspace to play in, and commands typed in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKSPACE = HERE / "workspace"
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def enter() -> None:
    """Lay out the fixtures' workspace anew in ``demo/workspace``, go there, and point nnU-Net's variables to it."""
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    shutil.copytree(HERE.parent / "fixtures/workspace", WORKSPACE)
    os.chdir(WORKSPACE)
    for folder in FOLDERS:
        os.environ[folder] = folder


def use_processor() -> None:
    """What lets nnU-Net train on a machine without a GPU: no compiling, and one process for what comes after."""
    os.environ.update(nnUNet_compile="f", nnUNet_def_n_proc="1", nnUNet_n_proc_DA="2")


def leave() -> None:
    """Say how to play on."""
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


def nnunet(command: str) -> None:
    """Show a command of nnU-Net's own, run it, insist on its success."""
    print(f"$ {command}", flush=True)
    environment = {**os.environ, "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))}
    result = subprocess.run(command.split(), env=environment, check=False)
    print(f"(exit code {result.returncode})\n", flush=True)
    if result.returncode:
        sys.exit("the demo expected exit code 0")


def edit_spacing(plans: Path, configuration: str, before: str, after: str) -> None:
    """Change the first such number in a configuration's text, as an editor would."""
    head, name, tail = plans.read_text().partition(f'"{configuration}": {{')
    print(f"$ sed -i ... {plans}   # {configuration}, spacing: {before} -> {after}\n", flush=True)
    plans.write_text(head + name + tail.replace(f"{before},", f"{after},", 1))


def say(text: str) -> None:
    """A line of the story."""
    print(f"# {text}", flush=True)
