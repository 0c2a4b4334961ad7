"""Contents of the wheel and the sdist, and the import of the package."""

from __future__ import annotations

import configparser
import email
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from importlib import import_module
from pathlib import Path, PurePosixPath

import pytest
from packaging.metadata import Metadata
from packaging.specifiers import SpecifierSet
from trove_classifiers import classifiers

import plansguard
from tests.conftest import ROOT
from tests.support.demos import assert_shown, play
from tools import matrix

#: Wheel and sdist are built.
pytestmark = pytest.mark.slow


def build(source: Path, out: Path) -> Path:
    """Build the sdist and the wheel as ``make dist`` does; return their folder."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(built / f"plansguard-{plansguard.__version__}-py3-none-any.whl") as archive:
        yield archive


@pytest.fixture(scope="module")
def sdist(built: Path) -> dict[str, int]:
    """Return the sizes of the sdist's files by their path below the project's folder."""
    name = f"plansguard-{plansguard.__version__}"
    with tarfile.open(built / f"{name}.tar.gz") as archive:
        return {member.name.removeprefix(f"{name}/"): member.size for member in archive if member.isfile()}


def metadata(wheel: zipfile.ZipFile) -> Message:
    return email.message_from_bytes(wheel.read(f"plansguard-{plansguard.__version__}.dist-info/METADATA"))


def test_the_wheel_holds_the_modules_the_schemas_the_type_marker_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    info = f"plansguard-{plansguard.__version__}.dist-info"
    files = {name for name in wheel.namelist() if not name.startswith(f"{info}/")}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "plansguard").rglob("*.py")}
    schemas = {f"plansguard/schemas/{path.name}" for path in (ROOT / "schemas").iterdir()}
    data = {"plansguard/py.typed", "plansguard/nnunet/signatures.json", "plansguard/rules/samples.json"}
    templates = (ROOT / "plansguard/render/html/templates").iterdir()
    assert files == sources | schemas | data | {path.relative_to(ROOT).as_posix() for path in templates}
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_two_builds_have_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Built from the unpacked sdist: other folder, dates, permissions and order of files."""
    with tarfile.open(built / f"plansguard-{plansguard.__version__}.tar.gz") as archive:
        contents = [(member.name, archive.extractfile(member)) for member in archive if member.isfile()]
        files = [(name, file.read()) for name, file in contents if file is not None]
    for name, content in reversed(files):
        target = tmp_path / name
        # The build writes PKG-INFO.
        if target.name != "PKG-INFO":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o600)
    second = build(tmp_path / f"plansguard-{plansguard.__version__}", tmp_path / "dist")
    digests = [
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        for folder in (built, second)
    ]
    assert len(digests[0]) == 2
    assert digests[0] == digests[1]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_index_accepts_the_metadata(kind: str, built: Path, wheel: zipfile.ZipFile) -> None:
    """What ``twine check --strict`` refuses, and names that an index does not know."""
    name = f"plansguard-{plansguard.__version__}"
    if kind == "wheel":
        content = wheel.read(f"{name}.dist-info/METADATA")
    else:
        with tarfile.open(built / f"{name}.tar.gz") as archive:
            file = archive.extractfile(f"{name}/PKG-INFO")
            assert file is not None
            content = file.read()
    found = Metadata.from_email(content, validate=True)
    assert (found.name, str(found.version)) == ("plansguard", plansguard.__version__)
    assert set(found.classifiers or ()) <= classifiers
    assert (found.license_expression, found.license_files) == ("Apache-2.0", ["LICENSE"])
    assert found.description_content_type == "text/markdown"
    assert found.description == (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(found.project_urls or ()) == {"Homepage", "Documentation", "Issues", "Changelog"}
    assert all(
        url.startswith("https://github.com/plansguard/plansguard") for url in (found.project_urls or {}).values()
    )


def test_classifiers_are_the_pythons_that_may_install_it(wheel: zipfile.ZipFile) -> None:
    allowed = SpecifierSet(metadata(wheel)["Requires-Python"])
    named = [re.search(r":: (3\.\d+)$", one) for one in metadata(wheel).get_all("Classifier", [])]
    minors = {f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed}
    assert {one[1] for one in named if one} == minors


#: In every run the oldest Python; the others only in long ones.
VERSIONS = [
    version if number == 0 else pytest.param(version, marks=pytest.mark.long)
    for number, version in enumerate(matrix.pythons())
]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_runs_the_demo_in_a_clean_environment(version: str, built: Path, tmp_path: Path) -> None:
    """The package comes from the wheel and its dependencies from an index; the demo prints what the README shows."""
    pytest.importorskip("uv", reason="the extra `dev` installs it")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    made = tmp_path / "environment"
    subprocess.run([*uv, "venv", "--python", str(matrix.pythons()[version]), str(made)], env=kept, check=True)
    (file,) = built.glob("*.whl")
    pip = [*uv, "pip", "install", "--python", str(made), "--constraint", str(ROOT / "constraints.txt")]
    installed = subprocess.run([*pip, f"{file}[report]"], env=kept, capture_output=True, text=True, check=False)
    if re.search("error sending request|Failed to fetch", installed.stderr):
        pytest.skip("no package index can be reached")
    assert installed.returncode == 0, installed.stderr
    session = play("demo.py", tmp_path / "demo", str(made / "bin/python"), path="")
    assert len(session.played) == 5
    assert_shown(session)
    dataset = "nnUNet_preprocessed/Dataset002_FinetuneCT"
    command = [str(made / "bin/plansguard"), "check", dataset, "--output", "html=x.html"]
    checked = subprocess.run(command, cwd=session.workspace, env=kept, capture_output=True, text=True, check=False)
    # The demo leaves an edit that is an error.
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "<svg" in (session.workspace / "x.html").read_text(encoding="utf-8")
    where = "import plansguard; print(plansguard.__file__)"
    loaded = subprocess.run([made / "bin/python", "-c", where], cwd=tmp_path, env=kept, capture_output=True, check=True)
    assert str(made) in loaded.stdout.decode()


def test_the_console_script_leads_somewhere(wheel: zipfile.ZipFile) -> None:
    entries = configparser.ConfigParser()
    entries.read_string(wheel.read(f"plansguard-{plansguard.__version__}.dist-info/entry_points.txt").decode())
    module, _, function = entries["console_scripts"]["plansguard"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_the_wheel_runs_without_the_checkout(built: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path, *built.glob("*.whl")], check=True)
    # PYTHONPATH comes before the environment's own plansguard.
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import plansguard; print(plansguard.__file__)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(loaded.stdout.strip()) == tmp_path / "plansguard" / "__init__.py"
    dataset = ROOT / "fixtures" / "workspace" / "nnUNet_preprocessed" / "Dataset002_FinetuneCT"
    for arguments, shown in ((["--version"], plansguard.__version__), (["check", str(dataset)], "no findings")):
        command = [sys.executable, "-m", "plansguard", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert shown in done.stdout


def test_the_run_time_dependencies_are_light(wheel: zipfile.ZipFile) -> None:
    needed = [one for one in metadata(wheel).get_all("Requires-Dist", []) if "extra ==" not in one]
    assert sorted(re.split("[<>]", one)[0] for one in needed) == ["deepdiff", "filelock", "pydantic", "tomli", "typer"]
    assert [one for one in needed if one.startswith("tomli")] == ["tomli>=2; python_version < '3.11'"]
    assert set(metadata(wheel).get_all("Provides-Extra", [])) == {
        "train",
        "data",
        "dask",
        "report",
        "dev",
        "browser",
        "site",
        "notebook",
        "mlflow",
        "wandb",
    }


def test_the_sdist_can_be_built_tested_and_read(sdist: dict[str, int]) -> None:
    assert {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "constraints.txt", "pyproject.toml"} <= set(sdist)
    assert {"plansguard/__init__.py", "plansguard/py.typed", "tests/conftest.py"} <= set(sdist)
    assert any(name.startswith("fixtures/workspace/") for name in sdist)


def test_the_sdist_holds_nothing_that_only_lies_around(sdist: dict[str, int]) -> None:
    littered = {name for name in sdist if {"__pycache__", ".venv", ".mypy_cache"} & set(PurePosixPath(name).parts)}
    assert not littered
    assert sum(sdist.values()) < 10_000_000


def test_the_front_loads_what_is_asked_for_and_no_more() -> None:
    code = """
import sys
before = set(sys.modules)
import plansguard
early = {name.partition(".")[0] for name in set(sys.modules) - before}
assert not early & {"pydantic", "typer", "deepdiff", "filelock", "json"}, early
assert "plansguard.commands.check" not in sys.modules
from plansguard import Finding, Report, Severity, check
assert callable(check) and plansguard.check is check
"""
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


def test_the_front_has_the_names_it_promises_and_no_others() -> None:
    assert set(plansguard.__all__) <= set(dir(plansguard))
    for name in plansguard.__all__:
        assert getattr(plansguard, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Verdict'"):
        plansguard.Verdict  # noqa: B018
