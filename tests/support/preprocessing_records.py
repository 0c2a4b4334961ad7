"""Edits that give a variant's dataset preprocessed data with a preprocessing record; nnU-Net itself does not run."""

from __future__ import annotations

import shutil
from pathlib import Path

from plansguard.artefacts.data.listing import listing
from plansguard.documents import json_document
from plansguard.nnunet.inheritance import resolve_configuration
from plansguard.records.preprocessing import finished_record, unfinished_record
from plansguard.records.preprocessing_inputs import dataset_fields, input_fields
from tests.support.standin import write_cases
from tests.support.variants import DATASET_JSON, PLANS, RESENC, Edit, drop, place, remove

CT = "Dataset002_FinetuneCT"
FOLDER = "nnUNetPlans_3d_fullres"
RECORD = f"preprocessed/{FOLDER}.stamp.json"
MEAN = "/foreground_intensity_properties_per_channel/0/mean"
KWARGS = "/configurations/3d_fullres/resampling_fn_data_kwargs"


def data(cases: int = 99) -> Edit:
    """Write preprocessed cases, all of them or the first few, and the labels for validation; replaces earlier data."""

    def edit(workspace: Path, dataset: str) -> None:
        labels, folder = place(workspace, dataset, "raw/labelsTr"), place(workspace, dataset, f"preprocessed/{FOLDER}")
        shutil.rmtree(folder, ignore_errors=True)
        write_cases(dataset, folder, sorted(path.name.partition(".")[0] for path in labels.iterdir())[:cases])
        shutil.copytree(labels, folder.with_name("gt_segmentations"), dirs_exist_ok=True)

    return edit


def record(*, finished: bool = True) -> Edit:
    """Write the record of the present data and plans; or that of a run that has not finished."""

    def edit(workspace: Path, dataset: str) -> None:
        plans, dataset_json, path = (place(workspace, dataset, name) for name in (PLANS, DATASET_JSON, RECORD))
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


#: Only the configuration 3d_fullres of the default plans remains.
ALONE = (remove(RESENC), drop(PLANS, "/configurations/2d"))
RECORDED = (*ALONE, data(), record())
