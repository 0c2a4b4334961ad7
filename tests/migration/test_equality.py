"""The written plans against those of the real nnUNetv2_move_plans_between_datasets, byte for byte."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plansguard.documents import json_document
from plansguard.migration.apply import migrate
from plansguard.migration.plan import MigrationRequest
from plansguard.migration.rewrite import moved
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from tests.support.variants import ROOTS, lay_out, place, point_to

pytestmark = pytest.mark.nnunet

CT, OTHER_CT, MR, SLIDES = (
    "Dataset001_PretrainCT",
    "Dataset002_FinetuneCT",
    "Dataset003_TwoChannelMR",
    "Dataset004_Slides2D",
)
CASCADE, MICROSCOPY = "Dataset005_CascadeCT", "Dataset006_Microscopy3D"
NAMES = ("ft", "nnUNetPlans_FT", "nnUNetPlans", "nnUNetResEncUNetMPlans", "ü plans", "P.1")

RealMove = Callable[[str, str, str, str | None], bytes]
Plant = Callable[[str, str, bytes], None]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One copy of all fixtures; nnU-Net reads the environment variables when it uses them."""
    folder = lay_out(tmp_path_factory.mktemp("workspace"))
    with pytest.MonkeyPatch.context() as patch:
        point_to(folder, patch)
        yield folder


@pytest.fixture(scope="module")
def real_move(workspace: Path) -> Iterator[RealMove]:
    """nnU-Net's own function: the bytes that it writes; the file is removed again.

    It lists the images of a dataset with a pool of 12 processes. The images stay the same, so they are listed once.
    """
    module = pytest.importorskip(
        "nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets",
        reason="compares with the real nnunetv2, which is not installed",
    )
    listed = cache(module.get_filenames_of_train_images_and_targets)

    def move(source: str, target: str, source_plans: str, target_plans: str | None) -> bytes:
        with contextlib.redirect_stderr(io.StringIO()):  # readers that fail print tracebacks
            module.move_plans_between_datasets(source, target, source_plans, target_plans)
        written = place(workspace, target, f"preprocessed/{target_plans or source_plans}.json")
        content = written.read_bytes()
        written.unlink()
        return content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "get_filenames_of_train_images_and_targets", lambda folder, _: listed(folder))
        yield move


def _ours(workspace: Path, source: str, target: str, source_plans: str, target_plans: str, workflow: str) -> bytes:
    """The plans that `plansguard migrate` would write, regardless of findings."""
    from plansguard.migration.plan import plan

    roots = Workspace(*(workspace / ROOTS[name] for name in ("raw", "preprocessed", "results")))
    return plan(roots, MigrationRequest(source, target, target_plans, source_plans, workflow)).pair.result.document.raw


@pytest.fixture
def planted(workspace: Path) -> Iterator[Plant]:
    """Put plans under a name into a dataset's folder, and restore the folder afterwards."""
    before: dict[Path, bytes | None] = {}

    def plant(dataset: str, identifier: str, content: bytes) -> None:
        path = place(workspace, dataset, f"preprocessed/{identifier}.json")
        before.setdefault(path, path.read_bytes() if path.exists() else None)
        path.write_bytes(content)

    yield plant
    for path, content in before.items():
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)


@pytest.mark.parametrize("target_plans", NAMES)
@pytest.mark.parametrize("source_plans", ["nnUNetPlans", "nnUNetResEncUNetMPlans"])
@pytest.mark.parametrize(
    ("source", "target"), [(CT, OTHER_CT), (OTHER_CT, CT), (CASCADE, CT), (MR, CT), (CT, SLIDES), (CT, MICROSCOPY)]
)
def test_planned_plans(
    workspace: Path,
    real_move: RealMove,
    planted: Plant,
    source: str,
    target: str,
    source_plans: str,
    target_plans: str,
) -> None:
    """Default and ResEnc plans, 2D, cascade, with and without the old identifier in front, same and new names."""
    own = place(workspace, target, f"preprocessed/{target_plans}.json")
    if own.exists():
        planted(target, target_plans, own.read_bytes())
    expected = real_move(source, target, source_plans, target_plans)
    assert _ours(workspace, source, target, source_plans, target_plans, "finetune") == expected


def _edited(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def edit(plans: dict[str, Any]) -> None:
        plans["configurations"].update(changes)

    return edit


def _without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def edit(plans: dict[str, Any]) -> None:
        for key in keys:
            del plans[key]

    return edit


def _identifier(value: str) -> Callable[[dict[str, Any]], None]:
    def edit(plans: dict[str, Any]) -> None:
        plans["configurations"]["3d_fullres"]["data_identifier"] = value

    return edit


EDITS = {
    "child": _edited(bs4={"inherits_from": "3d_fullres", "batch_size": 4}),
    "child with data": _edited(fine={"inherits_from": "3d_fullres", "data_identifier": "nnUNetPlans_fine"}),
    "longer word": _identifier("nnUNetPlansExtra_3d"),
    "just the name": _identifier("nnUNetPlans"),
    "foreign": _identifier("somebody_else_3d"),
    "empty": _identifier(""),
    "no reader": _without("image_reader_writer"),
    "no names": _without("dataset_name", "plans_name"),
    "numbers": lambda plans: plans.update(a=1e5, b=-0.0, c=1e22, d=123456789012345678901234567890, e=0.1 + 0.2),
    "text": lambda plans: plans.update(note="é ☃ 𝒳 \u0007 \\ /"),
    "odd keys": lambda plans: plans.update({"": {}, "~/": [], "ß": None}),
}


@pytest.mark.parametrize("indent", [4, None, 1])
@pytest.mark.parametrize("target_plans", ["ft", "nnUNetPlans"])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edited_plans(
    workspace: Path,
    real_move: RealMove,
    planted: Plant,
    edit: Callable[[dict[str, Any]], None],
    target_plans: str,
    indent: int | None,
) -> None:
    """Custom configurations, missing keys, foreign data identifiers, numbers and texts; any layout of the file."""
    plans = json.loads(place(workspace, CT, "preprocessed/nnUNetPlans.json").read_bytes())
    edit(plans)
    planted(CT, "nnUNetPlans", json.dumps(plans, indent=indent, sort_keys=indent == 1).encode())
    if target_plans == "nnUNetPlans":
        planted(OTHER_CT, target_plans, place(workspace, OTHER_CT, "preprocessed/nnUNetPlans.json").read_bytes())
    expected = real_move(CT, OTHER_CT, "nnUNetPlans", target_plans)
    assert _ours(workspace, CT, OTHER_CT, "nnUNetPlans", target_plans, "finetune") == expected


def _random_value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.random()
    if depth > 3 or kind < 0.5:
        number = rng.random() * 10 ** rng.randint(-320, 300)
        return rng.choice([None, True, False, rng.randint(-(10**20), 10**20), number, "s" * rng.randint(0, 4), "ß"])
    if kind < 0.75:
        return [_random_value(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    return {f"{rng.choice('abc')}{i}": _random_value(rng, depth + 1) for i in range(rng.randint(0, 4))}


def _random_configuration(rng: random.Random, source: str) -> dict[str, Any]:
    configuration = {"z": _random_value(rng)}
    if rng.random() < 0.8:
        configuration["data_identifier"] = rng.choice([source, f"{source}_3d", "other", "", f"{source}X"])
    return configuration


@pytest.mark.parametrize("seed", range(100))
def test_random_plans(workspace: Path, real_move: RealMove, planted: Plant, seed: int) -> None:
    """Random objects with configurations, given to the function itself, without the checks before it."""
    rng = random.Random(seed)
    keys = rng.sample(["dataset_name", "plans_name", "image_reader_writer", "x", "y"], rng.randint(0, 5))
    plans = {key: _random_value(rng) for key in keys}
    source = rng.choice(["P", "nnUNetPlans", "a_b"])
    target = rng.choice([source, "Q", "nnUNetPlans_ft"])
    plans["configurations"] = {
        f"c{i}": {
            **(
                {"data_identifier": rng.choice([source, f"{source}_3d", "other", "", f"{source}X"])}
                if rng.random() < 0.8
                else {}
            ),
            "z": _random_value(rng),
        }
        for i in range(rng.randint(0, 4))
    }
    planted(CT, source, json.dumps(plans).encode())
    if target in ("P", "nnUNetPlans", "a_b"):
        planted(OTHER_CT, target, b"")
    expected = real_move(CT, OTHER_CT, source, target)
    ours = moved(plans, source=source, target=target, dataset_name=OTHER_CT, reader="SimpleITKIO")
    assert json_document.dumps(ours) == expected


def test_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_move: RealMove) -> None:
    """The file on disk after `migrate` is what was compared."""
    lay_out(tmp_path)
    expected = real_move(CT, OTHER_CT, "nnUNetPlans", "moved")
    roots = Workspace(*(tmp_path / ROOTS[name] for name in ("raw", "preprocessed", "results")))
    migration = migrate(roots, MigrationRequest(CT, OTHER_CT, "moved"), ActiveSettings())
    assert not migration.report.findings
    assert place(tmp_path, OTHER_CT, "preprocessed/moved.json").read_bytes() == expected


def test_tif_reader_is_that_of_nnunet(tmp_path: Path, real_move: RealMove) -> None:
    """nnU-Net's own command uses SimpleITKIO for 3D TIFFs, which loses their spacing: the same bytes, but refused."""
    lay_out(tmp_path)
    roots = Workspace(*(tmp_path / ROOTS[name] for name in ("raw", "preprocessed", "results")))
    migration = migrate(roots, MigrationRequest(CT, MICROSCOPY, "moved", "nnUNetPlans"), ActiveSettings())
    assert migration.reader.name == "SimpleITKIO"
    assert migration.pair.result.document.raw == real_move(CT, MICROSCOPY, "nnUNetPlans", "moved")
    assert "PG312" in {finding.code for finding in migration.report.findings}
    assert not place(tmp_path, MICROSCOPY, "preprocessed/moved.json").exists()
