"""``--output json`` of every command: on the screen, in a file, and as its schema describes it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from plansguard.documents.models.schema import SCHEMAS
from plansguard.documents.validation import model_class
from plansguard.render import is_report
from tests.support.command import run, start
from tests.support.models import CHECKPOINT
from tests.support.training_records import leave
from tests.support.variants import ROOTS

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
PLANS = f"{ROOTS['preprocessed']}/{RECEIVING}/nnUNetPlans.json"
TRAINING = ("2", "3d_fullres", "0", "-device", "cpu")
DERIVE = ("derive", "-d", "2", "-p", "nnUNetPlans", "-tp", "Derived")
ROAD = ("finetune", "-s", "1", "-t", "2", "-tp", "Moved", "-c", "3d_fullres", "--steps", "100", "-device", "cpu")
#: schema -> commands that print it, with their exit code
OUTPUTS: dict[str, list[tuple[tuple[str, ...], int]]] = {
    "report": [
        (("check", "-d", "2"), 0),
        (("migrate", "-s", "1", "-t", "2", "-tp", "Moved", "--dry-run"), 0),
        ((*DERIVE, "--set", "3d_fullres.batch_size=4", "--dry-run"), 0),
        (("gate", "--dry-run", "--", "nnUNetv2_train", *TRAINING), 1),
        (("train", *TRAINING, "--steps", "100", "--dry-run"), 1),
        (("doctor",), 0),
    ],
    "diff": [(("diff", PLANS, PLANS.replace("nnUNetPlans", "nnUNetResEncUNetMPlans")), 0)],
    "fit": [(("fit", "weights.pth", "weights.pth", "--all"), 1)],
    "adaptation": [(("adapt", "weights.pth", "-d", "1", "-p", "nnUNetPlans", "--dry-run"), 0)],
    "show": [(("show", "weights.pth"), 0), (("show", PLANS), 0)],
    "steps": [(("steps", "--total", "100"), 0), (("steps", "--total", "100", "-d", "2", "-c", "3d_fullres"), 0)],
    "rules": [(("rules",), 0)],
    "explain": [(("explain", "PG101"), 0)],
    "env": [(("env",), 0)],
    "verification": [(("verify-receipt", ROOTS["results"]), 0)],
    "road": [((*ROAD, "--dry-run"), 0)],
    "status": [(("status",), 0)],
    "preprocessing": [(("preprocess", "-d", "2", "-c", "3d_fullres", "--dry-run"), 0)],
}
every_output = pytest.mark.parametrize(
    ("schema", "words", "code"),
    [
        pytest.param(schema, words, code, marks=[pytest.mark.nnunet] if words[0] == "preprocess" else [])
        for schema, commands in OUTPUTS.items()
        for words, code in commands
    ],
)
pytestmark = [pytest.mark.deep, pytest.mark.workspace(RECEIVING, GIVING, chdir=True)]


@pytest.fixture(autouse=True)
def _weights(workspace: Path) -> None:
    shutil.copy(CHECKPOINT, "weights.pth")


def with_output(words: tuple[str, ...], *outputs: str) -> list[str]:
    """The command with outputs, before the command that a gate judges."""
    options = [word for output in outputs for word in ("--output", output)]
    return [words[0], *options, *words[1:]]


def test_every_output_has_a_schema() -> None:
    inputs = {"plans", "dataset", "fingerprint", "splits", "lineage", "stamp", "receipt", "settings", "baseline"}
    assert set(OUTPUTS) == set(SCHEMAS) - inputs


@pytest.mark.slow
@every_output
def test_text_in_files(schema: str, words: tuple[str, ...], code: int) -> None:
    """Also once more, in place of the first, and beside JSON; nothing of it is on the screen."""
    if schema == "verification":
        leave(Path())
    for outputs in (("text=out.txt",), ("text=out.txt", "text=other.txt"), ("json=out.json", "text=out.txt")):
        done = run(*with_output(words, *outputs))
        assert (done.code, done.out) == (code, ""), done.err
        assert is_report(Path("out.txt"))
        assert Path("out.txt").read_text() in run(*with_output(words, "text")).out
    assert Path("other.txt").read_text() == Path("out.txt").read_text() != ""


def test_the_screen_has_several_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two documents on one stream are refused like two in one file."""
    for screen in ("/dev/stdout", "/dev/fd/1", "-"):
        for outputs in (("text", f"json={screen}"), (f"json={screen}", "text"), (f"json={screen}", "json")):
            done = run(*with_output(("rules",), *outputs))
            assert (done.code, done.out) == (2, "")
            assert done.err.startswith("plansguard: only one --output can go to the screen\n")
        assert run("rules", "--output", f"json={screen}").json["schema"] == "plansguard/rules/1"
        refused = run("gate", "--output", f"json={screen}", "--", "nnUNetv2_train", *TRAINING)
        assert (refused.code, "would be mixed with what the command prints" in refused.err) == (2, True)
    with (tmp_path / "out").open("w") as file:
        mixed = start("rules", "--output", "text", "--output", f"json={file.name}", stdout=file)
    assert (mixed.returncode, "only one --output can go to the screen" in mixed.stderr) == (2, True)
    with Path(os.devnull).open("w") as nowhere:
        thrown_away = start("rules", "--output", "text", "--output", f"json={os.devnull}", stdout=nowhere)
    assert thrown_away.returncode == 0


@every_output
def test_json_on_the_screen_and_in_a_file(schema: str, words: tuple[str, ...], code: int) -> None:
    if schema == "verification":
        leave(Path())
    done = run(*with_output(words, "json"))
    assert done.code == code, done.err
    assert done.out.isascii()
    document: dict[str, Any] = done.json
    assert document["schema"] == f"plansguard/{schema}/1"
    model_class(SCHEMAS[schema].model).model_validate(document)
    both = run(*with_output(words, "text", "json=out.json"))
    assert both.code == code
    assert both.out
    assert set(json.loads(Path("out.json").read_bytes())) == set(document)
    assert is_report(Path("out.json"))


@pytest.mark.parametrize("words", [("show", PLANS), ("fit", "weights.pth", "-d", "2")])
def test_json_is_an_alias(words: tuple[str, ...]) -> None:
    assert run(*words, "--json") == run(*words, "--output", "json")


@every_output
def test_other_formats_are_refused(schema: str, words: tuple[str, ...], code: int) -> None:
    done = run(*with_output(words, "yaml"))
    assert (done.code, done.out) == (2, "")
    assert "--output yaml is not known" in done.err
