"""What other programs take from the project: the GitHub action, the schemas of editors, the driver of ``git diff``."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

import plansguard
from tests.conftest import ROOT

CATALOG: list[dict[str, Any]] = json.loads((ROOT / "schemas/catalog.json").read_bytes())["schemas"]
EDITORS = (ROOT / "docs/editors.md").read_text(encoding="utf-8")
DATASET = ROOT / "fixtures/workspace/nnUNet_preprocessed/Dataset001_PretrainCT"


def block(language: str) -> str:
    """Return the first block of docs/editors.md in this language."""
    found = re.search(rf"```{language}\n(.*?)```", EDITORS, re.DOTALL)
    assert found is not None
    return found[1]


# --- The GitHub action


class Runner:
    """Runs the steps of a composite action as a runner does, without downloads: pip finds what this Python has."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        self.action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
        defaults = {name: entry["default"] for name, entry in self.action["inputs"].items()}
        self.inputs = defaults | inputs
        self.workspace = folder / "work"
        self.files = {name: folder / name for name in ("GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        (folder / "temp").mkdir()
        for file in self.files.values():
            file.touch()
        site = next(path for path in map(Path, sys.path) if path.name == "site-packages")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "nnUNet"))},
            **{name: str(file) for name, file in self.files.items()},
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(folder / "temp"),
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_WORKSPACE": str(self.workspace),
            "PYTHONPATH": str(site),
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_FORCE_REINSTALL": "1",
        }

    def run(self) -> list[subprocess.CompletedProcess[str]]:
        """Return the steps up to the first one that fails."""
        done: list[subprocess.CompletedProcess[str]] = []
        for step in self.action["runs"]["steps"]:
            assert step["shell"] == "bash"
            more = {name: self._filled(value) for name, value in step.get("env", {}).items()}
            path = os.pathsep.join([*self.files["GITHUB_PATH"].read_text().split(), self.environment["PATH"]])
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            environment = {**self.environment, **more, "PATH": path}
            result = subprocess.run(
                command, cwd=self.workspace, env=environment, capture_output=True, text=True, check=False
            )
            done.append(result)
            if result.returncode:
                break
        return done

    def _filled(self, value: str) -> str:
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: self.inputs[found[1]], value)


@pytest.mark.slow
def test_the_action_annotates_and_summarises(tmp_path: Path) -> None:
    runner = Runner(tmp_path, paths="plans one\nother\n", arguments="--fail-on warning", sarif="x.sarif")
    for name in ("plans one", "other"):
        shutil.copytree(DATASET, runner.workspace / name)
    plans = runner.workspace / "other/nnUNetPlans.json"
    plans.write_text(plans.read_text().replace('"batch_size": 2', '"batch_size": "2"'))
    steps = runner.run()
    assert len(steps) == 2, steps[0].stderr
    check = steps[1]
    assert str(tmp_path) in runner.files["GITHUB_PATH"].read_text()
    assert check.returncode == 1, check.stderr
    assert "::error file=other/nnUNetPlans.json,line=" in check.stdout
    assert "plans one" not in check.stdout
    assert "PG005" in runner.files["GITHUB_STEP_SUMMARY"].read_text()
    assert runner.files["GITHUB_OUTPUT"].read_text() == "exit-code=1\n"
    assert json.loads((runner.workspace / "x.sarif").read_bytes())["version"] == "2.1.0"


@pytest.mark.parametrize(
    ("file", "schema"), [("action.yml", "github-actions"), ("CITATION.cff", "citation-file-format")]
)
def test_files_that_a_service_reads_have_its_schema(file: str, schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_versions_are_that_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == plansguard.__version__
    for name in ("README.md", "docs/editors.md", "docs/ci.md"):
        named = re.findall(r"(?:rev: |plansguard/plansguard@)v([\d.]+)", (ROOT / name).read_text(encoding="utf-8"))
        assert set(named) == {plansguard.__version__}, name
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, newest, *_ = re.findall(r"^## \[(.+)\](?: - (.+))?$", changes, re.MULTILINE)
    assert unreleased == ("Unreleased", "")
    assert newest == (plansguard.__version__, citation["date-released"])
    assert f"[Unreleased]: https://github.com/plansguard/plansguard/compare/v{plansguard.__version__}...HEAD" in changes


# --- Editors


def test_the_catalogue_names_schemas_by_their_address() -> None:
    ids = {json.loads(path.read_bytes()).get("$id") for path in (ROOT / "schemas").glob("*.schema.json")}
    assert {entry["url"] for entry in CATALOG} <= ids


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("plans/nnUNetResEncUNetMPlans.json", "plans"),
        ("/x/nnUNet_preprocessed/Dataset002_Liver/PretrainPlans.json", "plans"),
        ("/x/nnUNet_results/Dataset002_Liver/nnUNetTrainer__nnUNetPlans__2d/plans.json", "plans"),
        ("/x/nnUNet_raw/Dataset002_Liver/dataset.json", "dataset"),
        ("/x/nnUNet_preprocessed/Dataset002_Liver/splits_final.json", "splits"),
        ("dataset_fingerprint.json", "fingerprint"),
        ("plansguard.json", "settings"),
        ("/x/holidays/plans.json", None),
    ],
)
def test_the_catalogue_names_files(path: str, schema: str | None) -> None:
    found = [
        entry["url"].rpartition("/")[2]
        for entry in CATALOG
        for pattern in entry["fileMatch"]
        if fnmatch(path if "/" in pattern else Path(path).name, pattern.replace("**/", "*"))
    ]
    assert found == ([] if schema is None else [f"{schema}.schema.json"])


def test_the_settings_of_vs_code_are_the_catalogue() -> None:
    expected = [{key: entry[key] for key in ("fileMatch", "url")} for entry in CATALOG]
    assert json.loads(block("json")) == {"json.schemas": expected}


#: Asks the language service of VS Code about plans: faults, what a field means, and the keys that may follow.
SERVICE = """
const { getLanguageService } = require("vscode-json-languageservice");
const { TextDocument } = require("vscode-languageserver-textdocument");
const fs = require("fs");
const [, , schemaFile, plansFile] = process.argv;
const schema = JSON.parse(fs.readFileSync(schemaFile));
const service = getLanguageService({ schemaRequestService: () => Promise.reject("no network") });
service.configure({ schemas: [{ uri: schema.$id, fileMatch: ["*Plans.json"], schema }] });
const text = fs.readFileSync(plansFile, "utf8");
const document = TextDocument.create("file:///x/nnUNetPlans.json", "json", 1, text);
const parsed = service.parseJSONDocument(document);
const at = (word) => document.positionAt(text.indexOf(word) + 2);
(async () => {
  const faults = await service.doValidation(document, parsed);
  const hover = await service.doHover(document, at('"patch_size"'), parsed);
  const completed = await service.doComplete(document, at('"batch_size"'), parsed);
  console.log(JSON.stringify({
    faults: faults.map((one) => one.message),
    hover: hover && hover.contents,
    keys: completed.items.map((one) => one.label),
  }));
})();
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="the language service of VS Code needs Node.js and npm")
def test_vs_code_shows_and_completes_fields(tmp_path: Path) -> None:
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "vscode-json-languageservice@5"]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot reach a registry: {done.stderr[-200:]}")
    (tmp_path / "service.js").write_text(SERVICE)
    plans = tmp_path / "nnUNetPlans.json"
    plans.write_text((DATASET / "nnUNetPlans.json").read_text().replace('"batch_size": 2', '"batch_size": "2"'))
    command = ["node", "service.js", str(ROOT / "schemas/plans.schema.json"), str(plans)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert any("integer" in fault for fault in said["faults"])
    assert "voxels" in str(said["hover"])
    assert "previous_stage" in said["keys"]


# --- git


def test_git_diff_shows_plans_by_meaning(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        names = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "core.pager=cat")
        done = subprocess.run(
            ["git", *names, *words],
            cwd=tmp_path,
            env={**environment, "PATH": path, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    git("init", "-q")
    plans = tmp_path / "nnUNetPlans.json"
    shutil.copy(DATASET / "nnUNetPlans.json", plans)
    (tmp_path / ".gitattributes").write_text(re.search(r"```\n(\*Plans.*?)```", EDITORS, re.DOTALL)[1])  # type: ignore[index]
    with (tmp_path / ".git/config").open("a") as file:
        file.write(block("ini"))
    git("add", ".")
    git("commit", "-qm", "x")
    plans.write_text(plans.read_text().replace('"batch_size": 2', '"batch_size": 4'))
    shown = git("diff")
    assert re.search(r"batch_size +2 -> 4", shown), shown
    assert "@@" not in shown
    assert "@@" in git("diff", "--no-ext-diff")
    plans.unlink()
    assert '-    "plans_name"' in git("diff")
