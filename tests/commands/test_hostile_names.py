"""Names and fields that become parts of paths, of any type and length: a finding or one message, never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Done, run, start
from tests.support.permissions import bound_by_permissions, closed, posix_permissions
from tests.support.variants import place

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
VALUES: dict[str, Any] = {
    "number": 5,
    "list": [1],
    "null": None,
    "long": "x" * 300,
    "longer": "x" * 5000,
    "NUL": "a\0b",
    "surrogate": "a\ud800b",
    "newline": "a\nb",
    "parent": "../../x",
    "empty": "",
    "dot": ".",
    "absolute": "/etc",
}
PLANS, DATASET_JSON, SPLITS = "nnUNetPlans.json", "dataset.json", "splits_final.json"
#: The file, and the keys that lead to the field.
FIELDS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "plans_name": (PLANS, ("plans_name",)),
    "dataset_name": (PLANS, ("dataset_name",)),
    "image_reader_writer": (PLANS, ("image_reader_writer",)),
    "experiment_planner_used": (PLANS, ("experiment_planner_used",)),
    "data_identifier": (PLANS, ("configurations", "3d_fullres", "data_identifier")),
    "previous_stage": (PLANS, ("configurations", "3d_fullres", "previous_stage")),
    "inherits_from": (PLANS, ("configurations", "3d_fullres", "inherits_from")),
    "file_ending": (DATASET_JSON, ("file_ending",)),
    "reader": (DATASET_JSON, ("overwrite_image_reader_writer",)),
    "dataset": (DATASET_JSON, ("dataset",)),
    "case": (SPLITS, (0, "train", 0)),
}
NAMES = {key: VALUES[key] for key in ("long", "longer", "newline", "parent", "empty", "dot", "absolute")}
#: Values of other types, for the fields of documents.
OTHER_TYPES: dict[str, object] = {"an object": {"a": "b"}, "a list": [], "a number": 3.5, "a truth value": True}
MIGRATE = ("migrate", "-s", "1", "-t", "2", "-tp")
GATE = ("gate", "--dry-run", "--", "nnUNetv2_train", "1", "3d_fullres", "0", "-device", "cpu")
OPTIONS = {
    "check path": ("check", "{}"),
    "check -d": ("check", "-d", "{}"),
    "check -p": ("check", "-d", "1", "-p", "{}"),
    "check -c": ("check", "-d", "1", "-c", "{}"),
    "check --settings": ("check", "-d", "1", "--settings", "{}"),
    "check weights": ("check", "-d", "1", "-pretrained_weights", "{}"),
    "migrate -s": ("migrate", "-s", "{}", "-t", "2", "-tp", "N"),
    "migrate -t": ("migrate", "-s", "1", "-t", "{}", "-tp", "N"),
    "migrate -tp": (*MIGRATE, "{}", "--dry-run"),
    "show": ("show", "{}"),
    "diff": ("diff", "{}", "{}"),
    "diff revision": ("diff", "HEAD:{}", "{}"),
    "extract": ("extract", "{}"),
    "fit": ("fit", "{}"),
    "verify-receipt": ("verify-receipt", "{}"),
    "explain": ("explain", "{}"),
    "schema": ("schema", "{}"),
    "preprocess -p": ("preprocess", "-d", "1", "-p", "{}", "-c", "3d_fullres", "--dry-run"),
    "train -p": ("train", "1", "3d_fullres", "0", "--steps", "100", "-p", "{}", "--dry-run"),
    "train fold": ("train", "1", "3d_fullres", "{}", "--steps", "100", "--dry-run"),
    "train -tr": ("train", "1", "3d_fullres", "0", "-tr", "{}", "--dry-run"),
    "train weights": ("train", "1", "3d_fullres", "0", "--steps", "100", "-pretrained_weights", "{}", "--dry-run"),
    "gate -p": ("gate", "--dry-run", "--", "nnUNetv2_train", "1", "3d_fullres", "0", "-p", "{}"),
    "gate -i": ("gate", "--dry-run", "--", "nnUNetv2_predict", "-i", "{}", "-o", "out", "-d", "1", "-c", "3d_fullres"),
}

pytestmark = pytest.mark.workspace(CT, OTHER_CT, chdir=True)


def assert_no_crash(done: Done, case: str) -> None:
    assert done.code in (0, 1, 2, 3), case
    for text in (done.out, done.err):
        assert "Traceback" not in text, case
        assert "PG000" not in text, case


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_documents(field: str, workspace: Path) -> None:
    name, (*above, last) = FIELDS[field]
    path = place(workspace, CT, f"preprocessed/{name}")
    original = path.read_text(encoding="utf-8")
    for kind, value in {**VALUES, **OTHER_TYPES}.items():
        document = json.loads(original)
        part: Any = document
        for key in above:
            part = part[key]
        part[last] = value
        path.write_text(json.dumps(document), encoding="utf-8")
        for command in (("check", "-d", "1"), (*MIGRATE, "N", "--dry-run"), ("show", path), GATE):
            assert_no_crash(run(*command), f"{kind} {command}")


@pytest.mark.parametrize("kind", VALUES)
def test_odd_keys_beside_faults_of_type(kind: str, workspace: Path) -> None:
    """A key is a text; half a surrogate pair is one that UTF-8 cannot encode."""
    key = str(VALUES[kind])
    for name in (PLANS, DATASET_JSON, "dataset_fingerprint.json"):
        path = place(workspace, CT, f"preprocessed/{name}")
        original = path.read_text(encoding="utf-8")
        document = json.loads(original)
        for part in [document, *(value for value in document.values() if isinstance(value, dict))]:
            part[key] = {"batch_size": "x", "mean": "x"}
        document["plans_name"] = document["numTraining"] = document["spacings"] = 5
        path.write_text(json.dumps(document), encoding="utf-8")
        assert_no_crash(run("check", "-d", "1"), name)
        path.write_text(original, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_options(option: str, workspace: Path) -> None:
    for kind, value in NAMES.items():
        assert_no_crash(run(*(part.replace("{}", value) for part in OPTIONS[option])), kind)


@posix_permissions
def test_a_dataset_without_permission_is_named(workspace: Path) -> None:
    """It was called a problem of plansguard.json."""
    before = bound_by_permissions()
    folder = place(workspace, CT, "preprocessed/dataset.json").parent
    with closed(folder):
        done = start("check", "-d", "1", before=before)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"plansguard: {folder}: the folder cannot be listed: Permission denied\n  check its permissions\n"
    )
