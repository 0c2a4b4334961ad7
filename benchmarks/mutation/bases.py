"""Good documents that are mutated: those of fixtures/, and those of the corpus where it is beside the checkout."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.nnunet.constants import INTENSITY_KEY, OLD_INTENSITY_KEY, normalization_of
from plansguard.nnunet.workspace import DATASET_NAME

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = ROOT / "fixtures" / "workspace"
CORPUS = ROOT.parent / "shared" / "corpus"
#: Kind of document -> its file.
NAMES = {"dataset.json": "dataset.json", "fingerprint": "dataset_fingerprint.json", "splits": "splits_final.json"}
#: File ending -> an image with it, which stands for all images of a dataset without any.
IMAGES = {
    ".nii.gz": "Dataset002_FinetuneCT/imagesTr/fine_000_0000.nii.gz",
    ".png": "Dataset004_Slides2D/imagesTr/slide_000_0000.png",
}
#: File ending -> the dataset whose plans complete a dataset.json that is alone in the corpus.
_STAND_IN = {".png": "Dataset004_Slides2D", "": "Dataset003_TwoChannelMR"}
#: Normalization -> a channel name that the planner maps to it.
_CHANNELS = {
    "CTNormalization": "CT",
    "NoNormalization": "noNorm",
    "RescaleTo01Normalization": "rescale_0_1",
    "RGBTo01Normalization": "rgb_to_0_1",
}
_OLD_KEYS = {"strides": "pool_op_kernel_sizes", "kernel_sizes": "conv_kernel_sizes"}


class Base(NamedTuple):
    """The documents of one dataset; ``kinds`` are those that are mutated, ``origin`` is where they come from."""

    dataset: str
    identifier: str
    origin: str
    documents: dict[str, Any]
    kinds: tuple[str, ...]

    @property
    def is_of_corpus(self) -> bool:
        """Whether others wrote the documents."""
        return self.origin != "fixtures"

    @property
    def raw(self) -> Path | None:
        """The folder of the raw images, if there are any."""
        folder = WORKSPACE / "nnUNet_raw" / self.dataset
        return folder if not self.is_of_corpus and (folder / "imagesTr").is_dir() else None


def fixtures() -> Iterator[Base]:
    """Yield the plans of the fixtures, then those of U-Nets in the format before nnU-Net 2.3.1."""
    old = []
    for folder in sorted((WORKSPACE / "nnUNet_preprocessed").iterdir()):
        for path in sorted(folder.glob("*Plans.json")):
            documents: dict[str, Any] = {"plans": read(path)}
            for kind, name in NAMES.items():
                documents[kind] = read(folder / name) if (folder / name).is_file() else None
            kinds = tuple(kind for kind, document in documents.items() if document is not None)
            yield Base(folder.name, path.stem, "fixtures", documents, kinds)
            if path.stem == "nnUNetPlans":
                documents = {**documents, "plans": in_old_format(documents["plans"])}
                old.append(Base(folder.name, path.stem, "fixtures", documents, ("plans",)))
    yield from old


def in_old_format(plans: Mapping[str, Any]) -> dict[str, Any]:
    """Return plans of PlainConvUNets in the format before nnU-Net 2.3.1."""
    old = copy.deepcopy(dict(plans))
    for configuration in old["configurations"].values():
        if "architecture" not in configuration:
            continue
        kwargs = configuration.pop("architecture")["arch_kwargs"]
        configuration["UNet_class_name"] = "PlainConvUNet"
        configuration["UNet_base_num_features"] = kwargs["features_per_stage"][0]
        configuration["unet_max_num_features"] = max(kwargs["features_per_stage"])
        configuration["n_conv_per_stage_encoder"] = kwargs["n_conv_per_stage"]
        configuration["n_conv_per_stage_decoder"] = kwargs["n_conv_per_stage_decoder"]
        axes = zip(*kwargs["strides"], strict=True)
        configuration["num_pool_per_axis"] = [sum(stride > 1 for stride in axis) for axis in axes]
        for key, written in _OLD_KEYS.items():
            configuration[written] = kwargs[key]
    return old


def corpus() -> Iterator[Base]:
    """Yield the documents of the corpus, none where it is absent.

    Plans without a dataset.json get one that fits them, and a dataset.json without plans gets plans; neither is
    mutated. Configurations are left out by the caller, where nnU-Net refuses them.
    """
    if not CORPUS.is_dir():
        return
    rows = _table("manifest")
    pairs = {row["plans"]: row for row in _table("pairs")}
    for name in (row["local path"] for row in rows if row["kind"] == "plans"):
        plans, pair = read(CORPUS / name), pairs.get(name, {})
        if not DATASET_NAME.fullmatch(plans["dataset_name"]):
            plans["dataset_name"] = f"Dataset999_{plans['dataset_name']}"  # without a number it is no dataset's folder
        documents = {"plans": plans, **{kind: _paired(pair.get(file)) for kind, file in NAMES.items()}}
        documents["splits"] = _splits_of(name, plans, rows)
        kinds = tuple(kind for kind, document in documents.items() if document is not None)
        if documents["dataset.json"] is None:
            documents["dataset.json"] = _dataset_json_for(plans)
        if documents["fingerprint"] is None:
            documents["fingerprint"] = _fingerprint_for(plans, documents["dataset.json"])
        yield Base(plans["dataset_name"], plans.get("plans_name", "plans"), name, documents, kinds)
    alone = {row["local path"] for row in rows if row["kind"] == "dataset"}
    for name in sorted(alone - {pair["dataset.json"] for pair in pairs.values()}):
        dataset_json = read(CORPUS / name)
        stand_in = _STAND_IN[".png" if dataset_json.get("file_ending") == ".png" else ""]
        plans = _plans_for(dataset_json, stand_in)
        documents = {"plans": plans, "dataset.json": dataset_json, "splits": None}
        documents["fingerprint"] = _fingerprint_for(plans, dataset_json)
        yield Base(stand_in, "nnUNetPlans", name, documents, ("dataset.json",))


def read(path: Path) -> Any:
    """Read a document."""
    return json.loads(path.read_bytes())


def _table(name: str) -> list[dict[str, str]]:
    with (CORPUS / f"{name}.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def _paired(name: str | None) -> Any:
    return read(CORPUS / name) if name else None


def _splits_of(name: str, plans: Mapping[str, Any], rows: list[dict[str, str]]) -> Any:
    """Return the splits of the same repository and dataset, if there are any."""
    repository, _, file = name.partition("/")
    for row in rows:
        folder, _, splits = row["local path"].partition("/")
        same = plans["dataset_name"] in splits or "__" not in file + splits
        if row["kind"] == "splits" and folder == repository and same:
            return read(CORPUS / row["local path"])
    return None


def _dataset_json_for(plans: Mapping[str, Any]) -> dict[str, Any]:
    configurations = plans["configurations"].values()
    schemes = next((one["normalization_schemes"] for one in configurations if "normalization_schemes" in one), [])
    return {
        "channel_names": {str(index): _CHANNELS.get(scheme, f"MR{index}") for index, scheme in enumerate(schemes)},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "numTraining": 12,
        "file_ending": ".png" if plans.get("image_reader_writer") == "NaturalImage2DIO" else ".nii.gz",
    }


def _fingerprint_for(plans: Mapping[str, Any], dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fingerprint of equal cases, whose medians are those of the plans."""
    order = plans.get("transpose_backward", [0, 1, 2])
    medians = {key: plans.get(f"original_median_{key}_after_transp", [1, 1, 1]) for key in ("spacing", "shape")}
    cases = dataset_json.get("numTraining", 1)
    return {
        "foreground_intensity_properties_per_channel": plans.get(INTENSITY_KEY, plans.get(OLD_INTENSITY_KEY)),
        "median_relative_size_after_cropping": 1.0,
        "shapes_after_crop": [[medians["shape"][axis] for axis in order]] * cases,
        "spacings": [[medians["spacing"][axis] for axis in order]] * cases,
    }


def _plans_for(dataset_json: Mapping[str, Any], stand_in: str) -> dict[str, Any]:
    """Return plans of a fixture, with as many channels as a dataset.json names."""
    plans: dict[str, Any] = read(WORKSPACE / "nnUNet_preprocessed" / stand_in / "nnUNetPlans.json")
    names = list(dataset_json.get("channel_names", dataset_json.get("modality", {})).values())
    for configuration in plans["configurations"].values():
        if "normalization_schemes" in configuration:
            configuration["normalization_schemes"] = [normalization_of(name) for name in names]
            configuration["use_mask_for_norm"] = [False] * len(names)
    [properties, *_] = plans[INTENSITY_KEY].values()
    plans[INTENSITY_KEY] = {str(index): dict(properties) for index in range(len(names))}
    return plans
