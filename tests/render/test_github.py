"""Reports as annotations of GitHub Actions."""

from __future__ import annotations

import os
import re

import pytest

from tests.support.command import run
from tests.support.reports import BROKEN, RULE_PAGES, plans, save

pytestmark = pytest.mark.usefixtures("nowhere")


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as GitHub's runner reads them: kind, properties, message."""
    read = []
    for line in text.splitlines():
        if match := re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line):
            properties = dict(one.split("=", 1) for one in match[2].split(","))
            read.append((match[1], {key: _unescaped(value) for key, value in properties.items()}, _unescaped(match[3])))
    return read


def _unescaped(text: str) -> str:
    for char in "\r\n:,%":
        text = text.replace(f"%{ord(char):02X}", char)
    return text


def test_github_annotation() -> None:
    save("sub/P.json", plans(BROKEN))
    lines = run("check", "--output", "github").out.splitlines()
    assert lines[0].startswith(
        "::error file=sub/P.json,line=166,col=17,title=PG101 patch-not-divisible::patch_size [56"
    )
    assert re.fullmatch(r"plansguard: 1 error, 0 warnings, 0 info in 1 file", lines[1])
    ((kind, properties, message),) = commands(lines[0])
    assert kind == "error"
    assert properties == {"file": "sub/P.json", "line": "166", "col": "17", "title": "PG101 patch-not-divisible"}
    assert message.splitlines()[1:] == [
        "the first forward pass fails: the decoder cannot join its upsampled maps with the encoder's",
        "fix: use 64 or 80 on axis 1 of patch_size",
        f"{RULE_PAGES}/PG101-patch-not-divisible.md",
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_github_escapes_what_separates() -> None:
    name = "50%, a:b,%0A::x=\r\n"
    save(f"{name}/P.json", plans(BROKEN))
    document = plans()
    document["configurations"]["2d"]["normalization_schemes"] = ["100%\r\n::warning::x"]
    save(f"{name}/Q.json", document)
    found = commands(run("check", "--output", "github").out)
    assert {properties["file"] for _, properties, _ in found} == {
        f"50%, a:b,%0A::x=\\r\\n/{plans}.json" for plans in "PQ"
    }
    assert any(r"100%\r\n::warning::x" in message for _, _, message in found)


def test_github_puts_the_most_severe_first() -> None:
    """GitHub shows ten annotations of a kind and drops the others."""
    save("plansguard.json", {"severity": {"PG101": "info", "PG102": "warning", "PG004": "error"}})
    save("A/P.json", plans(BROKEN))
    save("B/P.json", plans(("3d_fullres", [56, 64, 16])))
    save("C/P.json", plans())
    save("C/MyPlans.json", {})
    lines = run("check", "--output", "github").out.splitlines()
    assert [kind for kind, _, _ in commands("\n".join(lines))] == ["error", "warning", "notice"]
    assert lines[-1].startswith("plansguard: 1 error, 1 warning, 1 info in 4 files")


def test_github_leaves_out_what_is_ignored() -> None:
    save("P.json", plans(BROKEN))
    save("plansguard.json", {"ignore": [{"rule": "PG101", "reason": "on purpose"}]})
    assert commands(run("check", "--output", "github").out) == []
