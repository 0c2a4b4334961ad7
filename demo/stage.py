"""Shared functions of the demos: a small nnU-Net workspace, and commands run in it."""

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
    """Copy the fixtures' workspace to ``demo/workspace``, change to it, and set nnU-Net's variables."""
    shutil.rmtree(WORKSPACE, ignore_errors=True)
    shutil.copytree(HERE.parent / "fixtures/workspace", WORKSPACE)
    os.chdir(WORKSPACE)
    for folder in FOLDERS:
        os.environ[folder] = folder


def use_processor() -> None:
    """Let nnU-Net train without a GPU: no compilation, one process for validation."""
    os.environ.update(nnUNet_compile="f", nnUNet_def_n_proc="1", nnUNet_n_proc_DA="2")


def leave() -> None:
    """Print how to continue by hand."""
    say("End of the demo. To continue by hand:")
    print(f"cd {os.path.relpath(WORKSPACE, HERE.parent)}")
    print("export", *(f"{folder}=$PWD/{folder}" for folder in FOLDERS))
    print(f"{sys.executable} -m plansguard check")


def plansguard(arguments: str, *, expect: int) -> None:
    """Print a command, run it, and require its exit code."""
    print(f"$ plansguard {arguments}", flush=True)
    result = subprocess.run([sys.executable, "-m", "plansguard", *arguments.split()], check=False)
    print(f"(exit code {result.returncode})\n", flush=True)
    if result.returncode != expect:
        sys.exit(f"the demo expected exit code {expect}")


def nnunet(command: str) -> None:
    """Print a command of nnU-Net, run it, and require its success."""
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
    """Print a comment."""
    print(f"# {text}", flush=True)
