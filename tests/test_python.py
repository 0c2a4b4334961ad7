"""The names that other programs import: the examples of docs/python.md, and a report in a notebook."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import plansguard
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "python.md"


@pytest.mark.workspace("Dataset001_PretrainCT", "Dataset002_FinetuneCT", chdir=True)
def test_the_examples_of_the_documentation(workspace: Path) -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8", optionflags=doctest.ELLIPSIS)
    assert results.attempted > 15
    assert results.failed == 0


def test_every_name_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    described = {name for name in plansguard.__all__ if f"`{name}`" in text or f"## {name}" in text}
    assert described >= set(plansguard.__all__) - {"Finding", "__version__"}


def test_a_report_is_a_frame_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    report = plansguard.check(["fixtures/workspace/nnUNet_preprocessed/Dataset001_PretrainCT"])
    shown = report._repr_html_()
    assert shown is not None
    page = unescape(shown.partition('srcdoc="')[2].partition('"')[0])
    assert page.startswith("<!DOCTYPE html>")
    assert "no findings" in page
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert report._repr_html_() is None


def test_the_package_loads_nothing() -> None:
    code = "import sys, plansguard; print([name for name in sys.modules if name.startswith('plansguard')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['plansguard']"


@pytest.mark.slow
def test_a_report_in_a_notebook(tmp_path: Path) -> None:
    pytest.importorskip("ipykernel", reason="notebooks need nbclient and ipykernel: pip install nbclient ipykernel")
    import nbformat
    from nbclient import NotebookClient

    folder = ROOT / "fixtures/workspace/nnUNet_preprocessed/Dataset001_PretrainCT"
    source = f"from plansguard import check\nreport = check([{str(folder)!r}])\nreport"
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }
    notebook = nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]})
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute(
        env={**os.environ, "PYTHONPATH": path}
    )
    (output,) = notebook.cells[0].outputs
    assert output["data"]["text/html"].startswith("<iframe")
