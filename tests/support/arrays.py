"""Preprocessed arrays in every format, and what plans expect of their values."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.data.array_headers import BrokenArray
from plansguard.artefacts.data.expectation import Expectation
from plansguard.artefacts.data.normalization import CT
from plansguard.artefacts.data.values import CaseMeasurements, measure
from plansguard.nnunet.intensity import ClippedRange

HU = ClippedRange(low=-900.0, high=200.0, mean=50.0, std=100.0)  # normalized: -9.5 to 1.5
SHAPE = (2, 7, 90, 110)


def expectation(
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


def npy(shape: tuple[int, ...], dtype: str = "<f4", version: int = 1, fill: int | None = None) -> bytes:
    """A .npy as numpy writes it, of zeros."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    size = math.prod(shape) * int(dtype[2:]) if fill is None else fill
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + bytes(size)


def npz(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:  # as numpy does
                member.write(content)
    return buffer.getvalue()


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


def measured_case(
    folder: Path, labels: set[int] | None = None, outside: tuple[bool, ...] = (True, True)
) -> CaseMeasurements:
    return measure(folder, "one", labels={0, 1, 2} if labels is None else labels, outside=outside)


def broken_case(folder: Path) -> str:
    with pytest.raises(BrokenArray) as caught:
        measured_case(folder)
    return str(caught.value)
