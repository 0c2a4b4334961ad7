"""Recipes of docs/ci.md and docs/howto/slurm.md, run as GitLab, Jenkins and SLURM run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from junitparser import JUnitXml

from tests.conftest import ROOT
from tests.support.slurm import Cluster, wait_until
from tests.support.slurm import slurm as slurm
from tests.support.variants import FIXTURES, ROOTS

CI = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
DATASET = FIXTURES / "workspace" / ROOTS["preprocessed"] / "Dataset002_FinetuneCT"
#: The source distribution that contains the schema of Jenkins' xUnit plugin, as its own tests use it.
WITH_SCHEMA = "pytest==9.2.0"


def block(language: str, heading: str, text: str = CI) -> str:
    """Return the first block in this language below a heading."""
    found = re.search(rf"^```{language}\n(.*?)^```", text.partition(f"\n## {heading}\n")[2], re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def lay_out(folder: Path, *, broken: bool) -> Path:
    """Put plans below ``plans`` in a checkout."""
    shutil.copytree(DATASET, folder / "plans" / DATASET.name)
    if broken:
        plans = folder / "plans" / DATASET.name / "nnUNetPlans.json"
        plans.write_text(plans.read_text().replace('"batch_size": 2', '"batch_size": "2"'))
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which ``pip install plansguard`` installs this checkout, beside the packages of this Python."""
    folder = tmp_path_factory.mktemp("index")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run([sys.executable, "-m", "venv", str(folder / "python")], check=True)
    site = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "nnUNet", "CI", "PIP_"))
    }
    return {
        **kept,
        "PATH": os.pathsep.join([str(folder / "python/bin"), os.environ["PATH"]]),
        "PYTHONPATH": str(site),
        "PIP_FIND_LINKS": str(folder / "dist"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_FORCE_REINSTALL": "1",
    }


# --- Jenkins


def run_pipeline(workspace: Path, environment: dict[str, str]) -> list[subprocess.CompletedProcess[str]]:
    """Run the ``sh`` steps of the pipeline as Jenkins does, up to the first one that fails."""
    variables = {
        "JENKINS_HOME": "/var/lib/jenkins",
        "JENKINS_URL": "http://localhost/",
        "BUILD_NUMBER": "7",
        "BUILD_TAG": "jenkins-plans-7",
        "BUILD_URL": "http://localhost/job/plans/7/",
        "JOB_NAME": "plans",
        "NODE_NAME": "built-in",
        "EXECUTOR_NUMBER": "0",
        "WORKSPACE": str(workspace),
        "CI": "true",
    }
    done: list[subprocess.CompletedProcess[str]] = []
    for step in re.findall(r"^ +sh '([^']+)'$", block("groovy", "Jenkins"), re.MULTILINE):
        script = workspace.parent / f"script{len(done)}.sh"
        script.write_text(step)
        result = subprocess.run(
            ["sh", "-xe", str(script)],
            cwd=workspace,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        done.append(result)
        if result.returncode:
            break
    return done


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True], ids=["good", "broken"])
def test_jenkins_runs_the_pipeline(broken: bool, tmp_path: Path, environment: dict[str, str]) -> None:
    workspace = lay_out(tmp_path / "workspace", broken=broken)
    install, check = run_pipeline(workspace, environment)
    assert install.returncode == 0, install.stderr
    assert check.returncode == int(broken), check.stderr
    assert ("error[PG005]" in check.stdout) == broken
    # The step `junit` runs always, after a failure too.
    (pattern,) = re.findall(r"always \{\s+junit '(.+)'", block("groovy", "Jenkins"))
    (result,) = workspace.glob(pattern)
    found = JUnitXml.fromfile(str(result))
    assert found.tests > 50
    assert bool(found.failures) == broken
    assert found.errors == 0


@pytest.mark.slow
def test_jenkins_accepts_every_outcome(tmp_path: Path, environment: dict[str, str]) -> None:
    """The xUnit plugin refuses results that its schema does not allow."""
    xmlschema = pytest.importorskip("xmlschema", reason="the extra `dev` installs it")
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", WITH_SCHEMA]
    done = subprocess.run(download, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot download the schema: {done.stderr[-200:]}")
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        schema = file.extractfile(f"{WITH_SCHEMA.replace('==', '-')}/testing/example_scripts/junit-10.xsd")
        assert schema is not None
        validator = xmlschema.XMLSchema10(schema.read().decode())
    folder = lay_out(tmp_path / "work", broken=True) / "plans"
    shutil.copytree(DATASET, folder / "unreadable")
    (folder / "unreadable/dataset.json").write_text("{")
    command = [sys.executable, "-m", "plansguard", "check", "plans", "--output", "junit=junit.xml"]
    subprocess.run(command, cwd=folder.parent, env={**environment, "PYTHONPATH": str(ROOT)}, check=False)
    text = (folder.parent / "junit.xml").read_text(encoding="utf-8")
    assert all(f"<{outcome}" in text for outcome in ("failure", "error", "skipped"))
    assert [error.reason for error in validator.iter_errors(text)] == []


# --- GitLab


def test_the_job_has_gitlabs_schema(tmp_path: Path) -> None:
    (tmp_path / ".gitlab-ci.yml").write_text(block("yaml", "GitLab CI"))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("npm") is None or shutil.which("rsync") is None,
    reason="gitlab-ci-local needs Node.js, npm and rsync (make install-programs)",
)
def test_gitlab_runs_the_job(tmp_path: Path, environment: dict[str, str]) -> None:
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "gitlab-ci-local@4.62"]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot reach a registry: {done.stderr[-200:]}")
    for broken in (False, True):
        project = lay_out(tmp_path / f"project-{broken}", broken=broken)
        (project / ".gitlab-ci.yml").write_text(block("yaml", "GitLab CI"))
        for words in ("init -q", "add .", "-c user.name=x -c user.email=x@example.org commit -qm x"):
            subprocess.run(["git", *words.split()], cwd=project, check=True)
        subprocess.run(["git", "remote", "add", "origin", "git@localhost:group/project.git"], cwd=project, check=True)
        command = [str(tmp_path / "node_modules/.bin/gitlab-ci-local"), "--quiet", "plans"]
        ran = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        assert ran.returncode == int(broken), ran.stdout + ran.stderr
        issues = json.loads((project / "quality.json").read_bytes())
        assert [issue["severity"] for issue in issues] == (["critical"] if broken else [])
        assert bool(JUnitXml.fromfile(str(project / "junit.xml")).failures) == broken


# --- SLURM


@pytest.fixture
def prolog(tmp_path: Path, slurm: Cluster) -> Path:
    """The script of docs/howto/slurm.md."""
    script = tmp_path / "plansguard.sh"
    script.write_text(block("bash", "Before every job", (ROOT / "docs/howto/slurm.md").read_text(encoding="utf-8")))
    script.chmod(0o755)
    return script


def submit(slurm: Cluster, folder: Path, *, broken: bool, **variables: str) -> tuple[int, str]:
    """Submit a batch job with a workspace; return its exit code and its output."""
    shutil.copytree(DATASET, folder / ROOTS["preprocessed"] / DATASET.name)
    if broken:
        plans = folder / ROOTS["preprocessed"] / DATASET.name / "nnUNetPlans.json"
        plans.write_text(plans.read_text().replace('"batch_size": 2', '"batch_size": "2"'))
    job, output = folder / "job.sh", folder / "output"
    job.write_text("#!/bin/bash\necho the job runs\nsrun --ntasks=1 echo the step runs\n")
    path = os.pathsep.join([str(Path(sys.executable).parent), slurm.environment["PATH"]])
    given = {"PATH": path, "PYTHONPATH": str(ROOT), ROOTS["preprocessed"]: str(folder / ROOTS["preprocessed"])}
    done = slurm.run("sbatch", "--parsable", f"--output={output}", str(job), variables={**given, **variables})
    assert done.returncode == 0, done.stderr

    def shown() -> dict[str, str]:
        printed = slurm.run("scontrol", "show", "job", "--oneliner", done.stdout.strip()).stdout
        return dict(word.partition("=")[::2] for word in printed.split())

    wait_until(lambda: shown()["JobState"] in ("COMPLETED", "FAILED"))  # --wait asks after 2 seconds, then after 8
    return int(shown()["ExitCode"].partition(":")[0]), output.read_text()


@pytest.mark.slow
def test_a_prolog_of_tasks_refuses_a_job(prolog: Path, slurm: Cluster, tmp_path: Path) -> None:
    slurm.configure(TaskProlog=str(prolog))
    try:
        code, shown = submit(slurm, tmp_path / "good", broken=False, PLANSGUARD_CHECK="-d 2 -p nnUNetPlans")
        assert (code, shown.splitlines()) == (0, ["the job runs", "the step runs"])
        code, shown = submit(slurm, tmp_path / "broken", broken=True, PLANSGUARD_CHECK="-d 2 -p nnUNetPlans")
        assert code == 1
        assert "error[PG005]" in shown
        assert "runs" not in shown
        assert slurm.run("sinfo", "--noheader", "--format=%T").stdout.strip() == "idle"
        code, shown = submit(slurm, tmp_path / "not judged", broken=True)
        assert (code, shown.splitlines()) == (0, ["the job runs", "the step runs"])
    finally:
        slurm.configure(TaskProlog=None)


@pytest.mark.slow
def test_a_prolog_of_one_step_refuses_it(prolog: Path, slurm: Cluster, tmp_path: Path) -> None:
    where = str(lay_out(tmp_path / "work", broken=True) / "plans")
    path = os.pathsep.join([str(Path(sys.executable).parent), slurm.environment["PATH"]])
    step = ("srun", "--ntasks=2", f"--task-prolog={prolog}", "echo", "runs")
    done = slurm.run(*step, variables={"PLANSGUARD_CHECK": where, "PATH": path, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert done.stdout.count("error[PG005]") == 1
    assert "runs" not in done.stdout


@pytest.mark.slow
def test_a_prolog_of_the_node_drains_it(slurm: Cluster, tmp_path: Path) -> None:
    """Why docs/howto/slurm.md does not propose it."""
    script = tmp_path / "prolog.sh"
    script.write_text(f'#!/bin/bash\necho "seen: $PLANSGUARD_CHECK" > {tmp_path}/seen\nexit 1\n')
    script.chmod(0o755)
    slurm.configure(Prolog=str(script))
    try:
        assert slurm.run("srun", "echo", "runs", variables={"PLANSGUARD_CHECK": "-d 2"}).returncode != 0
        assert (tmp_path / "seen").read_text() == "seen: \n"
        wait_until(lambda: "drain" in slurm.run("sinfo", "--noheader", "--format=%T").stdout)
    finally:
        slurm.configure(Prolog=None)
        slurm.run("scontrol", "update", "nodename=ALL", "state=resume")
