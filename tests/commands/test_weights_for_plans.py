"""Weights in place of plans: the commands that take plans name those that take weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.plans_files import CT

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.fixture
def weights() -> Path:
    """Weights beside healthy plans."""
    folder = Path(shutil.copytree(CT, "plans of kidneys"))
    path = folder / "pretrained.pth"
    path.touch()
    return path


def test_check(weights: Path) -> None:
    """The documents beside them were checked, and "no findings" read as if the weights had been."""
    done = run("check", weights)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"plansguard: {weights} is no plans file\n"
        f"  plansguard show '{weights}' describes it, and plansguard fit '{weights}' --all lists what it fits\n"
    )


def test_check_of_all_files(weights: Path) -> None:
    """As the * of a shell names them."""
    assert run("check", *weights.parent.iterdir()).code == 0


def test_safetensors() -> None:
    """Such a file was read as JSON, and it has no plans to extract."""
    Path("pretrained.safetensors").touch()
    done = run("diff", "pretrained.safetensors", CT / "nnUNetPlans.json")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "plansguard: pretrained.safetensors is no plans file\n"
        "  a safetensors file has no plans; name those with which its weights were trained\n"
    )
