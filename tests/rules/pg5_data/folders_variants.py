"""PG504 to PG519, of several families: whole folders of preprocessed cases, from the real headers of the fixtures."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
from pathlib import Path

from tests.support.preprocessed import HEADERS, lay_out
from tests.support.variants import Edit, Variant, place, put, remove

CT = "Dataset002_FinetuneCT"
PLANS = "preprocessed/nnUNetPlans.json"
RESENC = "preprocessed/nnUNetResEncUNetMPlans.json"
DATASET_JSON = "preprocessed/dataset.json"
SPLITS = "preprocessed/splits_final.json"
GT = "preprocessed/gt_segmentations"
DATA = "nnUNetPlans_3d_fullres"
FLAT = "nnUNetPlans_2d"
OF_DATA = "/configurations/3d_fullres/data_identifier"
MEMBERS = (".b2nd", "_seg.b2nd", ".pkl")
LOWRES = {
    "inherits_from": "3d_fullres",
    "data_identifier": "nnUNetPlans_3d_lowres",
    "next_stage": "3d_cascade_fullres",
}
CASCADE = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
ONLY = ("-p", "nnUNetPlans", "-c", "3d_fullres")
STAGES = (put(PLANS, "/configurations/3d_lowres", LOWRES), put(PLANS, "/configurations/3d_cascade_fullres", CASCADE))
CASES = tuple(f"fine_{number:03d}" for number in range(5))


def preprocessed(*identifiers: str, of: str | None = None) -> Edit:
    """The dataset as nnUNetv2_preprocess leaves it: every case in every folder named, and gt_segmentations.

    With ``of`` the arrays are those of another dataset, under this one's names.
    """

    def edit(workspace: Path, dataset: str) -> None:
        folder = place(workspace, dataset, "preprocessed/.").resolve()
        raw = place(workspace, dataset, "raw/labelsTr")
        cases = sorted(path.name.partition(".")[0] for path in raw.iterdir())
        shutil.copytree(raw, folder / "gt_segmentations", dirs_exist_ok=True)
        for identifier in identifiers:
            source = lay_out(HEADERS / (of or dataset) / DATA, workspace / "arrays")
            (folder / identifier).mkdir()
            first, second = sorted(path.stem for path in source.glob("*.pkl"))
            for number, case in enumerate(cases):  # the fixtures hold two cases
                for ending in MEMBERS:
                    there = source / f"{second if number == 1 else first}{ending}"
                    shutil.copyfile(there, folder / identifier / f"{case}{ending}")
            shutil.rmtree(source)

    return edit


def both(*edits: Edit) -> tuple[Edit, ...]:
    """Data for both configurations, and then these edits."""
    return (preprocessed(DATA, FLAT), *edits)


def cut(file: str, size: int) -> Edit:
    """The file ends after ``size`` bytes."""
    return lambda workspace, dataset: os.truncate(place(workspace, dataset, file), size)


def append(file: str) -> Edit:
    """The file gets longer by a byte; a missing one is made."""

    def edit(workspace: Path, dataset: str) -> None:
        with place(workspace, dataset, file).open("ab") as stream:
            stream.write(b"\n")

    return edit


def touch(file: str, seconds: int) -> Edit:
    """The file was changed ``seconds`` after the newest array."""

    def edit(workspace: Path, dataset: str) -> None:
        arrays = place(workspace, dataset, f"preprocessed/{DATA}").iterdir()
        when = max(path.stat().st_mtime for path in arrays) + seconds
        os.utime(place(workspace, dataset, file), (when, when))

    return edit


def trained(configuration: str, *predicted: str) -> Edit:
    """A trained model of these plans, with predictions for the cascade of the cases named."""

    def edit(workspace: Path, dataset: str) -> None:
        model = place(workspace, dataset, f"results/nnUNetTrainer__nnUNetPlans__{configuration}")
        (model / "fold_0").mkdir(parents=True)
        (model / "fold_0/checkpoint_final.pth").touch()
        shutil.copyfile(place(workspace, dataset, PLANS), model / "plans.json")
        folder = model / "predicted_next_stage/3d_cascade_fullres"
        folder.mkdir(parents=True)
        for case in predicted:
            (folder / f"{case}.b2nd").touch()

    return edit


def old_format() -> Edit:
    """The arrays as nnU-Net up to 2.5 wrote them."""

    def edit(workspace: Path, dataset: str) -> None:
        folder = place(workspace, dataset, f"preprocessed/{DATA}")
        for path in sorted(folder.glob("*.pkl")):
            shape = _shape((folder / f"{path.stem}.b2nd").read_bytes())
            for ending in MEMBERS[:2]:
                (folder / f"{path.stem}{ending}").unlink()
            with zipfile.ZipFile(folder / f"{path.stem}.npz", "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("data.npy", _npy("<f4", 4, shape))
                archive.writestr("seg.npy", _npy("<i2", 2, (1, *shape[1:])))

    return edit


def _shape(head: bytes) -> tuple[int, ...]:
    """Of an array of four axes, from the metalayer of its Blosc2 frame."""
    start = head.index(b"\x97\x00\x04\x94") + 4
    return tuple(struct.unpack_from(">q", head, start + 9 * axis + 1)[0] for axis in range(4))


def _npy(dtype: str, size: int, shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    values = size
    for extent in shape:
        values *= extent
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(values)


def change_splits(fold: int, side: str, cases: list[str]) -> Edit:
    """One list of one fold becomes ``cases``."""
    return put(SPLITS, f"/{fold}/{side}", cases)


def without_case(case: str) -> Edit:
    """The splits as they would be without a case."""

    def edit(workspace: Path, dataset: str) -> None:
        path = place(workspace, dataset, SPLITS)
        folds = json.loads(path.read_text())
        kept = [{side: [one for one in fold[side] if one != case] or ["fine_000"] for side in fold} for fold in folds]
        path.write_text(json.dumps(kept))

    return edit


def finding(code: str, file: str = PLANS, pointer: str = OF_DATA) -> frozenset[tuple[str, str, str]]:
    return frozenset({(code, file, pointer)})


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "configuration-without-data",
        CT,
        (preprocessed(FLAT),),
        finding("PG504"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "case-not-preprocessed",
        CT,
        both(*(remove(f"preprocessed/{DATA}/fine_004{ending}") for ending in MEMBERS)),
        finding("PG505") | finding("PG514", SPLITS, ""),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "half-written-array",
        CT,
        both(cut(f"preprocessed/{DATA}/fine_003.b2nd", 4096)),
        finding("PG506"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "properties-missing",
        CT,
        both(remove(f"preprocessed/{DATA}/fine_003.pkl")),
        finding("PG506"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "spacing-edited-after-preprocessing",
        CT,
        both(remove(RESENC), put(PLANS, "/configurations/3d_fullres/spacing", [1.0, 1.2, 1.2])),
        finding("PG507"),
        twin=both(remove(RESENC), put(PLANS, "/configurations/3d_fullres/patch_size", [40, 64, 64])),
        options=ONLY,
    ),
    Variant(
        "label-added-after-preprocessing",
        CT,
        both(*(put(f"{root}/dataset.json", "/labels/tumour", 2) for root in ("raw", "preprocessed"))),
        finding("PG509"),
        twin=both(*(put(f"{root}/dataset.json", "/description", "ours") for root in ("raw", "preprocessed"))),
        options=ONLY,
    ),
    Variant(
        "labels-for-validation-missing",
        CT,
        both(remove(f"{GT}/fine_002.nii.gz")),
        finding("PG510", GT, ""),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "notes-among-the-arrays",
        CT,
        both(append(f"preprocessed/{DATA}/notes.txt")),
        finding("PG511"),
        twin=both(append("preprocessed/notes.txt")),
        options=ONLY,
    ),
    Variant(
        "labels-corrected-after-preprocessing",
        CT,
        both(touch("raw/labelsTr/fine_001.nii.gz", 60)),
        finding("PG512"),
        twin=both(touch("raw/labelsTr/fine_001.nii.gz", -3600)),
        options=ONLY,
    ),
    Variant(
        "other-labels-for-validation",
        CT,
        both(append(f"{GT}/fine_001.nii.gz")),
        finding("PG513", GT, ""),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "stranger-in-the-splits",
        CT,
        both(put(SPLITS, "/0/train/-", "fine_777")),
        finding("PG514", SPLITS, ""),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "case-in-no-fold",
        CT,
        both(without_case("fine_003")),
        finding("PG515", SPLITS, "") | finding("PG516", SPLITS, "/2"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "fold-trains-on-what-it-validates",
        CT,
        both(change_splits(1, "val", ["fine_000", "fine_001"])),
        finding("PG516", SPLITS, "/1"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "fold-without-validation",
        CT,
        both(change_splits(1, "val", [])),
        finding("PG516", SPLITS, "/1"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "arrays-of-two-channels",
        CT,
        (preprocessed(DATA, of="Dataset003_TwoChannelMR"),),
        finding("PG507") | finding("PG508"),
        twin=both(),
        options=ONLY,
    ),
    Variant(
        "read-by-another-reader",
        CT,
        both(remove(RESENC), put(PLANS, "/image_reader_writer", "NibabelIO")),
        finding("PG525"),
        twin=both(remove(RESENC)),
        options=ONLY,
    ),
    Variant(
        "data-identifier-is-the-dataset-itself",
        CT,
        (put(PLANS, OF_DATA, "."),),
        finding("PG526"),
        twin=(put(PLANS, OF_DATA, "nnUNetPlans_3d_fullres.v2"),),
        options=ONLY,
    ),
    Variant(
        "data-identifier-is-a-file",
        CT,
        (put(PLANS, OF_DATA, "dataset.json"),),
        finding("PG526"),
        twin=(put(PLANS, OF_DATA, "dataset"),),
        options=ONLY,
    ),
    Variant(
        "nothing-to-predict-for",
        CT,
        (preprocessed("nnUNetPlans_3d_lowres"), *STAGES),
        finding("PG517", PLANS, "/configurations/3d_lowres/next_stage"),
        twin=both(preprocessed("nnUNetPlans_3d_lowres"), *STAGES),
        options=("-p", "nnUNetPlans", "-c", "3d_lowres"),
    ),
    Variant(
        "predictions-of-the-first-stage-deleted",
        CT,
        both(*STAGES, trained("3d_lowres", *CASES[:3])),
        finding("PG518", PLANS, "/configurations/3d_cascade_fullres/previous_stage"),
        twin=both(*STAGES, trained("3d_lowres", *CASES)),
        options=("-p", "nnUNetPlans", "-c", "3d_cascade_fullres"),
    ),
    Variant(
        "first-stage-not-trained",
        CT,
        both(*STAGES),
        finding("PG518", PLANS, "/configurations/3d_cascade_fullres/previous_stage"),
        twin=both(*STAGES, trained("3d_lowres", *CASES)),
        options=("-p", "nnUNetPlans", "-c", "3d_cascade_fullres"),
    ),
    Variant(
        "arrays-of-an-old-nnunet",
        CT,
        both(old_format()),
        finding("PG519"),
        twin=both(),
        options=ONLY,
    ),
)
