"""Broken variants of the good fixtures, made by edits: this pointer of this file gets this value.

A file is named by the nnU-Net folder and its name in the dataset's folder there: ``preprocessed/nnUNetPlans.json``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plansguard.documents import json_document

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
ROOTS = {"raw": "nnUNet_raw", "preprocessed": "nnUNet_preprocessed", "results": "nnUNet_results"}

#: Files of a dataset, named as in edits.
PLANS = "preprocessed/nnUNetPlans.json"
RESENC = "preprocessed/nnUNetResEncUNetMPlans.json"
DATASET_JSON = "preprocessed/dataset.json"
RAW_DATASET_JSON = "raw/dataset.json"
FINGERPRINT = "preprocessed/dataset_fingerprint.json"

Edit = Callable[[Path, str], None]
"""Changes one file of a workspace (its root folder) for a dataset (its name)."""


def no_variables(workspace: Path) -> Mapping[str, str]:
    """Set no environment variables."""
    return {}


@dataclass(frozen=True)
class Variant:
    """One fault: the edits that make it, the expected findings, and a healthy twin without findings.

    ``expect`` has (code, file, pointer) for every finding, no more and no less; ``twin`` are edits of the same kind
    that are fine (none: the untouched fixture is the twin).

    By default `plansguard check` checks the dataset. ``options`` are those of the check; weights are named by their
    path in the workspace. ``model`` is a folder that is checked in the dataset's place. ``training`` are arguments of
    nnUNetv2_train behind the dataset, which `plansguard gate` judges. ``command`` is any other command: ``migrate`` and
    its options, or a command of nnU-Net for the gate; ``{workspace}`` in its words is the workspace.

    ``also`` are further datasets of the workspace. With ``site``, packages in the workspace's folders site and clone
    are the first that Python finds. ``environment`` gives variables that are set after the edits.

    The twin has the same command and variables, unless ``twin_training``, ``twin_command`` or ``twin_environment`` are
    others.
    """

    name: str
    dataset: str
    edits: tuple[Edit, ...]
    expect: frozenset[tuple[str, str, str]]
    twin: tuple[Edit, ...] = ()
    options: tuple[str, ...] = ()
    model: str = ""
    training: tuple[str, ...] = ()
    twin_training: tuple[str, ...] = ()
    command: tuple[str, ...] = ("check",)
    twin_command: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    site: bool = False
    environment: Callable[[Path], Mapping[str, str]] = no_variables
    twin_environment: Callable[[Path], Mapping[str, str]] | None = None

    @property
    def healthy(self) -> Variant:
        """The twin."""
        return replace(
            self,
            edits=self.twin,
            training=self.twin_training or self.training,
            command=self.twin_command or self.command,
            environment=self.twin_environment or self.environment,
        )


def put(file: str, pointer: str, value: Any) -> Edit:
    """Set the value at ``pointer``; the last token may be new. ``-`` appends to a list."""

    return _edit_json(file, lambda document: set_value(document, pointer, value))


def set_value(document: Any, pointer: str, value: Any) -> None:
    """Set the value at ``pointer`` in a document; ``-`` as last token appends to a list."""
    *parents, last = json_document.tokens(pointer)
    for token in parents:
        document = document[int(token) if isinstance(document, list) else token]
    if isinstance(document, list):
        document.append(value) if last == "-" else document.__setitem__(int(last), value)
    else:
        document[last] = value


def in_both(pointer: str, value: object) -> tuple[Edit, Edit]:
    """Put the same value into the raw and the preprocessed dataset.json."""
    return put(DATASET_JSON, pointer, value), put(RAW_DATASET_JSON, pointer, value)


def resolve(document: Any, pointer: str) -> Any:
    """The part of a JSON value at this pointer."""
    for token in json_document.tokens(pointer):
        document = document[int(token) if isinstance(document, list) else token]
    return document


def drop(file: str, pointer: str) -> Edit:
    """Delete the member or item at ``pointer``."""

    def edit(document: Any) -> None:
        *parents, last = json_document.tokens(pointer)
        for token in parents:
            document = document[int(token) if isinstance(document, list) else token]
        del document[int(last) if isinstance(document, list) else last]

    return _edit_json(file, edit)


def rewrite(file: str, change: Callable[[str], str]) -> Edit:
    """Apply ``change`` to the file's text, for faults below the level of JSON values."""

    def edit(workspace: Path, dataset: str) -> None:
        path = place(workspace, dataset, file)
        path.write_bytes(change(path.read_text(encoding="utf-8")).encode("utf-8", "surrogateescape"))

    return edit


def written(file: str, text: str) -> Edit:
    """Write a new file, named by its path in the workspace."""

    def edit(workspace: Path, dataset: str) -> None:
        path = workspace / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return edit


def remove(file: str) -> Edit:
    """Delete the file or folder."""

    def edit(workspace: Path, dataset: str) -> None:
        path = place(workspace, dataset, file)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return edit


def truncate(file: str, size: int) -> Edit:
    """The file ends after ``size`` bytes."""
    return lambda workspace, dataset: os.truncate(place(workspace, dataset, file), size)


def copy(file: str, to: str, *, of: str | None = None) -> Edit:
    """Copy ``file``, which may be another dataset's (``of``), to ``to``."""

    def edit(workspace: Path, dataset: str) -> None:
        target = place(workspace, dataset, to)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place(workspace, of or dataset, file), target)

    return edit


def place(workspace: Path, dataset: str, file: str) -> Path:
    """Return the path of ``preprocessed/x.json`` of a dataset in a workspace."""
    root, _, name = file.partition("/")
    return workspace / ROOTS[root] / dataset / name


def lay_out(workspace: Path, *datasets: str) -> Path:
    """Copy the fixtures' workspace (all datasets, or those named) to ``workspace``."""
    for root in ROOTS.values():
        (workspace / root).mkdir(parents=True, exist_ok=True)
        for folder in sorted((FIXTURES / "workspace" / root).iterdir()):
            if not datasets or folder.name in datasets:
                _write_out(folder, workspace / root / folder.name)
    return workspace


@cache
def _content(folder: Path) -> tuple[tuple[str, bytes | None], ...]:
    """The files below a folder of the fixtures, and None for each folder, which precedes what it contains."""
    paths = sorted(folder.rglob("*"))
    return tuple((str(path.relative_to(folder)), None if path.is_dir() else path.read_bytes()) for path in paths)


def _write_out(folder: Path, copy: Path) -> None:
    """Copy a folder of the fixtures, which is read once. Thousands of tests have a copy."""
    copy.mkdir()
    for name, content in _content(folder):
        if content is None:
            (copy / name).mkdir()
        else:
            (copy / name).write_bytes(content)


def point_to(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nnU-Net's variables name the three folders of a workspace."""
    for name in ROOTS.values():
        monkeypatch.setenv(name, str(workspace / name))


def finding(code: str, file: str, pointer: str = "") -> frozenset[tuple[str, str, str]]:
    """A single finding, as ``Variant.expect`` takes it."""
    return frozenset({(code, file, pointer)})


def found_in(workspace: Path, dataset: str, findings: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Return (code, file, pointer) of findings in the JSON report, with files named as in edits.

    Files elsewhere are named by their path in the workspace.
    """
    roots = {Path(os.path.realpath(workspace / folder / dataset)): root for root, folder in ROOTS.items()}
    result = set()
    for finding in findings:
        if finding["path"] in (*ROOTS.values(), "nnUNet_extTrainer"):  # a variable
            result.add((finding["code"], finding["path"], finding["pointer"]))
            continue
        path = Path(os.path.realpath(finding["path"]))
        folder = next((one for one in roots if one == path or one in path.parents), Path(os.path.realpath(workspace)))
        file = (Path(roots.get(folder, "")) / path.relative_to(folder)).as_posix()
        result.add((finding["code"], file, finding["pointer"]))
    return result


def _edit_json(file: str, edit: Callable[[Any], None]) -> Edit:
    def apply(workspace: Path, dataset: str) -> None:
        path = place(workspace, dataset, file)
        document = json.loads(path.read_bytes())
        edit(document)
        path.write_bytes(json_document.dumps(document))

    return apply
