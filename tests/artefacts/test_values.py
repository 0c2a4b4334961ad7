"""The values of preprocessed arrays: what is measured in every format, and what is said of it."""

from __future__ import annotations

import math
import pickle
import zipfile
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data.array_headers import BrokenArray
from plansguard.artefacts.data.blosc2_frames import MOST_BLOCKS, MOST_CHUNKS
from plansguard.artefacts.data.expectation import Expectation
from plansguard.artefacts.data.normalization import (
    CT,
    RESCALE,
    RGB,
    ZSCORE,
    Channel,
    Evidence,
    Extreme,
    Seen,
    Sums,
    evidence_faults,
    judge_channels,
)
from plansguard.artefacts.data.values import Measured, geometry, judge_values, measure, undeclared
from plansguard.nnunet.intensity import ClippedRange

HU = ClippedRange(low=-900.0, high=200.0, mean=50.0, std=100.0)  # leaves -9.5 to 1.5
VOXELS = 10_000


def plans(
    scheme: str = CT, *, masked: bool = False, clipped: ClippedRange | None = HU, channels: int = 1
) -> Expectation:
    return Expectation(
        channels=channels,
        spacing=None,
        transpose_forward=(0, 1, 2),
        class_keys=None,
        schemes=(scheme,) * channels,
        masked=(masked,) * channels,
        intensities=(clipped,) * channels,
        labels=frozenset((0, 1, 2)),
    )


def sums(voxels: int, mean: float, std: float) -> Sums:
    return Sums(voxels, voxels * mean, voxels * (std**2 + mean**2))


def channel(low: float, high: float, mean: float = 0.0, std: float = 1.0, voxels: int = VOXELS) -> Channel:
    return Channel(low, high, sums(voxels, mean, std))


def with_outside(mean: float, std: float, quiet: float, inside: Sums) -> Channel:
    """A channel of which 2000 voxels lie outside the mask, this share of them near 0."""
    outside = sums(2000, mean, std)
    return Channel(-3, 3, inside + outside, outside, round(2000 * quiet))


def said(one: Channel, expectation: Expectation, *, resampled: bool = True) -> str:
    faults, _ = judge_channels([one], expectation, resampled=resampled)
    assert len(faults) <= 1
    return ": ".join(faults[0]) if faults else ""


# ---------------------------------------------------------------------------------------------------------------------
# Judging, without numpy
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "low", "high", "expected"),
    [
        (CT, -9.5, 1.5, ""),
        (CT, -9.50005, 1.50005, ""),
        (CT, -2.0, 0.5, ""),
        (CT, -9.6, 1.5, "range: channel 0 holds -9.6 to 1.5, CTNormalization of these plans leaves -9.5 to 1.5"),
        (CT, -9.5, 1.501, "range: channel 0 holds -9.5 to 1.501, CTNormalization of these plans leaves -9.5 to 1.5"),
        (RESCALE, 0.1, 0.9, ""),
        (RGB, 0.0, 1.0, ""),
        (RGB, 0.0, 255.0, "range: channel 0 holds 0 to 255, RGBTo01Normalization of these plans leaves 0 to 1"),
        (RESCALE, -0.5, 1.0, "range: channel 0 holds -0.5 to 1, RescaleTo01Normalization of these plans leaves 0 to 1"),
        ("NoNormalization", -1e6, 1e6, ""),
        ("SomeonesNormalization", -1e6, 1e6, ""),
        ("NoNormalization", math.nan, 1.0, "range: channel 0 holds NaN or infinite values"),
        ("NoNormalization", -1.0, math.inf, "range: channel 0 holds NaN or infinite values"),
    ],
)
def test_ranges(scheme: str, low: float, high: float, expected: str) -> None:
    assert said(channel(low, high), plans(scheme)) == expected


def test_rescaled_images_that_were_not_resampled_reach_both_ends() -> None:
    one = channel(0.1, 0.9)
    assert "holds only 0.1 to 0.9" in said(one, plans(RESCALE), resampled=False)
    assert said(channel(0.0, 1.0), plans(RESCALE), resampled=False) == ""
    assert said(channel(0.0, 0.0), plans(RESCALE), resampled=False) == ""
    assert said(one, plans(RGB), resampled=False) == ""


def test_without_statistics_ct_is_not_judged() -> None:
    assert said(channel(-1000, 3000), plans(CT, clipped=None)) == ""


def test_large_intensities_leave_room_for_float32() -> None:
    """A range of 100 around ten million: nnU-Net's own float32 is a whole unit off there."""
    clipped = ClippedRange(1e7, 1e7 + 100, 1e7 + 50, 20)
    assert said(channel(-2.54, 2.5), plans(CT, clipped=clipped)) == ""
    assert said(channel(-4.0, 2.5), plans(CT, clipped=clipped)) != ""


@pytest.mark.parametrize(
    ("mean", "std", "sharp", "rough"),
    [(0.0, 1.0, True, True), (0.1, 0.8, False, True), (0.4, 1.0, False, False), (0.0, 0.3, False, True)],
)
def test_moments(mean: float, std: float, sharp: bool, rough: bool) -> None:
    """Whether they pass without and with resampling."""
    one = channel(-3, 3, mean, std)
    assert (said(one, plans(ZSCORE), resampled=False) == "") is sharp
    assert (said(one, plans(ZSCORE)) == "") is rough


def test_moments_name_both_sides() -> None:
    assert said(channel(-3, 3, 1.25, 2), plans(ZSCORE)) == (
        "moments: channel 0 has mean 1.25 and standard deviation 2, ZScoreNormalization of these plans leaves 0 and 1"
    )


def test_values_on_one_side_of_zero_were_not_z_scored() -> None:
    assert said(channel(0.0, 1.0, 0.1, 0.1), plans(ZSCORE)) != ""


def test_a_constant_channel_is_not_judged() -> None:
    assert said(channel(1.0, 1.0, 1.0, 0.0), plans(ZSCORE), resampled=False) == ""


@pytest.mark.parametrize("sign", [1, -1])
def test_a_channel_that_was_constant_inside_the_mask_is_not_judged(sign: int) -> None:
    """nnU-Net's rounding makes it 0, -1 or 1 there."""
    inside, outside = sums(8000, sign * 0.95, 0.1), sums(2000, sign * 0.05, 0.1)
    low, high = sorted((0.0, float(sign)))
    assert said(Channel(low, high, inside + outside, outside, 1500), plans(ZSCORE, masked=True)) == ""
    assert said(Channel(low - 1, high, inside + outside, outside, 1500), plans(ZSCORE, masked=True)) != ""


def test_few_voxels_are_not_judged_once_resampled() -> None:
    assert said(channel(-3, 3, 0.9, 0.4, voxels=29), plans(ZSCORE)) == ""


def test_moments_overflow_is_a_fault() -> None:
    assert said(Channel(-1e30, 1e30, Sums(VOXELS, math.inf, math.inf)), plans(ZSCORE)) != ""


INSIDE = sums(8000, 0, 1)


def test_the_mask_of_the_plans() -> None:
    in_the_mask = with_outside(0.0, 0.1, 0.6, INSIDE)
    whole_image = with_outside(-1.4, 0.2, 0.0, sums(8000, 0.35, 0.7))
    assert said(in_the_mask, plans(ZSCORE, masked=True)) == said(whole_image, plans(ZSCORE)) == ""
    assert "is -1.4 on average outside the mask" in said(whole_image, plans(ZSCORE, masked=True))
    assert "is 0 in 60% of what is outside the mask" in said(in_the_mask, plans(ZSCORE))


def test_the_edge_of_a_mask_is_no_proof() -> None:
    """Of a thin shell resampling leaves only mixtures; not resampled they cannot be."""
    shell = with_outside(-0.2, 0.6, 0.02, INSIDE)
    assert said(shell, plans(ZSCORE, masked=True)) == ""
    assert said(shell, plans(ZSCORE, masked=True), resampled=False) != ""


def test_moments_count_inside_the_mask() -> None:
    one = with_outside(0.0, 0.0, 1.0, sums(8000, 0.5, 1))
    assert "mean 0.5 and standard deviation 1 inside the mask" in said(one, plans(ZSCORE, masked=True))


def test_channels_without_a_scheme_are_not_judged() -> None:
    faults, _ = judge_channels([channel(-1e9, 1e9)] * 3, plans(CT), resampled=True)
    assert [what.split()[1] for _, what in faults] == ["0"]


def test_undeclared_labels_are_named() -> None:
    assert undeclared((3.0, 7.0), {0, 1, 2}) == "the segmentation holds 3, 7, dataset.json declares 0 to 2"
    assert undeclared((1.5,), {0, 2, 5}) == "the segmentation holds 1.5, dataset.json declares 0, 2, 5"
    assert undeclared(tuple(range(3, 40)), {0, 1, 2}).startswith("the segmentation holds 3, 4, 5, 6, 7, ...,")


# ---------------------------------------------------------------------------------------------------------------------
# Evidence, without numpy
# ---------------------------------------------------------------------------------------------------------------------

FEW = st.integers(0, 3)
EXTREMES = st.builds(Extreme, st.sampled_from((-1.0, 0.0, 2.5)), st.integers(1, 3))
EVIDENCE = st.builds(Evidence, st.lists(st.builds(Seen, FEW, EXTREMES, EXTREMES, FEW, FEW, FEW), max_size=3).map(tuple))


@given(EVIDENCE, EVIDENCE, EVIDENCE)
def test_evidence_can_be_folded_in_any_way(one: Evidence, two: Evidence, three: Evidence) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert one + Evidence() == one == pickle.loads(pickle.dumps(one))


def evidence(*cases: Channel) -> list[tuple[str, str]]:
    return evidence_faults(reduce(add, (judge_channels([one], plans(), resampled=True)[1] for one in cases)), plans())


NARROWER = channel(-4.0, 1.0, -0.3, 0.5)


def test_cases_clipped_to_a_narrower_range_are_evidence() -> None:
    assert evidence(*[NARROWER] * 4) == [
        (
            "range",
            "channel 0 holds -4 to 1 in most of 4 cases, as if clipped there; "
            "CTNormalization of these plans leaves -9.5 to 1.5",
        )
    ]


@pytest.mark.parametrize(
    "cases",
    [
        [NARROWER] * 3,
        [*[NARROWER] * 4, channel(-9.5, 0.5, -0.3, 0.5)],
        [*[NARROWER] * 4, channel(-4.0, 1.5, -0.3, 0.5)],
        [channel(-4.0, 1.0 - n / 10, -0.3, 0.5) for n in range(8)],
        [channel(-4.0, 1.0, -0.3, 2.4)] * 8,
        [channel(-4.0, 1.0, -0.3, 0.5, voxels=99)] * 8,
    ],
    ids=["too few cases", "one at the low end", "one at the high end", "one end varies", "two values", "tiny"],
)
def test_what_is_no_evidence(cases: list[Channel]) -> None:
    assert evidence(*cases) == []


def test_cases_that_were_all_z_scored_are_evidence() -> None:
    z_scored = [channel(-1.5 - n / 10, 1.2, 0.01, 0.99) for n in range(4)]
    ((kind, what),) = evidence(*z_scored)
    assert kind == "moments"
    assert what == "channel 0 has mean 0 and standard deviation 1 in each of 4 cases, as after ZScoreNormalization"
    assert evidence(*z_scored, channel(-1.5, 1.2, -0.5, 0.7)) == []


# ---------------------------------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------------------------------

SHAPE = (2, 7, 90, 110)


def drawn() -> tuple[Any, Any]:
    """An image of two channels and its segmentation, -1 at one side."""
    import numpy as np

    rng = np.random.RandomState(0)
    image = rng.normal(3, 2, SHAPE).astype(np.float32)
    segmentation = rng.randint(0, 3, (1, *SHAPE[1:])).astype(np.int16)
    segmentation[:, :, :20] = -1
    image[0, :, :20] *= 0.001
    return image, segmentation


def stored(folder: Path, image: Any, segmentation: Any, form: str = "b2nd", **options: Any) -> Path:
    """A case "one" in one of the forms in which nnU-Net and its users store them."""
    import blosc2
    import numpy as np

    if form == "b2nd":
        blosc2.asarray(image, urlpath=str(folder / "one.b2nd"), mode="w", **options)
        blosc2.asarray(segmentation, urlpath=str(folder / "one_seg.b2nd"), mode="w")
    else:
        save = np.savez if form == "npz" else np.savez_compressed
        save(folder / "one.npz", data=image, seg=segmentation)
    if form == "npy":
        np.save(folder / "one.npy", image)
        np.save(folder / "one_seg.npy", segmentation)
    return folder


def measured(folder: Path, labels: set[int] | None = None, outside: tuple[bool, ...] = (True, True)) -> Measured:
    return measure(folder, "one", labels={0, 1, 2} if labels is None else labels, outside=outside)


def broken(folder: Path) -> str:
    with pytest.raises(BrokenArray) as caught:
        measured(folder)
    return str(caught.value)


@pytest.mark.nnunet
@pytest.mark.parametrize("piece", [1 << 20, 1 << 10])
@pytest.mark.parametrize("form", ["b2nd", "b2nd in small chunks", "npz", "npz packed", "npy", "npz in Fortran's order"])
def test_figures_equal_those_of_numpy(tmp_path: Path, form: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr("plansguard.artefacts.data.values.PIECE", piece)
    image, segmentation = drawn()
    name = form.split()[0]
    order = np.asfortranarray if "Fortran" in form else np.ascontiguousarray
    options = {"chunks": (1, 3, 33, 40), "blocks": (1, 2, 16, 16)} if "small" in form else {}
    folder = stored(tmp_path, order(image), order(segmentation), "packed" if "packed" in form else name, **options)
    result = measured(folder)
    assert result.shape == SHAPE[1:]
    assert result.strange == ()
    assert len(result.channels) == 2
    for one, truth in zip(result.channels, image, strict=True):
        outside = truth[segmentation[0] < 0]
        assert (one.low, one.high) == (truth.min(), truth.max())
        for ours, values in (
            (one.everywhere, truth),
            (one.outside, outside),
            (one.inside, truth[segmentation[0] >= 0]),
        ):
            assert ours.voxels == values.size
            assert ours.mean == pytest.approx(values.mean(dtype=float), rel=1e-5)
            assert ours.std == pytest.approx(values.std(dtype=float), rel=1e-5)
        assert one.quiet == (np.abs(outside) < 0.01).sum()


@pytest.mark.nnunet
@pytest.mark.parametrize("dtype", ["float64", "int16", "uint8", "bool", ">f4"])
def test_other_types_are_measured_as_training_takes_them(tmp_path: Path, dtype: str) -> None:
    image, segmentation = drawn()
    image = (abs(image) * 10).astype(dtype)
    first = measured(stored(tmp_path, image, segmentation, "npz")).channels[0]
    assert first.everywhere.mean == pytest.approx(image[0].astype("float32").mean(dtype=float), rel=1e-5)


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("value", "labels", "strange"),
    [(2, {0, 1, 2}, ()), (7, {0, 1, 2}, (7,)), (-2, {0, 1, 2}, (-2,)), (1, {0, 2}, (1,)), (3, {0, 1, 2, 3}, ())],
)
@pytest.mark.parametrize("outside", [(True, True), (False, False)])
def test_values_that_are_no_labels(
    tmp_path: Path, value: int, labels: set[int], strange: tuple[int, ...], outside: tuple[bool, ...]
) -> None:
    image, segmentation = drawn()
    segmentation[segmentation == 1] = 2
    segmentation[0, 3, 50, 50] = value
    assert measured(stored(tmp_path, image, segmentation), labels, outside).strange == strange


@pytest.mark.nnunet
def test_labels_between_the_numbers(tmp_path: Path) -> None:
    image, segmentation = drawn()
    segmentation = segmentation.astype("float32")
    assert measured(stored(tmp_path, image, segmentation, "npz")).strange == ()
    segmentation[0, 0, 50, 50] = 1.5
    assert measured(stored(tmp_path, image, segmentation, "npz")).strange == (1.5,)


@pytest.mark.nnunet
def test_nan_reaches_the_figures_wherever_it_is(tmp_path: Path) -> None:
    image, segmentation = drawn()
    image[1, 6, 89, 109] = math.nan
    judged = judge_values(stored(tmp_path, image, segmentation), "one", plans("NoNormalization", channels=2))
    assert [(kind, fault.what) for kind, fault in judged.faults] == [
        ("range", "channel 1 holds NaN or infinite values")
    ]


@pytest.mark.nnunet
def test_faults_name_the_case(tmp_path: Path) -> None:
    image, segmentation = drawn()
    segmentation[0, 3, 50, 50] = 9
    judged = judge_values(stored(tmp_path, image, segmentation), "one", plans(RGB, channels=2))
    assert [(kind, fault.case) for kind, fault in judged.faults] == [
        ("range", "one"),
        ("range", "one"),
        ("labels", "one"),
    ]


@pytest.mark.nnunet
def test_segmentations_of_another_shape_are_read_for_their_labels(tmp_path: Path) -> None:
    """That they have another shape, the headers tell."""
    image, segmentation = drawn()
    segmentation[0, 0, 0, 0] = 5
    result = measured(stored(tmp_path, image, segmentation[:, :5]))
    assert result.strange == (5,)
    assert [one.outside.voxels for one in result.channels] == [0, 0]


# ---------------------------------------------------------------------------------------------------------------------
# Broken and hostile files
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.nnunet
@pytest.mark.parametrize("name", ["one.b2nd", "one_seg.b2nd"])
def test_arrays_cut_anywhere_are_incomplete(tmp_path: Path, name: str) -> None:
    image, segmentation = drawn()
    path = stored(tmp_path, image, segmentation) / name
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 4096), 1, 200, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert broken(tmp_path).startswith(f"{name} ")


@pytest.mark.nnunet
def test_damage_inside_an_array_is_incomplete(tmp_path: Path) -> None:
    image, segmentation = drawn()
    path = stored(tmp_path, image, segmentation) / "one.b2nd"
    whole = bytearray(path.read_bytes())
    first_chunk = int.from_bytes(whole[11:15], "big")  # right behind the header
    whole[first_chunk + 32 : first_chunk + 64] = b"\xff" * 32
    path.write_bytes(whole)
    judged = judge_values(tmp_path, "one", plans(RGB, channels=2))
    ((kind, fault),) = judged.faults
    assert kind == "incomplete"
    assert fault.what.startswith("one.b2nd cannot be read (")
    assert judged.evidence == Evidence()


@pytest.mark.nnunet
def test_missing_files_are_incomplete(tmp_path: Path) -> None:
    assert broken(tmp_path) == "one.b2nd is missing"
    (stored(tmp_path, *drawn()) / "one_seg.b2nd").unlink()
    assert broken(tmp_path) == "one_seg.b2nd is missing"


@pytest.mark.nnunet
def test_members_that_are_missing_or_cut_are_incomplete(tmp_path: Path) -> None:
    import numpy as np

    image, segmentation = drawn()
    np.savez(tmp_path / "one.npz", data=image)
    assert broken(tmp_path) == "one.npz (seg) is missing"
    stored(tmp_path, image, segmentation, "npz")
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        data, seg = archive.read("data.npy"), archive.read("seg.npy")
    with zipfile.ZipFile(tmp_path / "one.npz", "w") as archive:
        archive.writestr("data.npy", data[:-100])
        archive.writestr("seg.npy", seg)
    assert broken(tmp_path).startswith("one.npz (data) ")


@pytest.mark.nnunet
@pytest.mark.parametrize("shape", [(1, 5, 5), (1, 1, 2, 5, 5)])
def test_arrays_of_other_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    import numpy as np

    assert "and not of the four axes (C, z, y, x)" in broken(stored(tmp_path, np.zeros(shape), np.zeros(shape)))


@pytest.mark.nnunet
def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    import numpy as np

    image, segmentation = drawn()
    assert broken(stored(tmp_path, image.astype(object), segmentation, "npz")) == (
        "one.npz (data) holds '|O', not numbers"
    )
    assert "not numbers" in broken(stored(tmp_path, np.zeros(SHAPE, "S4"), segmentation, "npz"))


@pytest.mark.nnunet
def test_arrays_of_nothing_that_claim_the_world_are_refused(tmp_path: Path) -> None:
    import blosc2

    blosc2.zeros((1, 4000, 4000, 4000), dtype="f4", urlpath=str(tmp_path / "one.b2nd"))
    assert "is damaged: it claims 238 GiB in" in broken(tmp_path)


@pytest.mark.nnunet
def test_a_file_that_would_compute_something_is_not_opened(tmp_path: Path) -> None:
    """Blosc2 stores expressions and functions as arrays, too, and evaluates them when they are read."""
    import blosc2

    image, segmentation = drawn()
    stored(tmp_path, image, segmentation)
    expression = blosc2.open(str(tmp_path / "one.b2nd"), mode="r") + 1
    expression.save(urlpath=str(tmp_path / "two.b2nd"))
    (tmp_path / "two.b2nd").replace(tmp_path / "one.b2nd")
    assert broken(tmp_path) == "one.b2nd is more than an array, and is not opened for safety"


@pytest.mark.nnunet
@pytest.mark.parametrize("name", ["LazyArray", "proxy-source", "b2o", "mine"])
@pytest.mark.parametrize("ending", ["", "\0"])
def test_other_metalayers_are_not_opened(tmp_path: Path, name: str, ending: str) -> None:
    """C-Blosc2 ends their names at a NUL, and Blosc2 for Python asks it for names."""
    stored(tmp_path, *drawn(), meta={name + "X" * len(ending): 3})
    path = tmp_path / "one.b2nd"
    path.write_bytes(path.read_bytes().replace((name + "X").encode(), (name + ending).encode()))
    assert broken(tmp_path) == "one.b2nd is more than an array, and is not opened for safety"


@pytest.mark.nnunet
def test_metalayers_of_variable_length_are_not_opened(tmp_path: Path) -> None:
    import blosc2

    array = blosc2.open(str(stored(tmp_path, *drawn()) / "one.b2nd"), mode="a")
    array.schunk.vlmeta["mine"] = 3
    assert broken(tmp_path) == "one.b2nd is more than an array, and is not opened for safety"


def chunk_of(whole: bytearray, which: str) -> int:
    """Where the first chunk of a frame begins, or the one that lists the others."""
    packed = int.from_bytes(whole[39:47], "big") if which == "list" else 0
    return int.from_bytes(whole[11:15], "big") + packed


@pytest.mark.nnunet
@pytest.mark.parametrize("which", ["first", "list"])
@pytest.mark.parametrize(("codec", "name"), [(36, "36 (OpenHTJ2K)"), (37, "37 (Grok)"), (200, "200")])
def test_plugins_are_not_loaded(
    tmp_path: Path, which: str, codec: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-Blosc2 looks for them with Python, in the current folder first."""
    path = stored(tmp_path, *drawn()) / "one.b2nd"
    whole = bytearray(path.read_bytes())
    start = chunk_of(whole, which)
    whole[start + 2] = whole[start + 2] & 0x1F | 6 << 5
    whole[start + 0x16] = codec
    path.write_bytes(whole)
    for module in ("blosc2_openhtj2k", "blosc2_grok"):
        (tmp_path / f"{module}.py").write_text("open('ran', 'w').close()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert (
        broken(tmp_path) == f"one.b2nd is packed with codec {name}, which needs a plugin, and is not opened for safety"
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.nnunet
def test_every_chunk_is_looked_at(tmp_path: Path) -> None:
    import blosc2

    path = stored(tmp_path, *drawn(), chunks=(1, 4, 30, 30)) / "one.b2nd"
    whole = bytearray(path.read_bytes())
    array = blosc2.open(str(path), mode="r")
    start = whole.index(array.schunk.get_chunk(47))
    whole[start + 0x10] = 160
    path.write_bytes(whole)
    assert broken(tmp_path).startswith("one.b2nd is packed with filter 160, which needs a plugin")
    whole[start + 0x10] = 0
    whole[start + 2] = whole[start + 2] & 0x1F | 6 << 5
    path.write_bytes(whole)
    assert broken(tmp_path).startswith("one.b2nd is packed with a codec of the kind 6")


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("position", "number", "what"), [(0x1B, 6, "codec 6"), (0x4D, 37, "codec 37 (Grok)"), (0x47, 160, "filter 160")]
)
def test_plugins_that_the_frame_names_are_not_loaded(tmp_path: Path, position: int, number: int, what: str) -> None:
    path = stored(tmp_path, *drawn()) / "one.b2nd"
    whole = bytearray(path.read_bytes())
    whole[position] = number
    path.write_bytes(whole)
    assert broken(tmp_path) == f"one.b2nd is packed with {what}, which needs a plugin, and is not opened for safety"


@pytest.mark.nnunet
@pytest.mark.parametrize("kind", ["zeros", "ones", "nans", "uninit"])
def test_chunks_without_bytes_are_read(tmp_path: Path, kind: str) -> None:
    import blosc2

    _, segmentation = drawn()
    stored(tmp_path, segmentation, segmentation)
    (tmp_path / "one.b2nd").unlink()
    getattr(blosc2, kind)((1, 7, 90, 110), dtype="f4", urlpath=str(tmp_path / "one.b2nd"), chunks=(1, 4, 32, 32))
    (one,) = measured(tmp_path, outside=(True,)).channels
    assert one.everywhere.voxels == 7 * 90 * 110
    if kind != "uninit":
        value = {"zeros": 0.0, "ones": 1.0, "nans": math.nan}[kind]
        assert (one.low, one.high) == pytest.approx((value, value), nan_ok=True)


@pytest.mark.nnunet
@pytest.mark.parametrize("codec", ["BLOSCLZ", "LZ4", "LZ4HC", "ZLIB", "ZSTD"])
@pytest.mark.parametrize("split", ["NOFILTER", "SHUFFLE", "BITSHUFFLE"])
def test_every_codec_of_its_own_is_read(tmp_path: Path, codec: str, split: str) -> None:
    import blosc2

    image, segmentation = drawn()
    options = {"codec": blosc2.Codec[codec], "filters": [blosc2.Filter[split]]}
    stored(tmp_path, image, segmentation, cparams=options)
    assert measured(tmp_path).channels[0].high == image[0].max()


@pytest.mark.nnunet
@pytest.mark.parametrize(("chunks", "blocks"), [((1, 1, 1, 1), (1, 1, 1, 1)), ((1, 256, 256, 65), (1, 1, 1, 1))])
def test_arrays_in_countless_pieces_are_refused(
    tmp_path: Path, chunks: tuple[int, ...], blocks: tuple[int, ...]
) -> None:
    import blosc2

    path = str(tmp_path / "one.b2nd")
    blosc2.zeros((1, 256, 256, 65), dtype="f4", urlpath=path, chunks=chunks, blocks=blocks)
    assert broken(tmp_path) == "one.b2nd is damaged: it claims to be in more chunks and blocks than nnU-Net writes"


@pytest.mark.nnunet
@pytest.mark.parametrize(("patch", "times"), [((128, 128, 128), 20), ((16, 32, 32), 5), ((512, 512), 20)])
def test_large_arrays_of_nnunet_are_in_far_fewer_pieces(patch: tuple[int, ...], times: int) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

    shape = (4, 600, 1000, 1000)
    blocks, chunks = comp_blosc2_params(shape, patch)
    count = math.prod(-(-extent // step) for extent, step in zip(shape, chunks, strict=True))
    assert times * count <= MOST_CHUNKS
    assert times * count * math.prod(-(-one // two) for one, two in zip(chunks, blocks, strict=True)) <= MOST_BLOCKS


@pytest.mark.nnunet
@pytest.mark.parametrize("dtype", [b"(2 3)f4,f4", b"f4,f4,f4", b"(2,)f4", b"\x1b[2J", b"a4"])
def test_types_are_not_parsed(tmp_path: Path, dtype: bytes) -> None:
    import blosc2
    import numpy as np

    path = tmp_path / "one.b2nd"
    blosc2.asarray(np.zeros((1, 8, 8, 8), [("a", "<f4")]), urlpath=str(path))
    path.write_bytes(path.read_bytes().replace(b"[('a', '<f4')]", dtype.ljust(14)))
    assert broken(tmp_path) == f"one.b2nd holds {dtype.ljust(14)[:5].decode()!r}, not numbers"


@pytest.mark.nnunet
def test_large_members_in_fortrans_order_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    image, segmentation = drawn()
    stored(tmp_path, np.asfortranarray(image), segmentation, "npz")
    assert measured(tmp_path).channels[1].high == image[1].max()
    monkeypatch.setattr("plansguard.artefacts.data.values.WHOLE", image.nbytes - 1)
    assert broken(tmp_path) == "one.npz (data) lies in Fortran's order, which is read only up to 0 MiB"


# ---------------------------------------------------------------------------------------------------------------------
# Geometry
# ---------------------------------------------------------------------------------------------------------------------


def written(path: Path, size: tuple[int, ...] = (6, 5, 4), **changes: Any) -> Path:
    import SimpleITK

    image = SimpleITK.Image(size, SimpleITK.sitkUInt8)
    for name, value in changes.items():
        getattr(image, f"Set{name}")(value)
    SimpleITK.WriteImage(image, str(path))
    return path


TURNED = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"Spacing": (1, 1, 2)}, ["spacing is 1, 1, 2, the image's is 1, 1, 1 (x, y, z in mm)"]),
        ({"Spacing": (1, 1, 1 + 5e-6)}, []),
        ({"Origin": (0, 7.5, 0)}, ["origin is 0, 7.5, 0, the image's is 0, 0, 0 (x, y, z in mm)"]),
        ({"size": (6, 5, 3)}, ["size is 6, 5, 3, the image's is 6, 5, 4 (x, y, z in voxels)"]),
        ({"size": (6, 5, 3), "Spacing": (1, 1, 2)}, ["size is 6, 5, 3, the image's is 6, 5, 4 (x, y, z in voxels)"]),
        (
            {"Direction": TURNED},
            ["direction is 0, -1, 0, 1, 0, 0, 0, 0, 1, the image's is 1, 0, 0, 0, 1, 0, 0, 0, 1"],
        ),
    ],
)
@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_geometry(tmp_path: Path, ending: str, changes: dict[str, Any], expected: list[str]) -> None:
    image = written(tmp_path / f"case_0000{ending}")
    assert geometry(image, written(tmp_path / f"case{ending}", **changes)) == expected


@pytest.mark.nnunet
def test_geometry_of_nifti_reads_no_more_than_the_header(tmp_path: Path) -> None:
    image = written(tmp_path / "case_0000.nii.gz", (60, 60, 60))
    label = written(tmp_path / "case.nii.gz", (60, 60, 60), Spacing=(1, 3, 1))
    whole = label.read_bytes()
    label.write_bytes(whole[: len(whole) // 2])
    assert geometry(image, label) == ["spacing is 1, 3, 1, the image's is 1, 1, 1 (x, y, z in mm)"]


@pytest.mark.nnunet
def test_nothing_is_said_of_the_geometry_of_pictures(tmp_path: Path) -> None:
    image = written(tmp_path / "case_0000.png", (6, 5))
    assert geometry(image, written(tmp_path / "case.png", (6, 5), Spacing=(0.1, 0.1))) == []


@pytest.mark.nnunet
def test_nothing_is_said_of_the_geometry_of_what_cannot_be_read(tmp_path: Path) -> None:
    image = written(tmp_path / "case_0000.nrrd")
    label = tmp_path / "case.nrrd"
    assert geometry(image, label) == []
    label.write_text("NRRD0005\n", encoding="utf-8")
    assert geometry(image, label) == []
