"""Text from files is harmless in every format: it controls no terminal, begins no command, and is never endless."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import typer
import typer.main

from plansguard.cli import COMMANDS, build_app
from plansguard.commands.check import check
from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.render import FORMATS, Screen, render
from tests.support.command import Done, run
from tests.support.reports import BROKEN, DATASET, EVIL, RULE_PAGES, evil_plans, plans, save
from tests.support.services import Page

pytestmark = pytest.mark.usefixtures("nowhere")

Document = dict[str, Any]
#: What names and values may contain.
TEXTS = {
    "escape sequences": "x\x1b[31m\x1b]0;title\x07",
    "a bell and a backspace": "x\a\b\b\b",
    "marks from right to left": "x\u202e\u2066\u200f",
    "line ends": "x\n::error::owned\r\n::warning::x\u2028::notice::\u0085",
    "a lone surrogate": "x\ud800",
    "markup": "<script>alert(1)</script>%0A%25`|",
    "markdown": "x | y ![i](http://evil) [l](javascript:1) @user #1 https://evil www.evil.org *b* ```` $1$ </details>",
    "a long text": "x" * 1_000_000,
    "a longer text": "x" * 10_000_000,
}
#: Elements of a report as Markdown.
ELEMENTS = {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "a", "code", "span", "details", "summary", "pre"}
ELEMENTS |= {"ul", "li"}
#: Escape sequences that plansguard itself writes: colours.
OURS = re.compile(r"\x1b\[[\d;]*m")
LONGEST = 200_000


def in_configuration(document: Document, text: str) -> None:
    document["configurations"][text] = {**document["configurations"].pop("3d_fullres"), "patch_size": [56, 70, 64]}


def in_value(document: Document, text: str) -> None:
    document["configurations"]["2d"]["normalization_schemes"] = [text]
    document["configurations"]["2d"]["data_identifier"] = text


def in_parent(document: Document, text: str) -> None:
    document["configurations"]["2d"]["inherits_from"] = text


def in_key(document: Document, text: str) -> None:
    document["configurations"]["2d"][text] = document[text] = 1


def in_plans_name(document: Document, text: str) -> None:
    document["plans_name"] = document["dataset_name"] = text


def in_network(document: Document, text: str) -> None:
    document["configurations"]["2d"]["architecture"]["network_class_name"] = text
    document["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["conv_op"] = text


PLACES: dict[str, Callable[[Document, str], None]] = {
    name.removeprefix("in_"): function for name, function in list(globals().items()) if name.startswith("in_")
}
#: Formats in which everything is escaped as JSON does it.
AS_JSON = ("json", "sarif", "gitlab")
every_text = pytest.mark.parametrize(
    "text",
    [pytest.param(name, marks=[pytest.mark.slow] if len(text) > 9_000_000 else []) for name, text in TEXTS.items()],
)
every_place = pytest.mark.parametrize("place", PLACES)


def assert_harmless(shown: str, *, commands: bool = False) -> None:
    """No control character but line ends, no command of GitHub but our own, and no endless output."""
    assert not [char for char in shown if char != "\n" and not char.isprintable()]
    lines = [line for line in shown.splitlines() if line.startswith("::")]
    assert commands or not lines
    assert all(re.match("::(error|warning|notice) file=", line) for line in lines)
    assert len(shown) < LONGEST


def assert_markdown(shown: str) -> None:
    """Nothing but our own elements and links to pages of rules; nothing that a service turns into a link."""
    page = Page(shown)
    assert page.elements <= ELEMENTS
    assert all(link.startswith(f"{RULE_PAGES}/PG") for link in page.links)
    assert page.mentions() == []


@every_text
@every_place
def test_a_report_is_harmless(text: str, place: str) -> None:
    """In every format, and in colour on a terminal."""
    document = plans()
    PLACES[place](document, TEXTS[text])
    save("Plans.json", document)
    report = check(["Plans.json"])
    for name in FORMATS:
        shown = render(report, name, Screen(verbose=True))
        if name in AS_JSON:
            assert shown.isascii()
            json.loads(shown)
        else:
            assert_harmless(shown, commands=name == "github")
        if name == "junit":
            ElementTree.fromstring(shown)
        if name == "markdown":
            assert_markdown(shown)
    assert_harmless(OURS.sub("", render(report, "text", Screen(color=True, width=80))))


@pytest.mark.slow
@every_text
@every_place
@pytest.mark.parametrize("words", [("show",), ("diff", DATASET / "nnUNetPlans.json")])
def test_other_commands_are_harmless(text: str, place: str, words: tuple[str | Path, ...]) -> None:
    document = plans()
    PLACES[place](document, TEXTS[text])
    save("Plans.json", document)
    done = run(*words, "Plans.json")
    assert done.code in (0, 2)
    assert_harmless(done.out + done.err)
    if done.code == 0:
        assert isinstance(run(*words, "Plans.json", "--output", "json").json, dict)


def test_what_is_spelled_out() -> None:
    save("Plans.json", evil_plans())
    for output in ("text", "github"):
        out = run("check", "--output", output, "--fail-on", "info").out
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
    assert_harmless(done.out, commands=output == "github")
    if output == "json":
        assert os.fsencode(done.json["findings"][0]["path"]) == name
    elif output == "sarif":
        assert f'"{quote(name)}"' in done.out
    else:
        assert "udcff" in done.out


@every_text
def test_error_messages_are_harmless(text: str) -> None:
    typed = TEXTS[text][:100_000].replace("\ud800", "\udcff")
    done: Done = run("check", typed)
    assert (done.code, done.out) == (2, "")
    assert_harmless(done.err)


def test_an_error_message_is_spelled_out() -> None:
    assert run("check", EVIL).err.splitlines()[0] == r"plansguard: there is no x\n::error::owned\x1b[31m\u202e\x07"


def _takes(parameter: Any, value: str) -> bool:
    """Whether typer passes this value of an option on."""
    try:
        parameter.type.convert(value, parameter, None)
    except typer.BadParameter:
        return False
    return True


#: Options whose value typer itself reads, and refuses.
READ_BY_TYPER = [
    (name, parameter.opts[-1])
    for name, command in typer.main.get_command(build_app()).commands.items()  # type: ignore[attr-defined]
    for parameter in command.params
    if parameter.param_type_name == "option" and not parameter.is_flag and not _takes(parameter, "?")
]


def test_the_options_that_typer_reads() -> None:
    assert {("check", "--data"), ("steps", "--lr"), ("train", "--num-gpus")} <= {*READ_BY_TYPER}


@pytest.mark.slow
@every_text
def test_messages_of_typer_are_harmless(text: str) -> None:
    """It repeats what is typed: options, values, commands and arguments that it does not know."""
    typed = TEXTS[text][:100_000].replace("\ud800", "\udcff")
    words: list[list[str]] = [[typed], [f"--{typed}"], *([name, f"--{typed}"] for name in COMMANDS)]
    words += [["rules", typed], ["env", typed, typed], *([name, option, typed] for name, option in READ_BY_TYPER)]
    for each in words:
        done = run(*each)
        assert (done.code, done.out) == (2, ""), each
        assert_harmless(done.err)


@pytest.mark.skipif(os.name == "nt", reason="POSIX shells")
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_variable_with_control_characters(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are spelled out, and the shell reads the same value."""
    folder = "/x\x1b[31m\u202e\udcff %d\\n'\"$HOME\ny"
    monkeypatch.setenv("nnUNet_extTrainer", folder)
    done = run("env")
    assert_harmless(done.out)
    printed = subprocess.run(
        [shell, "-c", done.out + 'printf %s "$nnUNet_extTrainer"'], capture_output=True, check=True
    ).stdout
    assert printed == os.fsencode(f"{EXTENSION}{os.pathsep}{folder}")
