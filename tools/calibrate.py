"""Measure how reliably the values of preprocessed arrays show whether plans and data belong together.

nnU-Net's own preprocessor normalizes, resamples and saves synthetic cases of every scheme;
``plansguard.artefacts.data.values`` then judges them by the plans that made them (nothing may be found) and by other
plans (the share of findings is measured). ``python tools/calibrate.py`` writes docs/calibration.md; it needs the extra
``train``. Everything is drawn from one seed.

Arrays are (z, y, x) as nnU-Net's readers give them, or (channel, z, y, x); spacings are in mm in the same order. A 2D
image is (1, y, x).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from importlib.metadata import version
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plansguard.artefacts.data.expectation import Expectation
from plansguard.artefacts.data.normalization import CT, RESCALE, RGB, ZSCORE, Evidence, evidence_faults, judge_channels
from plansguard.artefacts.data.values import CaseMeasurements, judge_values, measure
from plansguard.nnunet.intensity import ClippedRange

ROOT = Path(__file__).resolve().parents[1]
SEED = 3
DATASETS, CASES = 26, 8  # of each group, and of each dataset
NONE = "NoNormalization"


# ---------------------------------------------------------------------------------------------------------------------
# Images
# ---------------------------------------------------------------------------------------------------------------------


class Geometry(NamedTuple):
    """How the images of a dataset are sampled, and how the plans resample them (None: not at all)."""

    name: str
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    target: tuple[float, ...] | None
    transpose: tuple[int, int, int] = (0, 1, 2)
    resampler: str = "resample_data_or_seg_to_shape"


GEOMETRIES = (
    Geometry("as they are", (24, 28, 26), (1, 1, 1), None),
    Geometry("upsampled", (16, 18, 17), (2, 2, 2), (1.2, 1.3, 1.3)),
    Geometry("downsampled", (34, 36, 32), (0.8, 0.7, 0.7), (1.6, 1.5, 1.5)),
    Geometry("far downsampled", (40, 40, 38), (1, 1, 1), (3.1, 3.1, 3.1)),
    Geometry("thick slices", (12, 36, 34), (5, 0.8, 0.8), (5, 1.1, 1.1)),
    Geometry("thick slices made thin", (10, 30, 30), (6, 0.9, 0.9), (2.5, 0.8, 0.8)),
    Geometry("other axis first", (32, 12, 30), (0.9, 4, 0.9), (4, 1.2, 1.2), (1, 0, 2)),
    Geometry("2d slices", (8, 34, 32), (4, 1, 1), (1.4, 1.4)),
    Geometry("2d images", (1, 72, 64), (999, 1, 1), (1, 1)),
    Geometry("tiny", (4, 5, 6), (1, 1, 1), (1.3, 1.3, 1.3)),
    Geometry("by torch", (20, 22, 24), (1, 1.2, 1.2), (1.5, 1, 1), resampler="resample_torch_fornnunet"),
)


def drawn_body(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """HU: soft tissue in air with fat, bone and noise."""
    image = np.full(size, -1000.0)
    radius = _radius(rng, size)
    image[radius < 1] = -90
    image[radius < 0.85] = rng.uniform(20, 60)
    image[_radius(rng, size) < 0.3] = rng.uniform(80, 160)
    image[_radius(rng, size, 0.6) < 0.12] = rng.uniform(500, 1400)
    return image + rng.normal(0, rng.uniform(3, 40), size) * (image > -1000)


def drawn_organ(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """HU: a crop inside the body, without air."""
    image = rng.uniform(20, 80) + 40 * _blurred(rng, size, 2)
    image[_radius(rng, size) < 0.5] += rng.uniform(20, 90)
    return image + rng.normal(0, rng.uniform(5, 25), size)


def drawn_head(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """Exactly 0 outside a skull-stripped head; no common scale."""
    image = rng.uniform(100, 900) * (1.5 + 0.4 * _blurred(rng, size, 2) + rng.normal(0, 0.1, size))
    return np.maximum(image, 1) * (_radius(rng, size) < 1)


def drawn_noise(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """White noise around a large offset."""
    return rng.normal(rng.uniform(-500, 2000), rng.uniform(20, 300), size)


def drawn_smooth(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """A few broad hills on a ramp."""
    ramp = np.linspace(0, rng.uniform(0, 400), size[-1])
    return rng.uniform(200, 800) + 150 * _blurred(rng, size, 4) + ramp


def drawn_sparse(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """A dark field with few bright spots, each a few voxels wide, as a tracer or vessels give it."""
    spots = (rng.random_sample(size) < rng.choice([0.002, 0.01])) * rng.exponential(4000, size)
    return _smoothed(spots, rng.choice([0.0, 0.8])) + rng.exponential(rng.uniform(1, 20), size)


def drawn_heavy(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """Values over several orders of magnitude."""
    return 50 * np.exp(rng.uniform(0.5, 1.5) * _blurred(rng, size, 1))


def drawn_binary(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """Two values."""
    return np.where(_radius(rng, size) < rng.uniform(0.3, 0.8), 200.0, 20.0)


def drawn_constant(rng: np.random.RandomState, size: tuple[int, ...]) -> np.ndarray:
    """One value everywhere, as in channels that were not acquired."""
    return np.full(size, rng.choice([1000.1, 7.0, 0.3]))


TEXTURES = {
    "body": drawn_body,
    "organ": drawn_organ,
    "head": drawn_head,
    "noise": drawn_noise,
    "smooth": drawn_smooth,
    "sparse": drawn_sparse,
    "heavy": drawn_heavy,
    "binary": drawn_binary,
    "constant": drawn_constant,
}


def _radius(rng: np.random.RandomState, size: tuple[int, ...], spread: float = 0.15) -> np.ndarray:
    """Distance from a point near the middle; 1 on an ellipsoid that almost fills the image."""
    total = np.zeros(size)
    for axis, length in enumerate(size):
        middle = rng.uniform(-spread, spread)
        place = ((np.arange(length) + 0.5) / length * 2 - 1 - middle) / rng.uniform(0.7, 0.95)
        total = total + np.expand_dims(place**2, [other for other in range(len(size)) if other != axis])
    return np.sqrt(total)


def _blurred(rng: np.random.RandomState, size: tuple[int, ...], width: float) -> np.ndarray:
    """Normal noise of unit variance, ``width`` voxels coarse."""
    image = _smoothed(rng.normal(0, 1, size), width)
    return image / max(float(image.std()), 1e-6)


def _smoothed(image: np.ndarray, width: float) -> np.ndarray:
    """Convolved with a Gaussian of this standard deviation in voxels, with periodic boundaries."""
    spectrum = np.fft.fftn(image)
    for axis, length in enumerate(image.shape):
        decay = np.exp(-2 * (np.pi * width * np.fft.fftfreq(length)) ** 2)
        spectrum *= np.expand_dims(decay, [other for other in range(image.ndim) if other != axis])
    smoothed: np.ndarray = np.fft.ifftn(spectrum).real
    return smoothed


# ---------------------------------------------------------------------------------------------------------------------
# Datasets
# ---------------------------------------------------------------------------------------------------------------------


class Group(NamedTuple):
    """Datasets with the same normalization.

    ``heads``: of images that are 0 around something. ``foreign``: with statistics that another dataset has.
    """

    name: str
    scheme: str
    masked: bool = False
    heads: bool = False
    foreign: bool = False


GROUPS = (
    Group("CT", CT),
    Group("CT, statistics of other data", CT, foreign=True),
    Group("z-score", ZSCORE),
    Group("z-score of heads", ZSCORE, heads=True),
    Group("z-score in the mask", ZSCORE, masked=True, heads=True),
    Group("[0, 1]", RESCALE),
    Group("RGB", RGB),
    Group("none", NONE),
)
HEADS = tuple(f"{texture} in a head" for texture in ("smooth", "noise", "sparse", "binary", "heavy", "constant"))


class Raw(NamedTuple):
    """One case as returned by a reader: image (C, z, y, x), labels (1, z, y, x) of 0 to 2."""

    image: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Some cases of one kind, and the plans that nnU-Net preprocesses them with."""

    group: Group
    geometry: Geometry
    textures: tuple[str, ...]
    cases: tuple[Raw, ...]
    statistics: tuple[ClippedRange, ...]

    def plans(self) -> dict[str, Any]:
        """Real plans of the fixtures with this dataset's preprocessing, in a configuration named "used"."""
        path = ROOT / "fixtures/workspace/nnUNet_preprocessed/Dataset001_PretrainCT/nnUNetPlans.json"
        plans: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        geometry = self.geometry
        target = geometry.target or [geometry.spacing[axis] for axis in geometry.transpose]
        configuration = plans["configurations"]["2d" if len(target) == 2 else "3d_fullres"] | {
            "spacing": list(target),
            "normalization_schemes": [self.group.scheme for _ in self.textures],
            "use_mask_for_norm": [self.group.masked for _ in self.textures],
        }
        if geometry.resampler != configuration["resampling_fn_data"]:
            for what, is_seg in (("data", False), ("seg", True)):
                configuration[f"resampling_fn_{what}"] = geometry.resampler
                configuration[f"resampling_fn_{what}_kwargs"] = {"is_seg": is_seg, "num_threads": 1}
        return plans | {
            "transpose_forward": list(geometry.transpose),
            "foreground_intensity_properties_per_channel": {
                str(channel): {"mean": mean, "std": std, "percentile_00_5": low, "percentile_99_5": high}
                for channel, (low, high, mean, std) in enumerate(self.statistics)
            },
            "configurations": {"used": configuration},
        }


def fingerprint(cases: Iterable[Raw]) -> tuple[ClippedRange, ...]:
    """Return the intensity properties of each channel in nnU-Net's fingerprint, from the foreground of all cases."""
    foregrounds = [[channel[case.labels[0] > 0] for channel in case.image] for case in cases]
    return tuple(_statistics(np.concatenate(values)) for values in zip(*foregrounds, strict=True))


def _statistics(values: np.ndarray) -> ClippedRange:
    low, high = np.percentile(values, (0.5, 99.5))
    return ClippedRange(float(low), float(high), float(values.mean()), float(values.std()))


def datasets(group: Group, seed: int = SEED) -> Iterator[Dataset]:
    """Yield combinations of texture, geometry and voxel type; every third dataset has two channels."""
    textures = HEADS if group.heads else tuple(TEXTURES)
    for index in range(DATASETS):
        rng = np.random.RandomState([seed, index, *group.name.encode()])
        chosen = tuple(textures[(index + 5 * channel) % len(textures)] for channel in range(2 if index % 3 == 2 else 1))
        geometry = GEOMETRIES[index * 4 % len(GEOMETRIES)]
        kind = np.dtype(("int16", "float32", "uint16", "float64", "int32")[index % 5])
        if group.scheme == RGB:
            kind = np.dtype("uint8")
        cases = tuple(_case(rng, chosen, geometry, kind) for _ in range(CASES))
        source = cases
        if group.foreign:
            others = tuple(textures[(textures.index(name) + 1 + index // 3) % len(textures)] for name in chosen)
            source = tuple(_case(rng, others, geometry, kind) for _ in range(3))
        yield Dataset(group, geometry, chosen, cases, fingerprint(source))


def _case(rng: np.random.RandomState, textures: Iterable[str], geometry: Geometry, kind: np.dtype[Any]) -> Raw:
    size = tuple(max(1, length + int(rng.randint(-1, 2)) * (length > 8)) for length in geometry.size)
    head = _radius(rng, size) < 0.95
    image = np.stack([_texture(rng, texture, size, head) for texture in textures])
    if kind == np.uint8:
        image = (image - image.min()) / max(float(np.ptp(image)), 1e-6) * rng.uniform(120, 255)
    elif kind.kind == "u":
        image = image - min(0.0, float(image.min()))
    if kind.kind in "iu":
        image = image.clip(np.iinfo(kind).min, np.iinfo(kind).max).round()
    labels = np.zeros(size, dtype=np.int16)
    radius = _radius(rng, size)
    labels[radius < 0.6] = 1
    labels[radius < 0.35] = 2
    labels[tuple(length // 2 for length in size)] = 1  # the smallest images have a foreground, too
    return Raw(image.astype(kind), labels[None])


def _texture(rng: np.random.RandomState, name: str, size: tuple[int, ...], head: np.ndarray) -> np.ndarray:
    plain, _, within = name.partition(" in a ")
    image = TEXTURES[plain](rng, size)
    return np.where(head, image - image.min() + rng.uniform(0.6, 300), 0) if within else image


# ---------------------------------------------------------------------------------------------------------------------
# Preprocessing and judging
# ---------------------------------------------------------------------------------------------------------------------

Shape = tuple[int, ...]


class Made(NamedTuple):
    """A dataset that nnU-Net preprocessed: the measurements of each case, and its shape before resampling."""

    group: Group
    geometry: str
    textures: tuple[str, ...]
    plans: Expectation
    measured: list[tuple[CaseMeasurements, Shape]]


class Verdict(NamedTuple):
    """Findings in a dataset: number of cases, cases with faults, and faults of the dataset as a whole."""

    cases: int
    found: int
    together: bool
    texts: tuple[str, ...]


def preprocess(dataset: Dataset, folder: Path) -> dict[str, Shape]:
    """Let nnU-Net preprocess every case into ``folder``; return the shape of each before resampling, by name."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(dataset.plans())
    configuration = plans.get_configuration("used")
    labels = {"labels": {"background": 0, "organ": 1, "tumour": 2}}
    preprocessor = DefaultPreprocessor(verbose=False)
    shapes = {}
    for index, case in enumerate(dataset.cases):
        facts: dict[str, Any] = {"spacing": list(dataset.geometry.spacing)}
        made = preprocessor.run_case_npy(case.image, case.labels, facts, plans, configuration, labels)
        image, segmentation = made[0].astype(np.float32, copy=False), made[1].astype(np.int16, copy=False)
        sizes = [comp_blosc2_params(a.shape, configuration.patch_size, a.itemsize) for a in (image, segmentation)]
        layout = dict(zip(("blocks", "chunks", "blocks_seg", "chunks_seg"), (*sizes[0], *sizes[1]), strict=True))
        nnUNetDatasetBlosc2.save_case(image, segmentation, facts, str(folder / f"case_{index}"), **layout)
        shapes[f"case_{index}"] = tuple(facts["shape_after_cropping_and_before_resampling"])
    return shapes


def expected(dataset: Dataset) -> Expectation:
    """Judge the values by the dataset's own plans."""
    return Expectation(
        channels=len(dataset.textures),
        spacing=None,
        transpose_forward=(0, 1, 2),
        class_keys=None,
        schemes=(dataset.group.scheme,) * len(dataset.textures),
        masked=(dataset.group.masked,) * len(dataset.textures),
        intensities=dataset.statistics,
        labels=frozenset((0, 1, 2)),
    )


def study(groups: Sequence[Group] = GROUPS) -> tuple[list[Made], dict[str, list[Verdict]]]:
    """Return every dataset, measured, and by group the findings of its own plans."""
    everything: list[Made] = []
    own: dict[str, list[Verdict]] = {}
    for group in groups:
        for dataset in datasets(group):
            plans = expected(dataset)
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                shapes = preprocess(dataset, folder)
                judged = [judge_values(folder, case, plans, shape=shape) for case, shape in shapes.items()]
                everywhere = [True for _ in dataset.textures]
                measured = [
                    (measure(folder, case, labels=plans.labels, outside=everywhere), shape)
                    for case, shape in shapes.items()
                ]
            made = Made(group, dataset.geometry.name, dataset.textures, plans, measured)
            everything.append(made)
            faults = [[(kind, fault.what) for kind, fault in case_faults] for case_faults, _ in judged]
            own.setdefault(group.name, []).append(_verdict(faults, [evidence for _, evidence in judged], plans))
    return everything, own


def judge(made: Made, plans: Expectation) -> Verdict:
    """Judge a dataset by plans that did not make it."""
    judged = [
        judge_channels(measured.channels, plans, resampled=measured.shape != shape) for measured, shape in made.measured
    ]
    return _verdict([faults for faults, _ in judged], [evidence for _, evidence in judged], plans)


def _verdict(faults: list[list[tuple[str, str]]], evidence: Iterable[Evidence], plans: Expectation) -> Verdict:
    together = evidence_faults(reduce(add, evidence, Evidence()), plans)
    texts = tuple(f"{kind}: {what}" for kind, what in [*(one for case in faults for one in case), *together])
    return Verdict(len(faults), sum(map(bool, faults)), bool(together), texts)


# ---------------------------------------------------------------------------------------------------------------------
# Mismatches
# ---------------------------------------------------------------------------------------------------------------------


class Mismatch(NamedTuple):
    """Data of one group under other plans. ``cases`` and ``datasets`` are the shares in which something is found."""

    made: str
    judged: str
    cases: float
    datasets: float


def mismatches(everything: list[Made]) -> list[Mismatch]:
    """Judge every group by the plans of every other scheme, and CT by other statistics."""
    rows = []
    for group in (group for group in GROUPS if not group.foreign):
        made = [one for one in everything if one.group == group]
        for other in GROUPS:
            if (other.scheme, other.masked) == (group.scheme, group.masked) or other.scheme == NONE:
                continue
            if other.foreign or (other.heads and not (other.masked and group.heads)):
                continue
            found = [judge(one, _with_scheme(one.plans, other)) for one in made]
            rows.append(_mismatch(group.name, other.name, found))
    clipped = [one for one in everything if one.group.scheme == CT and not one.group.foreign]
    for share in (0.01, 0.05, 0.2, 0.5):
        moved = [judge(one, _moved(one.plans, share, index)) for index, one in enumerate(clipped)]
        rows.append(_mismatch("CT", f"CT, statistics {share:.0%} off", moved))
    single = [one for one in clipped if len(one.textures) == 1]
    foreign = [
        judge(one, replace(one.plans, intensities=other.plans.intensities))
        for one, other in zip(single, single[1:] + single[:1], strict=True)
    ]
    rows.append(_mismatch("CT", "CT, statistics of another dataset", foreign))
    double = [one for one in clipped if len(one.textures) == 2]
    swapped = [judge(one, replace(one.plans, intensities=one.plans.intensities[::-1])) for one in double]
    rows.append(_mismatch("CT", "CT, two channels swapped", swapped))
    return rows


def _with_scheme(plans: Expectation, other: Group) -> Expectation:
    return replace(plans, schemes=(other.scheme,) * len(plans.schemes), masked=(other.masked,) * len(plans.schemes))


def _moved(plans: Expectation, share: float, index: int) -> Expectation:
    """Shift bounds and mean by this share of the clipped range, up or down; scale the deviation by this share."""
    rng = np.random.RandomState(index)
    moved = []
    for clipped in plans.intensities:
        assert clipped is not None
        by = share * (clipped.high - clipped.low)
        low, high, mean = (value + by * rng.choice([-1, 1]) for value in clipped[:3])
        moved.append(ClippedRange(low, max(low, high), mean, clipped.std * (1 + share * rng.choice([-1, 1]))))
    return replace(plans, intensities=tuple(moved))


def _mismatch(made: str, judged: str, verdicts: list[Verdict]) -> Mismatch:
    cases = sum(verdict.found for verdict in verdicts) / sum(verdict.cases for verdict in verdicts)
    whole = sum(bool(verdict.found or verdict.together) for verdict in verdicts) / len(verdicts)
    return Mismatch(made, judged, cases, whole)


# ---------------------------------------------------------------------------------------------------------------------
# The page
# ---------------------------------------------------------------------------------------------------------------------

INTRODUCTION = """\
# Reliability of the checks of values

`plansguard check --data sample` (or `all`) reads the voxels of preprocessed arrays and checks whether these plans can
have made them. `python tools/calibrate.py` wrote this page: nnU-Net's own preprocessor normalized, resampled and saved
{cases} synthetic cases in datasets of {size}. They are noisy, smooth, sparse, heavy-tailed, two-valued and constant
images, bodies, organs, and heads in an empty background, from 4 x 5 x 6 voxels up, stored in six types, of one or two
channels, isotropic, with thick slices and in 2D; resampled up, down, by torch, and not resampled.

Properties of every array that nnU-Net makes, which are checked:

- **CTNormalization**: no value beyond the plans' clip bounds. With {few} cases or more: no other pair of values is
  the minimum and maximum of most cases, and not all cases look z-scored. This is evidence, no proof.
- **ZScoreNormalization**: without resampling mean 0 and standard deviation 1, within {exact}. With it a mean within
  {mean} + 2 / sqrt(voxels), a mean square not far over 1, and values on both sides of 0. With `use_mask_for_norm` this
  applies inside the mask, and the outside is 0; without it, the outside is not 0.
- **RescaleTo01Normalization**: between 0 and 1, and without resampling from 0 to 1.
- **RGBTo01Normalization**: between 0 and 1.
- **NoNormalization** and schemes that are not nnU-Net's: only that all values are finite.

A constant channel is not judged: the result of z-scoring it depends on rounding.

## Under the plans that made them

Nothing may be found here: neither in a case nor in a dataset as a whole.

| made with | cases | at fault | datasets | at fault |
|---|---|---|---|---|
{own}

## Under other plans

How much is found: the share of cases, and of datasets of {size} cases. Some of the rest cannot be seen: values from 0
to 1 are as good for RGB images; data that fill only a part of a CT range do not say that the range was another; where
no voxel is 0 in all channels, the mask is the whole image; a channel that was constant says nothing of statistics.

| made with | judged by plans with | cases | datasets |
|---|---|---|---|
{others}

Written with {versions}.
"""


def page(everything: list[Made], own: dict[str, list[Verdict]]) -> str:
    """Return the text of docs/calibration.md."""
    from plansguard.artefacts.data import normalization

    healthy = [
        f"| {name} | {sum(v.cases for v in verdicts)} | {sum(v.found for v in verdicts)} "
        f"| {len(verdicts)} | {sum(v.together for v in verdicts)} |"
        for name, verdicts in own.items()
    ]
    others = [f"| {m.made} | {m.judged} | {m.cases:.0%} | {m.datasets:.0%} |" for m in mismatches(everything)]
    return INTRODUCTION.format(
        cases=sum(len(made.measured) for made in everything),
        size=CASES,
        few=normalization.FEWEST_CASES,
        exact=normalization.EXACT,
        mean=normalization.MEAN,
        own="\n".join(healthy),
        others="\n".join(others),
        versions=", ".join(f"{name} {version(name)}" for name in ("nnunetv2", "numpy", "scikit-image", "torch")),
    )


def main() -> int:
    """Write the page; return 1 if there was a false alarm."""
    everything, own = study()
    (ROOT / "docs/calibration.md").write_text(page(everything, own), encoding="utf-8")
    alarms = [text for verdicts in own.values() for verdict in verdicts for text in verdict.texts]
    print("\n".join(alarms))
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
