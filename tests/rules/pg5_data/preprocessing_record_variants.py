"""PG54x: data with a stamp, made as `plansguard preprocess` makes it; only nnU-Net itself is left out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from plansguard.artefacts.data.listing import listing
from plansguard.documents import json_document
from plansguard.nnunet.inheritance import resolve_configuration
from plansguard.records.preprocessing import finished_record, unfinished_record
from plansguard.records.preprocessing_inputs import dataset_fields, input_fields
from tests.support.standin import write_cases
from tests.support.variants import Edit, Variant, drop, place, put, remove

PLANS = "preprocessed/nnUNetPlans.json"
RESENC = "preprocessed/nnUNetResEncUNetMPlans.json"
JSON = "preprocessed/dataset.json"
FOLDER = "nnUNetPlans_3d_fullres"
STAMP = f"preprocessed/{FOLDER}.stamp.json"
CT, MR = "Dataset002_FinetuneCT", "Dataset003_TwoChannelMR"
MEAN = "/foreground_intensity_properties_per_channel/0/mean"
KWARGS = "/configurations/3d_fullres/resampling_fn_data_kwargs"


def data(cases: int = 99) -> Edit:
    """Preprocessed cases, all of them or the first few, and the labels for validation, older than what is there."""

    def edit(workspace: Path, dataset: str) -> None:
        labels, folder = place(workspace, dataset, "raw/labelsTr"), place(workspace, dataset, f"preprocessed/{FOLDER}")
        shutil.rmtree(folder, ignore_errors=True)
        write_cases(dataset, folder, sorted(path.name.partition(".")[0] for path in labels.iterdir())[:cases])
        shutil.copytree(labels, folder.with_name("gt_segmentations"), dirs_exist_ok=True)

    return edit


def stamp(*, finished: bool = True) -> Edit:
    """The stamp of the data that lie there, with today's plans; or that of a run that has only begun on them."""

    def edit(workspace: Path, dataset: str) -> None:
        plans, dataset_json, path = (place(workspace, dataset, name) for name in (PLANS, JSON, STAMP))
        values = json_document.read(plans).value
        folder = path.with_name(FOLDER)
        value = unfinished_record(
            nnunet_version="2.8.1",
            now="2026-05-04T09:00:00+00:00",
            plans=plans.stem,
            configuration="3d_fullres",
            data_identifier=FOLDER,
            fields=input_fields(values, resolve_configuration(values["configurations"], "3d_fullres")),
            dataset=dataset_fields(json_document.read(dataset_json).value),
            cases=len(list(place(workspace, dataset, "raw/labelsTr").iterdir())),
            present=listing(folder) if folder.is_dir() else None,
            before=None,
        )
        if finished:
            value = finished_record(value, now="2026-05-04T09:30:00+00:00", files=listing(folder))
        path.write_bytes(json_document.dumps(value))

    return edit


def touched(workspace: Path, dataset: str) -> None:
    """Every file of the data was changed just now, as after a copy; none of them is another one."""
    for path in place(workspace, dataset, f"preprocessed/{FOLDER}").iterdir():
        os.utime(path)


def one(code: str, file: str, pointer: str) -> frozenset[tuple[str, str, str]]:
    return frozenset({(code, file, pointer)})


ALONE = (remove(RESENC), drop(PLANS, "/configurations/2d"))
STAMPED = (*ALONE, data(), stamp())

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "resampling-edited-after-preprocessing",
        CT,
        (*STAMPED, put(PLANS, f"{KWARGS}/order", 1)),
        one("PG540", PLANS, KWARGS),
        # a keyword that is absent is null; the other fields decide nothing that is written
        twin=(*STAMPED, drop(PLANS, f"{KWARGS}/force_separate_z"), put(PLANS, "/note", "edited")),
    ),
    Variant(
        "mean-edited-after-preprocessing",
        CT,
        (*STAMPED, put(PLANS, MEAN, 79.0)),
        one("PG540", PLANS, MEAN),
        # nothing uses the median, and data that were copied are the same data
        twin=(*STAMPED, put(PLANS, MEAN.replace("mean", "median"), 79.0), touched),
    ),
    Variant(
        "child-of-an-edited-parent",
        CT,
        (
            put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}),
            *STAMPED,
            put(PLANS, f"{KWARGS}/order_z", 1),
        ),
        one("PG540", PLANS, KWARGS),
        twin=(put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}), *STAMPED),
    ),
    Variant(
        "channels-swapped-after-preprocessing",
        MR,
        (
            *STAMPED,
            put(JSON, "/channel_names", {"0": "T2", "1": "T1"}),
            put("raw/dataset.json", "/channel_names", {"0": "T2", "1": "T1"}),
        ),
        one("PG540", JSON, "/channel_names"),
        twin=STAMPED,
    ),
    Variant(
        "other-files-of-the-same-cases",
        CT,
        (*STAMPED, lambda workspace, dataset: _grow(place(workspace, dataset, f"preprocessed/{FOLDER}/fine_003.pkl"))),
        one("PG541", STAMP, "/files"),
        # nnU-Net reads neither
        twin=(*STAMPED, lambda workspace, dataset: _grow(place(workspace, dataset, f"preprocessed/{FOLDER}/x.npy"))),
    ),
    Variant(
        "other-data-asked-for-another-configuration",
        CT,
        (*STAMPED, lambda workspace, dataset: _grow(place(workspace, dataset, f"preprocessed/{FOLDER}/fine_003.pkl"))),
        one("PG541", STAMP, "/files"),
        twin=STAMPED,
        options=("-c", "3d_fullres"),
    ),
    Variant(
        "preprocessing-that-never-ended",
        CT,
        (*ALONE, data(2), stamp(finished=False), data()),
        one("PG542", STAMP, "/finished"),
        # killed before nnU-Net touched anything, and nobody knows what the data were made with
        twin=(*ALONE, data(), stamp(finished=False)),
    ),
)


def _grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"\0")
