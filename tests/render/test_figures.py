"""The numbers that pages show as pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import pytest

from plansguard.core.errors import Absent, UsageError
from plansguard.core.report import Location
from plansguard.documents import json_document
from plansguard.nnunet.network.unet import Stage
from plansguard.render.html import drawing
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import dataset_in
from plansguard.subjects.figures import collect, comparison, geometry, intensities, network, schedule, slices
from plansguard.subjects.figures.collect import ConfigurationFigures
from plansguard.subjects.plans import Configuration
from plansguard.subjects.request import Reading, Request
from plansguard.training.schedule import StepSchedule
from tests.support.variants import ROOTS

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
pytestmark = pytest.mark.workspace(RECEIVING, GIVING, "Dataset004_Slides2D")


def dataset(workspace: Path, name: str = RECEIVING) -> Dataset:
    return dataset_in(workspace / ROOTS["preprocessed"] / name)


def configuration(of: Dataset, name: str = "3d_fullres", plans: str = "nnUNetPlans") -> Configuration:
    (chosen,) = (one for one in of.plans if one.identifier == plans)
    return next(one for one in chosen.configurations if one.name == name)


def edit(workspace: Path, file: str, change: Callable[[Any], object], name: str = RECEIVING) -> None:
    path = workspace / ROOTS["preprocessed"] / name / file
    document = json.loads(path.read_bytes())
    change(document)
    path.write_bytes(json_document.dumps(document))


def test_every_case_is_in_a_bin(workspace: Path) -> None:
    subject = dataset(workspace)
    named = [(RECEIVING, subject.fingerprint)]
    for figures in (geometry.spacing_figures, geometry.size_figures):
        axes = figures(configuration(subject), named)
        assert [axis.axis for axis in axes] == [0, 1, 2]
        for axis in axes:
            (one,) = axis.distributions
            assert sum(one.counts) == len(subject.fingerprint.value["spacings"])
            assert axis.low <= min(one.smallest, axis.plans)
            assert max(one.largest, axis.plans) <= axis.high


def test_sizes_are_whole_voxels(workspace: Path) -> None:
    """As nnU-Net's compute_new_shape: 64 voxels of 1.15 mm are 61 of 1.2 mm, not 61.33."""
    cases = {"spacings": [[1.5, 1.15, 1.15]] * 5, "shapes_after_crop": [[54, 64, 62]] * 5}
    edit(workspace, "dataset_fingerprint.json", lambda one: one.update(cases))
    subject = dataset(workspace)
    axes = geometry.size_figures(configuration(subject), [(RECEIVING, subject.fingerprint)])
    assert [axis.distributions[0].largest for axis in axes] == [54, 61, 59]


def test_axes_are_those_of_the_plans(workspace: Path) -> None:
    """After transpose_forward; a 2D configuration has the last two."""
    edit(workspace, "nnUNetPlans.json", lambda plans: plans.update(transpose_forward=[1, 0, 2]))
    edit(workspace, "dataset_fingerprint.json", lambda one: one.update(spacings=[[3.0, 1.0, 2.0]] * 5))
    subject = dataset(workspace)
    named = [(RECEIVING, subject.fingerprint)]
    full, flat = (geometry.spacing_figures(configuration(subject, name), named) for name in ("3d_fullres", "2d"))
    assert [axis.distributions[0].median for axis in full] == [1.0, 3.0, 2.0]
    assert [axis.distributions[0].median for axis in flat] == [3.0, 2.0]


@pytest.mark.parametrize(("spacing", "below", "above"), [(0.5, True, False), (1.5, False, False), (9.0, False, True)])
def test_a_target_beyond_all_images(workspace: Path, spacing: float, below: bool, above: bool) -> None:
    edit(
        workspace,
        "nnUNetPlans.json",
        lambda plans: plans["configurations"]["3d_fullres"].update(spacing=[spacing, 1.2, 1.2]),
    )
    subject = dataset(workspace)
    first, *_ = geometry.spacing_figures(configuration(subject), [(RECEIVING, subject.fingerprint)])
    assert (first.is_below, first.is_above) == (below, above)


def test_the_patch_is_in_millimetres(workspace: Path) -> None:
    subject = dataset(workspace)
    shown = geometry.patch_figure(configuration(subject), RECEIVING, subject.fingerprint)
    chosen = configuration(subject)
    assert shown.patch == tuple(a * b for a, b in zip(chosen.get("patch_size"), chosen.get("spacing"), strict=True))
    fingerprint = subject.fingerprint.value
    extents = zip(fingerprint["spacings"], fingerprint["shapes_after_crop"], strict=True)
    volumes = [[a * b for a, b in zip(*case, strict=True)] for case in extents]
    assert list(shown.smallest) in volumes


def test_images_of_fewer_axes_are_left_out(workspace: Path) -> None:
    edit(workspace, "dataset_fingerprint.json", lambda one: one.update(spacings=[[1.0]], shapes_after_crop=[[4]]))
    subject = dataset(workspace)
    with pytest.raises(Absent):
        geometry.spacing_figures(configuration(subject), [(RECEIVING, subject.fingerprint)])


def test_intensities(workspace: Path) -> None:
    subject = dataset(workspace)
    named = [(GIVING, dataset(workspace, GIVING).fingerprint), (RECEIVING, subject.fingerprint)]
    names = {GIVING: ["MR"], RECEIVING: ["CT"]}
    (channel,) = intensities.channel_figures(configuration(subject), RECEIVING, named, names)
    assert [one.channel for one in channel.ranges] == ["MR", "CT"]
    properties = subject.fingerprint.value["foreground_intensity_properties_per_channel"]["0"]
    assert channel.channel == "CT"
    assert channel.clipped is not None
    assert (channel.clipped.low, channel.clipped.high) == (12.0, 128.0)
    assert channel.ranges[1].largest == properties["max"]


def test_channels_without_statistics(workspace: Path) -> None:
    edit(
        workspace,
        "dataset_fingerprint.json",
        lambda one: one.update(foreground_intensity_properties_per_channel={"0": {"mean": float("nan")}}),
    )
    subject = dataset(workspace)
    (channel,) = intensities.channel_figures(configuration(subject), RECEIVING, [(RECEIVING, subject.fingerprint)], {})
    assert (channel.channel, channel.ranges) == ("channel 0", ())


def test_a_network_without_weights(workspace: Path) -> None:
    shown = network.network_figure(configuration(dataset(workspace)), None)
    assert shown.name == "PlainConvUNet"
    assert [row.ours.size for row in shown.rows if row.ours][:2] == [(56, 64, 64), (28, 32, 32)]
    assert (shown.other, shown.obstacles) == ("", ())


def test_stages_that_only_one_network_has() -> None:
    stage = Stage(0, 32, (3, 3, 3), (1, 1, 1), 2, 2, None)
    assert network.StageRow(None, stage).differing
    assert not network.StageRow(stage, stage._replace(size=(1, 1, 1))).differing
    assert network.StageRow(stage, stage._replace(stride=(1, 2, 2))).differing == ("stride",)


def test_spacings_of_a_header_are_equal(workspace: Path) -> None:
    """0.8 as a float32 gives the same arrays."""
    subject, name = dataset(workspace), "nnUNetPlans.json"
    then = configuration(subject)
    edit(
        workspace,
        name,
        lambda plans: plans["configurations"]["3d_fullres"].update(spacing=[3.0, 1.2000000476837158, 1.2]),
    )
    now = configuration(dataset(workspace))
    figure = comparison._compared("then", then, "now", now)
    assert figure.factors == (0.5, 1.0, 1.0)


@pytest.mark.parametrize(
    "planned",
    [
        StepSchedule(1),
        StepSchedule(40, 10),
        StepSchedule(2000, warmup=100),
        StepSchedule(80, 10, extends=40),
        StepSchedule(10**9),
    ],
)
def test_the_rate_is_that_of_the_schedule(planned: StepSchedule) -> None:
    shown = schedule.rate_figure(planned, 0.02)
    assert shown.points[0][0] == 0
    assert shown.points[-1][0] == planned.total - 1
    assert all(rate == planned.rate_at(step, 0.02) for step, rate in shown.points)
    assert len(shown.points) < 310
    assert len(shown.borders) <= 60


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.78, 1.25), (-1000, 3000), (5, 5), (0, 1e9), (1e-9, 2e-9)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = drawing.ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)


def test_a_scale_keeps_what_is_beyond() -> None:
    place = drawing.scale(0, 10, 100, 200)
    assert [place(value) for value in (-5, 0, 5, 10, 99)] == [100, 100, 150, 200, 200]
    assert drawing.log_scale(4, 0, 100)(1) == 50


def test_one_case_among_many_is_drawn() -> None:
    path = drawing.bars([1, 0, 100_000], 0, 300, 50, 40)
    assert path.count("M") == 2
    assert "v-1.5h" in path


def figures_of(subject: Dataset, **request: Any) -> list[ConfigurationFigures]:
    subject.request = Request(plans="nnUNetPlans", **request)
    return list(collect.of_datasets([subject]).configurations)


def test_what_cannot_be_shown_is_said(workspace: Path) -> None:
    (workspace / ROOTS["preprocessed"] / RECEIVING / "dataset_fingerprint.json").unlink()
    for one in figures_of(dataset(workspace), reading=Reading("none")):
        assert one.missing == (
            "there is no fingerprint to compare with",
            "preprocessed data are not read with --data none",
        )
        assert one.network is not None


def test_values_that_no_rule_expects_cost_one_picture(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(*_: object) -> None:
        raise OverflowError("int too large to convert to float")

    monkeypatch.setattr(geometry, "size_figures", overflow)
    for one in figures_of(dataset(workspace)):
        assert "OverflowError: int too large to convert to float" in one.missing
        assert one.spacing


def test_a_configuration_of_two_dimensions(workspace: Path) -> None:
    (one,) = figures_of(dataset(workspace, "Dataset004_Slides2D"))
    assert len(one.spacing) == len(one.size) == 2
    assert one.patch is not None
    assert len(one.patch.patch) == 2
    assert [channel.scheme for channel in one.channels] == ["ZScoreNormalization"] * 3


def test_the_worst_dataset_comes_first(workspace: Path) -> None:
    from plansguard.core.report import Finding, Report, Severity

    visited = collect.Visited()
    subjects = [dataset(workspace, name) for name in (GIVING, RECEIVING)]
    for subject in subjects:
        visited(subject)
    place = Location(str(subjects[1].folder / "nnUNetPlans.json"))
    report = Report("check", (), 2, (Finding("PG101", "x", Severity.ERROR, "x", "x", place),))
    assert visited.figures(report).configurations[0].dataset == RECEIVING


@pytest.mark.nnunet
@pytest.mark.parametrize("form", ["b2nd", "npz", "npy", "packed"])
def test_a_slice_is_the_middle_one(form: str, tmp_path: Path) -> None:
    import numpy as np

    from plansguard.artefacts.data.values import middle_slice
    from tests.support.arrays import drawn, stored

    image, segmentation = drawn()
    shown = middle_slice(stored(tmp_path, image, segmentation, form), "one", channel=1)
    assert np.array_equal(shown.image, image[1, 3])
    assert np.array_equal(shown.segmentation, segmentation[0, 3])


@pytest.mark.nnunet
def test_a_slice_where_no_thread_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import of blosc2 would end the process with the exit code 255."""
    from plansguard.artefacts.data.values import middle_slice
    from tests.support.arrays import drawn, stored

    def limited(thread: Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    folder = stored(tmp_path, *drawn(), "b2nd")
    monkeypatch.setattr(Thread, "start", limited)
    monkeypatch.delitem(sys.modules, "numexpr", raising=False)
    monkeypatch.delitem(sys.modules, "blosc2")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        middle_slice(folder, "one")
    assert "blosc2" not in sys.modules


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (MemoryError(), None),
        (ImportError("libblas.so: failed to map segment from shared object", name="numpy"), None),
        (ImportError("\n\nREAD THIS\nOriginal error was: libm.so", name="numpy"), "numpy cannot be imported: libm.so"),
        (UsageError("no thread"), "no thread"),
        (ValueError("of ours"), "ValueError: of ours"),
    ],
    ids=["memory", "memory of a library", "library", "request", "fault"],
)
def test_a_figure_that_cannot_be_made(
    error: Exception, shown: str | None, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a limit of the machine costs the page: what is missing there is not complete."""

    def fail(*_: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(slices, "slice_figures", fail)
    if shown is None:
        with pytest.raises((MemoryError, UsageError)):
            collect.of_datasets([dataset(workspace)])
        return
    assert all(shown in "\n".join(one.missing) for one in collect.of_datasets([dataset(workspace)]).configurations)


@pytest.mark.nnunet
def test_outlines_are_where_labels_meet() -> None:
    import numpy as np

    labels: Any = np.zeros((7, 7), np.uint8)
    labels[1:6, 1:6] = 2
    outline = slices._outline(labels)
    assert outline.sum() == 2 * 16
    assert outline[3, 3] == 0
