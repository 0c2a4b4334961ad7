"""The hook, run by the real pre-commit in a real git repository.

pre-commit installs the hook's environment from a package index, as it does for a user. That takes many seconds, so
these tests are left out of ``make test-quick``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.variants import FIXTURES, ROOTS, put

pytestmark = pytest.mark.slow

DATASET = "Dataset002_FinetuneCT"
FOLDER = f"{ROOTS['preprocessed']}/{DATASET}"


@dataclass(frozen=True)
class Repository:
    """A git repository of someone who keeps plans in it."""

    path: Path
    environment: Mapping[str, str]

    def git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment, capture_output=True, text=True, check=False
        )

    def must(self, *arguments: str) -> str:
        done = self.git(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def commit(self, *files: str) -> subprocess.CompletedProcess[str]:
        """Commit just these files; the hook runs."""
        self.must("add", "--", *files)
        return self.git("commit", "--message", "a change")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """pre-commit's cache and git's settings are the test's own, also when a hook of git runs these tests."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRE_COMMIT", "nnUNet_"))}
    return {
        **kept,
        "PRE_COMMIT_HOME": str(tmp_path_factory.mktemp("pre-commit-home")),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_NAME": "Someone" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "someone@example.org" for who in ("AUTHOR", "COMMITTER")},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Repository:
    """This working tree as a repository with one commit: also what is not committed yet is tested."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("these tests need a git checkout of plansguard")
    repository = Repository(tmp_path_factory.mktemp("project") / "plansguard", environment)
    for name in filter(None, listed.stdout.split("\0")):
        # The fixtures are large and no part of what a hook installs; a deleted file may still be listed.
        if (ROOT / name).is_file() and not name.startswith("fixtures/"):
            (repository.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, repository.path / name)
    repository.must("init", "--quiet")
    repository.must("add", "--all")
    repository.must("commit", "--quiet", "--message", "the working tree")
    return repository


@pytest.fixture
def repository(tmp_path: Path, project: Repository) -> Repository:
    """Someone's repository with the good plans of a dataset, and the hook of ``project`` installed."""
    here = Repository(tmp_path / "plans of a study", project.environment)
    shutil.copytree(FIXTURES / "workspace" / FOLDER, here.path / FOLDER)
    revision = project.must("rev-parse", "HEAD")
    (here.path / ".pre-commit-config.yaml").write_text(
        f"repos:\n  - repo: {project.path.as_posix()}\n    rev: {revision}\n    hooks:\n      - id: plansguard\n",
        encoding="utf-8",
    )
    here.must("init", "--quiet")
    here.must("add", "--all")
    here.must("commit", "--quiet", "--message", "good plans")
    installed = subprocess.run(
        [sys.executable, "-m", "pre_commit", "install"],
        cwd=here.path,
        env=here.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return here


@pytest.fixture
def good_commit(repository: Repository) -> str:
    """The commit that a refused one must leave in place."""
    return repository.must("rev-parse", "HEAD")


def change(repository: Repository, file: str, pointer: str, value: object) -> str:
    """Give one value of a file of the dataset by hand; the file's path in the repository."""
    put(f"preprocessed/{file}", pointer, value)(repository.path, DATASET)
    return f"{FOLDER}/{file}"


def test_a_good_commit_passes(repository: Repository, good_commit: str) -> None:
    done = repository.commit(change(repository, "nnUNetPlans.json", "/configurations/3d_fullres/batch_size", 3))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^plansguard\.+Passed$", done.stderr + done.stdout, re.MULTILINE)
    assert repository.must("rev-parse", "HEAD~1") == good_commit


@pytest.mark.parametrize(
    ("pointer", "value", "code"),
    [
        ("/configurations/3d_fullres/patch_size/1", 65, "PG101"),
        # The other plans of this dataset write to the same folder of preprocessed data, with the old spacing.
        ("/configurations/3d_fullres/spacing/0", 3.0, "PG501"),
    ],
    ids=["patch-not-divisible", "plans-that-share-data-disagree"],
)
def test_a_bad_commit_is_refused(
    pointer: str, value: object, code: str, repository: Repository, good_commit: str
) -> None:
    done = repository.commit(change(repository, "nnUNetPlans.json", pointer, value))
    shown = done.stdout + done.stderr
    assert done.returncode == 1, shown
    assert re.search(r"^plansguard\.+Failed$", shown, re.MULTILINE)
    assert code in shown
    assert "nnUNetPlans.json" in shown
    assert repository.must("rev-parse", "HEAD") == good_commit


def test_a_change_of_dataset_json_alone_tests_the_plans_beside_it(repository: Repository, good_commit: str) -> None:
    done = repository.commit(change(repository, "dataset.json", "/channel_names/1", "CT"))
    shown = done.stdout + done.stderr
    assert done.returncode == 1, shown
    assert "PG304" in shown
    assert "nnUNetPlans.json" in shown
    assert "nnUNetResEncUNetMPlans.json" in shown
    assert repository.must("rev-parse", "HEAD") == good_commit


@pytest.mark.parametrize("name", ["--settings=other.json", "--output=json=other.json", "-x.json"])
def test_names_of_files_are_no_options(name: str, repository: Repository, good_commit: str) -> None:
    (repository.path / "other.json").write_text('{"ignore": [{"rule": "PG101", "reason": "of others"}]}')
    (repository.path / name).write_text("{}")
    before = sorted(path.name for path in repository.path.iterdir())
    plans = change(repository, "nnUNetPlans.json", "/configurations/3d_fullres/patch_size/1", 65)
    done = repository.commit(name, "other.json", plans)
    assert done.returncode == 1
    assert "PG101" in done.stdout + done.stderr
    assert sorted(path.name for path in repository.path.iterdir()) == before


def test_a_hook_that_corrects(repository: Repository, good_commit: str) -> None:
    """pre-commit refuses the commit whose files a hook has changed; the next one passes."""
    settings = repository.path / ".pre-commit-config.yaml"
    settings.write_text(settings.read_text(encoding="utf-8") + "        args: [--fix, --]\n", encoding="utf-8")
    repository.must("add", settings.name)
    name = change(repository, "nnUNetPlans.json", "/plans_name", "Other")
    done = repository.commit(name)
    shown = done.stdout + done.stderr
    assert done.returncode == 1, shown
    assert "files were modified by this hook" in shown
    assert f"corrected {name}: PG112 plans-name-differs" in shown
    assert repository.must("rev-parse", "HEAD") == good_commit
    done = repository.commit(change(repository, "nnUNetPlans.json", "/configurations/3d_fullres/batch_size", 3))
    assert done.returncode == 0, done.stdout + done.stderr


def test_plans_are_known_by_their_content_whatever_their_name(repository: Repository, good_commit: str) -> None:
    name = "what we used last year.json"
    change(repository, "nnUNetPlans.json", "/configurations/3d_fullres/patch_size/1", 65)
    shutil.move(repository.path / FOLDER / "nnUNetPlans.json", repository.path / name)
    done = repository.commit(name)
    shown = done.stdout + done.stderr
    assert done.returncode == 1, shown
    assert "PG101" in shown
    assert name in shown
    assert repository.must("rev-parse", "HEAD") == good_commit


@pytest.mark.parametrize(("file", "text"), [("package.json", '{"name": "a page"}\n'), ("notes.md", "# Notes\n")])
def test_files_of_others_are_none_of_its_business(file: str, text: str, repository: Repository) -> None:
    (repository.path / file).write_text(text, encoding="utf-8")
    done = repository.commit(file)
    assert done.returncode == 0, done.stdout + done.stderr
    result = "Passed" if file.endswith(".json") else r"\(no files to check\)Skipped"
    assert re.search(rf"^plansguard\.+{result}$", done.stdout + done.stderr, re.MULTILINE)


# --- pre-commit.ci, and pre-commit without an installed hook


def all_files(repository: Repository, *before: str) -> subprocess.CompletedProcess[str]:
    """Run the hook on all files, as pre-commit.ci does after it has installed the hook and taken the network away."""
    command = [*before, sys.executable, "-m", "pre_commit", "run", "--all-files", "--show-diff-on-failure"]
    return subprocess.run(
        command, cwd=repository.path, env=repository.environment, capture_output=True, text=True, check=False
    )


def test_all_files_are_checked_without_a_network(repository: Repository) -> None:
    isolated = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")
    if shutil.which("unshare") is None or subprocess.run([*isolated, "true"], check=False).returncode:
        pytest.skip("a process without a network needs unshare of util-linux, and the right to use it")
    install = [sys.executable, "-m", "pre_commit", "install-hooks"]
    subprocess.run(install, cwd=repository.path, env=repository.environment, check=True, capture_output=True)
    done = all_files(repository, *isolated)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^plansguard\.+Passed$", done.stdout, re.MULTILINE)
    change(repository, "nnUNetPlans.json", "/configurations/3d_fullres/patch_size/1", 65)
    done = all_files(repository, *isolated)
    assert done.returncode == 1
    assert "PG101" in done.stdout


def test_what_is_installed_is_small_enough(repository: Repository) -> None:
    """pre-commit.ci refuses hooks of more than 250 MiB."""
    assert all_files(repository).returncode == 0
    (environment,) = Path(repository.environment["PRE_COMMIT_HOME"]).glob("repo*/py_env-*")
    assert sum(file.lstat().st_size for file in environment.rglob("*") if file.is_file()) < 250 * 2**20


@pytest.mark.long
def test_the_hook_can_be_tried(repository: Repository, project: Repository) -> None:
    """``pre-commit try-repo`` needs no configuration: it takes the hook from .pre-commit-hooks.yaml."""
    repository.must("rm", "--quiet", "--force", ".pre-commit-config.yaml")
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(project.path), "plansguard", "--all-files"]
    change(repository, "nnUNetPlans.json", "/configurations/3d_fullres/patch_size/1", 65)
    done = subprocess.run(
        command, cwd=repository.path, env=repository.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "PG101" in done.stdout
