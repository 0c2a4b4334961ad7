"""Edits that give a variant's dataset preprocessed cases, with the real headers of the fixtures, and change them."""

from __future__ import annotations

import os
import shutil
import struct
import zipfile
from pathlib import Path

from tests.support.preprocessed import HEADERS, lay_out
from tests.support.variants import PLANS, Edit, place, put

CT = "Dataset002_FinetuneCT"
SPLITS = "preprocessed/splits_final.json"
GROUND_TRUTH = "preprocessed/gt_segmentations"
DATA = "nnUNetPlans_3d_fullres"
FLAT = "nnUNetPlans_2d"
DATA_IDENTIFIER = "/configurations/3d_fullres/data_identifier"
#: Endings of the files of one case.
MEMBERS = (".b2nd", "_seg.b2nd", ".pkl")
CASES = tuple(f"fine_{number:03d}" for number in range(5))
#: Options that narrow a check to the configuration with data.
ONLY = ("-p", "nnUNetPlans", "-c", "3d_fullres")
LOWRES = {
    "inherits_from": "3d_fullres",
    "data_identifier": "nnUNetPlans_3d_lowres",
    "next_stage": "3d_cascade_fullres",
}
CASCADE = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
#: The two stages of a cascade, added to the plans.
STAGES = (put(PLANS, "/configurations/3d_lowres", LOWRES), put(PLANS, "/configurations/3d_cascade_fullres", CASCADE))


def preprocessed(*identifiers: str, of: str | None = None) -> Edit:
    """Add every case to every folder named, and gt_segmentations, as nnUNetv2_preprocess does.

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
            first, second = sorted(path.stem for path in source.glob("*.pkl"))  # the fixtures hold two cases
            for number, case in enumerate(cases):
                for ending in MEMBERS:
                    array = source / f"{second if number == 1 else first}{ending}"
                    shutil.copyfile(array, folder / identifier / f"{case}{ending}")
            shutil.rmtree(source)

    return edit


def both(*edits: Edit) -> tuple[Edit, ...]:
    """Add data for both configurations, and then make these edits."""
    return (preprocessed(DATA, FLAT), *edits)


def trained(configuration: str, *predicted: str) -> Edit:
    """Add a trained model of these plans, with predictions for the cascade of the cases named."""

    def edit(workspace: Path, dataset: str) -> None:
        model = place(workspace, dataset, f"results/nnUNetTrainer__nnUNetPlans__{configuration}")
        (model / "fold_0/validation").mkdir(parents=True)
        (model / "fold_0/checkpoint_final.pth").touch()
        (model / "fold_0/validation/summary.json").touch()
        shutil.copyfile(place(workspace, dataset, PLANS), model / "plans.json")
        folder = model / "predicted_next_stage/3d_cascade_fullres"
        folder.mkdir(parents=True)
        for case in predicted:
            (folder / f"{case}.b2nd").touch()

    return edit


def append(file: str) -> Edit:
    """Add one byte to the file; a missing one is created."""

    def edit(workspace: Path, dataset: str) -> None:
        with place(workspace, dataset, file).open("ab") as stream:
            stream.write(b"\n")

    return edit


def touch(file: str, seconds: int) -> Edit:
    """Set the file's time to ``seconds`` after that of the newest array."""

    def edit(workspace: Path, dataset: str) -> None:
        arrays = place(workspace, dataset, f"preprocessed/{DATA}").iterdir()
        when = max(path.stat().st_mtime for path in arrays) + seconds
        os.utime(place(workspace, dataset, file), (when, when))

    return edit


def old_format() -> Edit:
    """Replace the arrays by those that nnU-Net up to 2.5 wrote."""

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
    """The shape of an array of four axes, from the metalayer of its Blosc2 frame."""
    start = head.index(b"\x97\x00\x04\x94") + 4
    return tuple(struct.unpack_from(">q", head, start + 9 * axis + 1)[0] for axis in range(4))


def _npy(dtype: str, size: int, shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    values = size
    for extent in shape:
        values *= extent
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(values)
