"""Reports as text, in colour on a terminal."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from plansguard.commands.check import check
from tests.support.command import run, start
from tests.support.reports import BROKEN, DATASET, plans, save

pytestmark = pytest.mark.usefixtures("nowhere")


def test_text_of_one_finding() -> None:
    save("sub/P.json", plans(BROKEN))
    assert run("check").out.startswith(
        "error[PG101] patch-not-divisible\n"
        "  --> sub/P.json:166:17 (3d_fullres)\n"
        "  patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1\n"
        "  fix: use 64 or 80 on axis 1 of patch_size\n"
        "\n"
        "not checked: PG"
    )


def test_skipped_checks_are_reported_once_per_reason() -> None:
    save("P.json", plans())
    save("Q.json", plans())
    skipped = check([]).not_checked
    codes = {
        reason: sorted({one.code for one in skipped if one.reason == reason})
        for reason in {one.reason for one in skipped}
    }
    expected = [
        f"not checked: {', '.join(some[:4])}{f' and {len(some) - 4} more' if some[4:] else ''}: {reason}"
        for reason, some in sorted(codes.items())
    ]
    *lines, summary = run("check").out.splitlines()
    assert lines == expected
    assert any(" more: there is no dataset.json beside the plans" in line for line in lines)
    assert summary == f"no findings in 2 documents, {len(skipped)} checks not possible"


def test_repeats_are_gathered() -> None:
    """One block for what is the same fault with the same remedy, in the order of the first place."""
    for number in range(7):
        save(f"P{number}.json", plans(BROKEN))
    save("P3.json", plans(("3d_fullres", [56, 71, 64]), plans_name="Other"))
    blocks = run("check").out.split("\n\n")
    assert blocks[0].splitlines()[:9] == [
        "error[PG101] patch-not-divisible",
        *(f"  --> P{number}.json:166:17 (3d_fullres)" for number in (0, 1, 2, 4, 5)),
        "  ... and 1 more place",
        "  patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
        "  fix: use 64 or 80 on axis 1 of patch_size",
    ]
    assert blocks[1].splitlines()[:3] == [
        "error[PG101] patch-not-divisible",
        "  --> P3.json:166:17 (3d_fullres)",
        "  patch_size [56, 71, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
    ]
    assert "7 errors in 7 documents, " in blocks[2]


def test_related_places_are_shown() -> None:
    Path("P.json").write_text(json.dumps(plans(), indent=4).replace("{", '{\n    "plans_name": "other",', 1))
    out = run("check").out
    assert "  --> P.json:4:5\n" in out
    assert "  see P.json:2:5: the first one, which is not used\n" in out


def test_text_of_a_clean_check() -> None:
    shutil.copytree(DATASET, "Dataset002_FinetuneCT")
    last = run("check").out.splitlines()[-1]
    assert last == "no findings in 5 documents"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "empty NO_COLOR", "NO_COLOR", "dumb terminal"],
)
def test_color_on_a_terminal(environment: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    save("P.json", plans(BROKEN))
    ours, its = os.openpty()
    start("check", stdout=its, environment={"TERM": "xterm", **environment})
    os.close(its)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert ("\x1b[31;1merror[PG101]\x1b[0m patch-not-divisible" in shown) is colored
    assert ("\x1b" in shown) is colored


def test_no_color_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    save("P.json", plans(BROKEN))
    assert "\x1b" not in run("check").out
