"""Faults that users make in data preprocessed by the real nnU-Net, and the findings; healthy data have none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.data.array_headers import read_header
from tests.support.command import Done, run
from tests.support.data_folders import CASCADE, CT, DATA, MEMBERS
from tests.support.data_folders import LOWRES as STAGE
from tests.support.variants import FIXTURES, PLANS, ROOTS, drop, lay_out, point_to, put

pytestmark = [pytest.mark.nnunet, pytest.mark.slow]

OTHER_CT, MR = "Dataset001_PretrainCT", "Dataset003_TwoChannelMR"
LOWRES = {**STAGE, "spacing": [2.0, 1.6, 1.6], "patch_size": [48, 64, 64]}


def nnunet(command: str, *arguments: str) -> list[str]:
    """The command line of one of nnU-Net's commands in this environment."""
    return [str(Path(sysconfig.get_path("scripts")) / f"nnUNetv2_{command}"), *arguments]


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which nnU-Net's own command has preprocessed three datasets; it omits what plans do not have."""
    roots = lay_out(tmp_path_factory.mktemp("workspace"))
    put(PLANS, "/configurations/3d_lowres", LOWRES)(roots, CT)
    put(PLANS, "/configurations/3d_cascade_fullres", CASCADE)(roots, CT)
    drop(PLANS, "/configurations/2d")(roots, MR)  # each configuration is a process of nnU-Net
    words = ("-d", "2", "3", "4", "-c", "2d", "3d_fullres", "3d_lowres", "-np", "1", "--no_pbar")
    with pytest.MonkeyPatch.context() as patch:
        point_to(roots, patch)
        subprocess.run(nnunet("preprocess", *words), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    return roots


@pytest.fixture
def workspace(preprocessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which tests change."""
    shutil.copytree(preprocessed, tmp_path, dirs_exist_ok=True)
    point_to(tmp_path, monkeypatch)
    return tmp_path


def dataset(workspace: Path, name: str = CT, root: str = "preprocessed") -> Path:
    return workspace / ROOTS[root] / name


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file as an editor would."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=4))


def edit_both(workspace: Path, change: Callable[[Any], object]) -> None:
    """Change dataset.json in nnUNet_raw and in nnUNet_preprocessed."""
    for root in ("raw", "preprocessed"):
        edit(dataset(workspace, root=root) / "dataset.json", change)


def check(*arguments: str | Path) -> dict[str, str]:
    """Code -> message of the errors and warnings of ``plansguard check``."""
    done = run("check", *arguments, "--output", "json")
    assert "Traceback" not in done.err, done.err
    return {finding["code"]: finding["message"] for finding in done.json["findings"] if finding["severity"] != "info"}


def check_3d(*arguments: str) -> dict[str, str]:
    return check("-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", *arguments)


# ---------------------------------------------------------------------------------------------------------------------
# Healthy data
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["headers", "sample", "all"])
def test_data_of_nnunet_are_clean(workspace: Path, depth: str) -> None:
    for number in ("2", "3", "4"):
        assert check("-d", number, "-p", "nnUNetPlans", "--data", depth) == {}


def test_edits_that_need_no_new_data_are_clean(workspace: Path) -> None:
    plans = dataset(workspace) / "nnUNetPlans.json"
    edit(plans, lambda value: value["configurations"]["3d_fullres"].update(batch_size=3, patch_size=[40, 64, 64]))
    assert check_3d("--data", "all") == {}


# ---------------------------------------------------------------------------------------------------------------------
# Missing and incomplete data
# ---------------------------------------------------------------------------------------------------------------------


def test_pp01_the_folder_is_missing(workspace: Path) -> None:
    shutil.rmtree(dataset(workspace) / DATA)
    assert set(check_3d()) == {"PG504"}


def test_pp07_preprocessing_is_killed(workspace: Path) -> None:
    """nnU-Net deletes the old folder first, and then writes case by case."""
    folder = dataset(workspace) / DATA
    (dataset(workspace) / "splits_final.json").unlink()
    line = nnunet("preprocess", "-d", "2", "-c", "3d_fullres", "-np", "1", "--no_pbar")
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True)
    complete = len(list(folder.iterdir()))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        present = len(list(folder.iterdir())) if folder.is_dir() else complete
        if 0 < present < complete:
            break
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(list(folder.iterdir())) < complete
    assert {"PG505", "PG506"} & set(check_3d())


@pytest.mark.parametrize("name", ["fine_001.b2nd", "fine_001_seg.b2nd", "fine_001.pkl"])
def test_pp07_a_file_is_missing_or_cut(workspace: Path, name: str) -> None:
    path = dataset(workspace) / DATA / name
    os.truncate(path, path.stat().st_size // 2)
    assert set(check_3d()) == {"PG506"}
    os.truncate(path, 0)
    assert set(check_3d()) == {"PG506"}
    path.unlink()
    assert "PG506" in check_3d()


def test_pp10_a_chunk_is_damaged(workspace: Path) -> None:
    """The header is intact: only reading the values shows the damage."""
    path = dataset(workspace) / DATA / "fine_001.b2nd"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = os.urandom(2000)
    path.write_bytes(content)
    assert check_3d() == {}
    assert set(check_3d("--data", "all")) & {"PG506", "PG520", "PG521"}


def test_pp09_strays_and_mixed_formats(workspace: Path) -> None:
    stray = dataset(workspace) / DATA / ".DS_Store"
    stray.write_text("")
    assert "PG511" in check_3d()
    stray.unlink()
    assert check_3d() == {}


# ---------------------------------------------------------------------------------------------------------------------
# Data of other plans
# ---------------------------------------------------------------------------------------------------------------------


def test_pp02_spacing_is_edited(workspace: Path) -> None:
    plans = dataset(workspace) / "nnUNetPlans.json"
    edit(plans, lambda value: value["configurations"]["3d_fullres"].update(spacing=[1.0, 1.0, 1.0]))
    found = check_3d()
    assert "PG507" in found
    assert "these plans give" in found["PG507"]


def test_pp02_folders_are_swapped(workspace: Path) -> None:
    shutil.rmtree(dataset(workspace) / DATA)
    (dataset(workspace) / "nnUNetPlans_3d_lowres").rename(dataset(workspace) / DATA)
    assert "PG507" in check_3d()


def test_pp02_another_dataset_s_folder(workspace: Path) -> None:
    shutil.rmtree(dataset(workspace) / DATA)
    shutil.copytree(dataset(workspace, MR) / DATA, dataset(workspace) / DATA)
    assert {"PG505", "PG508"} <= set(check_3d())


def test_pp02_statistics_of_another_dataset(workspace: Path) -> None:
    """The shapes stay the same, the values do not."""
    key = "foreground_intensity_properties_per_channel"
    theirs = json.loads((dataset(workspace, OTHER_CT) / "nnUNetPlans.json").read_text())[key]
    for name in ("nnUNetPlans.json", "nnUNetResEncUNetMPlans.json"):
        edit(dataset(workspace) / name, lambda plans: plans.update({key: theirs}))
    assert "PG520" not in check_3d()
    assert "PG520" in check_3d("--data", "sample")


def test_pp02_the_scheme_is_edited(workspace: Path) -> None:
    def z_score(plans: Any) -> None:
        plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["ZScoreNormalization"]

    edit(dataset(workspace) / "nnUNetPlans.json", z_score)
    assert "PG521" not in check_3d()
    assert "PG521" in check_3d("--data", "all")


def test_pp02_the_statistics_are_wider_than_those_of_the_data(workspace: Path) -> None:
    """No value is outside of the bounds, but all cases end at the same other values."""

    def widen(plans: Any) -> None:
        channel = plans["foreground_intensity_properties_per_channel"]["0"]
        channel |= {"percentile_00_5": -1000.0, "percentile_99_5": 2000.0}

    edit(dataset(workspace) / "nnUNetPlans.json", widen)
    assert "PG523" not in check_3d()
    assert "PG523" in check_3d("--data", "all")


def test_pp11_the_folder_is_named_like_nnssl(workspace: Path) -> None:
    """Two decimals in the name, other spacing inside."""
    name = "Spacing__1.50_1.20_1.20___Norm__Z"
    (dataset(workspace) / DATA).rename(dataset(workspace) / name)
    edit(
        dataset(workspace) / "nnUNetPlans.json",
        lambda value: value["configurations"]["3d_fullres"].update(data_identifier=name, spacing=[1.46, 1.2, 1.2]),
    )
    assert "PG507" in check_3d()


# ---------------------------------------------------------------------------------------------------------------------
# Labels, splits, raw files
# ---------------------------------------------------------------------------------------------------------------------


def test_pp05_raw_labels_are_corrected(workspace: Path) -> None:
    label = dataset(workspace, root="raw") / "labelsTr/fine_002.nii.gz"
    other = dataset(workspace, root="raw") / "labelsTr/fine_003.nii.gz"
    label.write_bytes(other.read_bytes())
    assert {"PG512", "PG513"} <= set(check_3d())


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "kidney": 1, "ignore": 2},
        {"background": 0, "kidney": 1, "cyst": 2},
        {"background": 0, "kidney": 2},
    ],
    ids=["ignore label", "a label more", "another value"],
)
def test_pp06_labels_are_changed(workspace: Path, labels: dict[str, Any]) -> None:
    edit_both(workspace, lambda value: value.update(labels=labels))
    assert "PG509" in check_3d()


def test_pp06_labels_become_regions(workspace: Path) -> None:
    regions = {"background": 0, "whole": [1, 2], "part": [2]}
    edit_both(workspace, lambda value: value.update(labels=regions, regions_class_order=[1, 2]))
    assert "PG509" in check_3d()


def test_lb01_values_are_not_declared(workspace: Path) -> None:
    edit_both(workspace, lambda value: value.update(labels={"background": 0}))
    assert "PG522" in check_3d("--data", "all")


def test_pp08_labels_for_validation_are_missing(workspace: Path) -> None:
    shutil.rmtree(dataset(workspace) / "gt_segmentations")
    assert "PG510" in check_3d()


def test_sl01_sl02_cases_come_and_go(workspace: Path) -> None:
    splits = dataset(workspace) / "splits_final.json"
    edit(splits, lambda value: value[0]["train"].append("fine_999"))
    assert set(check_3d()) == {"PG514"}
    shutil.copyfile(FIXTURES / "workspace" / ROOTS["preprocessed"] / CT / "splits_final.json", splits)
    for ending in MEMBERS:
        shutil.copyfile(dataset(workspace) / DATA / f"fine_000{ending}", dataset(workspace) / DATA / f"new{ending}")
    assert set(check_3d()) == {"PG515"}


def test_sp04_a_label_has_another_grid(workspace: Path) -> None:
    import SimpleITK

    path = dataset(workspace, root="raw") / "labelsTr/fine_000.nii.gz"
    label = SimpleITK.ReadImage(str(path))
    label.SetSpacing([1.2, 1.2, 3.0])
    SimpleITK.WriteImage(label, str(path))
    assert "PG524" not in check_3d()
    assert "PG524" in check_3d("--data", "sample")


# ---------------------------------------------------------------------------------------------------------------------
# Cascades and versions
# ---------------------------------------------------------------------------------------------------------------------


def test_ca02_the_next_stage_has_no_data(workspace: Path) -> None:
    arguments = ("-d", "2", "-p", "nnUNetPlans", "-c", "3d_lowres")
    assert "PG517" not in check(*arguments)
    shutil.rmtree(dataset(workspace) / DATA)
    assert "PG517" in check(*arguments)


def test_ca01_the_predictions_are_missing(workspace: Path) -> None:
    arguments = ("-d", "2", "-p", "nnUNetPlans", "-c", "3d_cascade_fullres")
    assert "PG518" in check(*arguments)
    model = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_lowres"
    predictions = model / "predicted_next_stage/3d_cascade_fullres"
    predictions.mkdir(parents=True)
    (model / "fold_0").mkdir()
    (model / "fold_0/checkpoint_final.pth").write_bytes(b"")
    assert "fine_000" in check(*arguments)["PG518"]
    for case in range(5):
        (predictions / f"fine_{case:03d}.b2nd").write_bytes(b"")
    assert "PG518" not in check(*arguments)


def test_vr06_data_of_an_old_nnunet(workspace: Path) -> None:
    """The format of nnU-Net 2.5, written from the same arrays."""
    import blosc2
    import numpy as np

    folder = dataset(workspace) / DATA
    for path in sorted(folder.glob("*.pkl")):
        arrays = {
            key: np.asarray(blosc2.open(urlpath=str(folder / f"{path.stem}{ending}"), mode="r")[:])
            for key, ending in (("data", ".b2nd"), ("seg", "_seg.b2nd"))
        }
        np.savez_compressed(folder / f"{path.stem}.npz", **arrays)
        for ending in (".b2nd", "_seg.b2nd"):
            (folder / f"{path.stem}{ending}").unlink()
    assert check_3d("--data", "all") == {}
    done = run("check", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", "--output", "json")
    assert [finding["code"] for finding in done.json["findings"]] == ["PG519"]


# ---------------------------------------------------------------------------------------------------------------------
# Ctrl-C
# ---------------------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_with_what_was_found(workspace: Path) -> None:
    folder = dataset(workspace) / DATA
    for number in range(3000):
        for ending in MEMBERS:
            os.link(folder / f"fine_000{ending}", folder / f"more_{number:04d}{ending}")
    assert read_header(folder / "more_0000.b2nd").shape
    line = [sys.executable, "-m", "plansguard", "check", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres"]
    process = subprocess.Popen([*line, "--data", "all"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    done = Done(process.returncode, out, err)
    assert "Traceback" not in done.err, done.err
    assert "PG529" in done.out
    assert done.code == 2
