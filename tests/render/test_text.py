"""Reports as text, in colour on a terminal."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Excerpt, Finding, Location, Report, Severity, SkippedRules
from plansguard.render import Screen, printable, render
from plansguard.render.columns import display_width, wrapped
from tests.support.command import run, start
from tests.support.reports import BROKEN, DATASET, plans, save

pytestmark = pytest.mark.usefixtures("nowhere")


def test_text_of_one_finding() -> None:
    save("sub/P.json", plans(BROKEN))
    assert run("check").out.startswith(
        "error[PG101] patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1\n"
        "  sub/P.json:166:17 (3d_fullres)\n"
        '    166 | "patch_size": [56, 70, 64],\n'
        "        |                    ^^\n"
        "  the first forward pass fails: the decoder cannot join its upsampled maps with the encoder's\n"
        "  fix: use 64 or 80 on axis 1 of patch_size\n"
        "\n"
        "not checked: "
    )


def test_skipped_checks_are_reported_once_per_reason() -> None:
    """Over all datasets, those of most rules first; ``--verbose`` names every rule and place, ``--quiet`` none."""
    save("A/P.json", plans())
    save("B/P.json", plans())
    skipped = check([]).not_checked
    codes: dict[str, set[str]] = {}
    for one in skipped:
        codes.setdefault(one.reason, set()).add(one.code)
    *lines, summary = run("check").out.splitlines()
    ordered = sorted(codes.items(), key=lambda item: (-len(item[1]), item[0]))
    assert len(lines) == len(ordered) <= 5
    for line, (reason, names) in zip(lines, ordered, strict=True):
        assert line.startswith(f"not checked: {reason} ({len(names)} rules at ")
    assert summary == "no findings in 2 files"
    verbose = run("check", "--verbose").out
    for reason in codes:
        below = verbose.partition(f"not checked: {reason} (")[2].partition("not checked: ")[0]
        for one in (one for one in skipped if one.reason == reason):
            rules = below.partition(f"  {one.path}\n")[2].partition("\n")[0]
            assert f"{one.code} {one.name}" in rules
    assert run("check", "--quiet").out == ""
    assert run("check", "--quiet", "--verbose").code == 2


def test_of_many_reasons_five_are_listed() -> None:
    records = tuple(SkippedRules("P.json", f"reason {number}", ((f"PG10{number}", "x"),)) for number in range(8))
    lines = render(Report("check", (), 1, skipped=records), "text").splitlines()
    assert lines == [
        *(f"not checked: reason {number} (PG10{number})" for number in range(5)),
        "not checked: 3 more rules, listed by --verbose",
        "no findings in 1 file",
    ]


def test_a_check_of_many_healthy_datasets_is_short() -> None:
    for number in range(12):
        shutil.copytree(DATASET, f"data/Dataset{number:03d}_Healthy")
        for path in Path(f"data/Dataset{number:03d}_Healthy").glob("*.json"):
            path.write_text(path.read_text().replace(DATASET.name, f"Dataset{number:03d}_Healthy"))
    done = run("check")
    assert done.out.splitlines()[-1] == "no findings in 12 datasets, 60 files"
    assert len(done.out.splitlines()) <= 10


def test_repeats_are_gathered() -> None:
    """One block for what is the same fault with the same remedy, in the order of the first place; why is said once."""
    for number in range(7):
        save(f"P{number}.json", plans(BROKEN))
    save("P3.json", plans(("3d_fullres", [56, 71, 64]), plans_name="Other"))
    blocks = run("check").out.split("\n\n")
    assert blocks[0].splitlines() == [
        "error[PG101] patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
        *(f"  P{number}.json:166:17 (3d_fullres)" for number in (0, 1, 2, 4, 5)),
        "  ... and 1 more place",
        '    166 | "patch_size": [56, 70, 64],',
        "        |                    ^^",
        "  the first forward pass fails: the decoder cannot join its upsampled maps with the encoder's",
        "  fix: use 64 or 80 on axis 1 of patch_size",
    ]
    assert blocks[1].splitlines() == [
        "error[PG101] patch_size [56, 71, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
        "  P3.json:166:17 (3d_fullres)",
        '    166 | "patch_size": [56, 71, 64],',
        "        |                    ^^",
        "  fix: use 64 or 80 on axis 1 of patch_size",
    ]
    assert "7 errors in 7 files" in blocks[2]


def test_related_places_are_shown() -> None:
    Path("P.json").write_text(json.dumps(plans(), indent=4).replace("{", '{\n    "plans_name": "other",', 1))
    out = run("check").out
    assert "  P.json:4:5\n" in out
    assert "  see P.json:2:5: the first one\n" in out


def test_text_of_a_clean_check() -> None:
    shutil.copytree(DATASET, "Dataset002_FinetuneCT")
    last = run("check").out.splitlines()[-1]
    assert last == "no findings in 1 dataset, 5 files"


# --- Beside the excerpt, and on a terminal


def finding(message: str = "m", **fields: Any) -> Finding:
    return Finding("PG101", "x", Severity.ERROR, message, "f", Location("P.json"), **fields)


def shown(one: Finding, **screen: Any) -> list[str]:
    return render(Report("check", (), 1, (one,)), "text", Screen(quiet=True, **screen)).splitlines()


def test_the_mark_stands_beside_the_value() -> None:
    excerpt = Excerpt(9, '        "spacing": [1.0, 0.8, 0.8],', 20, 3)
    lines = shown(finding(excerpt=excerpt, mark="2.5 when migrated"))
    assert lines[2:4] == ['    9 | "spacing": [1.0, 0.8, 0.8],', "      |             ^^^ 2.5 when migrated"]
    narrow = shown(finding(excerpt=excerpt, mark="2.5 when migrated"), width=40)
    assert narrow[2:5] == [*lines[2:3], "      |             ^^^", "      | 2.5 when migrated"]


@pytest.mark.parametrize("width", [40, 80, 100])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    words = "one fault of the plans in " * 12
    excerpt = Excerpt(1, f"{{{'x' * 300}1.0{'y' * 300}", 301, 3)
    for line in shown(finding(words, excerpt=excerpt, mark=words, why=words), width=width):
        assert len(line) <= width
    assert "^^^" in "".join(shown(finding(excerpt=excerpt), width=width))


@pytest.mark.parametrize("value", ["0", "0.8", "[1, 2]", "\t\t\t", "\x1b[0m", "\u809d\u81d3\u809d", "v" * 200])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (300, 0), (0, 300), (300, 300), (300, 4), (60, 20)])
@pytest.mark.parametrize("filling", ["x", "\t", "\u809d", "\x1b"])
def test_the_mark_is_under_the_value_on_every_terminal(value: str, before: int, after: int, filling: str) -> None:
    """At least its first characters are shown, and nothing is wider than the terminal."""
    text = "{" + filling * before + value + filling * after
    line, mark = shown(finding(excerpt=Excerpt(1, text, 1 + before, len(value))), width=60)[2:4]
    assert max(map(display_width, (line, mark))) <= 60
    start = display_width(mark) - len(mark.lstrip(" |"))
    at = next(index for index in range(len(line) + 1) if display_width(line[:index]) == start)
    assert line[at:].startswith(printable(value)[:10])


@pytest.mark.parametrize("text", ["a=b " * 20_000, "x" + " " * 50_000, "x" + " " * 50_000 + "y", "[1, " * 20_000])
def test_long_texts_are_wrapped(text: str) -> None:
    """Time grows with the length, and not with its square: otherwise this takes minutes."""
    assert "".join("".join(wrapped(text, 80)).split()) == "".join(text.split())


def test_commands_are_not_divided() -> None:
    """A command that is longer than the terminal has a line of its own, which the terminal itself divides."""
    command = "plansguard preprocess -d 2 -p PretrainPlans -c 3d_fullres -c 3d_lowres"
    text = f"the data are old; preprocess them again: {command}; then check"
    assert wrapped(text, 60) == ["the data are old; preprocess them again:", f"{command};", "then check"]
    assert wrapped(text, None) == [text]


def test_wide_characters_take_two_columns() -> None:
    excerpt = Excerpt(1, '{"\u809d\u81d3": 1.0}', 7, 3)
    line, mark = shown(finding(excerpt=excerpt))[2:4]
    assert (line, mark) == ('    1 | {"\u809d\u81d3": 1.0}', "      |          ^^^")


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
    assert ("\x1b[31;1merror[PG101]\x1b[0m\x1b[1m patch_size" in shown) is colored
    assert ("\x1b" in shown) is colored


def test_no_color_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    save("P.json", plans(BROKEN))
    assert "\x1b" not in run("check").out
