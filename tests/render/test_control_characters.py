"""Text from files does not control the terminal."""

from __future__ import annotations

import json
import os
import sys

import pytest

from plansguard.render import FORMATS
from tests.support.command import run
from tests.support.reports import BROKEN, DATASET, EVIL, evil_plans, plans, save

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.mark.parametrize("output", ["text", "github"])
def test_control_characters_are_spelled_out(output: str) -> None:
    save("Plans.json", evil_plans())
    out = run("check", "--output", output, "--fail-on", "info").out
    assert not [char for char in out if char != "\n" and not char.isprintable()]
    assert not [line for line in out.splitlines() if line.startswith("::error::")]
    assert r"x\n::error::owned\x1b[31m\u202e\x07" in out.replace("%3A", ":")
    assert r"\ud800" in out


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="this system has no such file names")
@pytest.mark.parametrize("output", list(FORMATS))
def test_file_names_of_any_bytes(output: str) -> None:
    name = b"\xff\n::error::\x1b[31mPlans.json"
    with open(name, "w") as stream:  # noqa: PTH123 - a Path cannot be made of bytes
        json.dump(plans(BROKEN), stream)
    done = run("check", "--output", output, "--output", f"{next(one for one in FORMATS if one != output)}=file")
    assert done.code == 1
    assert not [char for char in done.out if char != "\n" and not char.isprintable()]
    assert not [line for line in done.out.splitlines() if line.startswith("::error::\x1b")]
    if output == "json":
        assert os.fsencode(done.json["findings"][0]["path"]) == name
    else:
        assert r"\udcff\n" in done.out


def test_error_messages_are_spelled_out() -> None:
    done = run("check", EVIL)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == r"plansguard: there is no x\n::error::owned\x1b[31m\u202e\x07"


def test_diff_is_spelled_out() -> None:
    save("Plans.json", {**evil_plans(), EVIL: 1})
    out = run("diff", DATASET / "nnUNetPlans.json", "Plans.json").out
    assert not [char for char in out if char != "\n" and not char.isprintable()]
    assert "\n::error::" not in out
