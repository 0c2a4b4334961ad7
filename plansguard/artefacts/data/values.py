"""Check the values of preprocessed arrays, and the geometry of raw images. Needs the extra ``data``.

Arrays are (C, z, y, x) after transposing, cropping and resampling; segmentations (1, z, y, x), -1 outside the mask.
Only one piece is in memory at a time.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.artefacts.data.array_headers import ArrayHeader, BrokenArray, read_header, read_members
from plansguard.artefacts.data.blosc2_frames import check_frame
from plansguard.artefacts.data.expectation import CaseFault, Expectation
from plansguard.artefacts.data.normalization import MASKABLE, QUIET, Channel, Evidence, Moments, judge_channels
from plansguard.core import disk
from plansguard.core.text import counted
from plansguard.core.unusable_packages import assert_numexpr_loads
from plansguard.nnunet.constants import CERTAIN_READERS

#: Values that are read at once, as far as the file allows.
PIECE = 1 << 20
#: So many values are summed in float32, and their sums in float64. For longer rows BLAS starts threads, which slow down
#: those of other cases.
ROW = 8192
#: An array may claim so many bytes, or so many times the length of its file: an empty segmentation is packed well, but
#: must not take minutes to unpack.
CLAIMED_BYTES, CLAIMED_RATIO = 1 << 33, 10_000
#: Values of a segmentation that a message lists, and that are kept.
NAMED, KEPT = 5, 64
#: Bytes of a member of a ``.npz`` in Fortran order, which is read into memory as a whole.
WHOLE = 1 << 28
#: Types that nnU-Net and its extensions write. numpy would parse longer ones as a list of types.
NUMBERS = re.compile(r"[<>|=]?[biuf][0-9]{0,2}")

_ERRORS = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Shape = tuple[int, ...]
#: Which values of a channel: slices (z, y, x), or one slice of the flat channel.
Place = tuple[slice, ...]


class CaseMeasurements(NamedTuple):
    """Measurements of one case.

    ``shape`` is (z, y, x). ``undeclared`` are values of the segmentation that are no labels, at most KEPT.
    """

    shape: Shape
    channels: tuple[Channel, ...]
    undeclared: tuple[float, ...]


class CaseSlice(NamedTuple):
    """The middle slice of a case along the first axis, as arrays (y, x): one channel, and the segmentation."""

    image: Any
    segmentation: Any


def judge_values(
    folder: Path, case: str, expectation: Expectation, *, shape: Shape | None = None
) -> tuple[list[tuple[str, CaseFault]], Evidence]:
    """Return the faults of one case's values by kind, and its evidence about the dataset.

    ``shape`` is the image's (z, y, x) before resampling, from its ``.pkl``: an image that was not resampled is checked
    with smaller tolerances. Kinds are "incomplete" (an array cannot be read), "range", "moments", "labels". The number
    of channels and the shape of the arrays are checked with the headers.
    """
    outside = [scheme in MASKABLE for scheme in expectation.schemes]
    try:
        measured = measure(folder, case, labels=expectation.labels, outside=outside)
    except BrokenArray as error:
        return [("incomplete", CaseFault(case, str(error)))], Evidence()
    faults, evidence = judge_channels(measured.channels, expectation, resampled=measured.shape != shape)
    if measured.undeclared and expectation.labels is not None:
        faults.append(("labels", undeclared_labels(measured.undeclared, expectation.labels)))
    return [(kind, CaseFault(case, what)) for kind, what in faults], evidence


def undeclared_labels(undeclared: Sequence[float], labels: Collection[int]) -> str:
    """Describe the values of a segmentation that are no labels, such as NaN."""
    values = ", ".join(f"{value:g}" for value in undeclared[:NAMED]) + (", ..." if len(undeclared) > NAMED else "")
    gapless = labels and len(labels) == max(labels) - min(labels) + 1
    declared = f"{min(labels)} to {max(labels)}" if gapless else ", ".join(map(str, sorted(labels)))
    return f"the segmentation holds {values}, dataset.json declares {declared or 'no label'}"


# --- Measuring


def measure(folder: Path, case: str, *, labels: Collection[int] | None, outside: Sequence[bool]) -> CaseMeasurements:
    """Read every value of one case once.

    ``outside`` is whether to measure the voxels outside the mask separately, for each channel to be measured.
    ``labels`` are the values that the segmentation may have besides -1 and 0; None for any. Raises BrokenArray, whose
    text begins with the file's name.
    """
    import numpy as np

    with ExitStack() as opened, np.errstate(all="ignore"):
        image, segmentation = _opened(folder, case, opened)
        channels = [Channel()] * min(len(outside), image.channels)
        allowed = None if labels is None else {-1, 0, *labels}
        undeclared: set[float] = set()
        together = any(outside) and segmentation.shape == image.shape
        here, mask = None, None
        for channel, place in image.walk(len(channels)):
            if together and place != here:
                piece = segmentation.read(0, place)
                mask = piece < 0 if _note_undeclared(piece, allowed, undeclared) < 0 else None
                here = place
            values = image.read(channel, place)
            channels[channel] = _measured(channels[channel], values, mask if outside[channel] else None)
        if not together:
            for _, place in segmentation.walk(1):
                _note_undeclared(segmentation.read(0, place), allowed, undeclared)
        return CaseMeasurements(image.shape, tuple(channels), tuple(sorted(undeclared)[:KEPT]))


def middle_slice(folder: Path, case: str, channel: int = 0) -> CaseSlice:
    """Read the middle slice of a case. Raises BrokenArray, whose text begins with the file's name."""
    with ExitStack() as opened:
        image, segmentation = _opened(folder, case, opened)
        if segmentation.shape != image.shape:
            raise BrokenArray(f"{segmentation.name} has the shape {segmentation.shape}, {image.name} {image.shape}")
        return CaseSlice(image.middle_slice(channel), segmentation.middle_slice(0))


def _measured(channel: Channel, piece: Any, mask: Any) -> Channel:
    """Return the measurements of a channel with one more piece; ``mask`` is true outside."""
    import numpy as np

    values = piece.astype(np.float32, copy=False)
    outside, quiet = channel.outside, channel.quiet
    if mask is not None:
        masked = values[mask]
        outside += _moments(masked)
        quiet += int(np.count_nonzero(np.abs(masked) < QUIET))
    low, high = np.minimum(channel.low, values.min()), np.maximum(channel.high, values.max())  # these keep NaN
    return Channel(float(low), float(high), channel.everywhere + _moments(values.reshape(-1)), outside, quiet)


def _moments(values: Any) -> Moments:
    """Return the moments of a flat float32 array."""
    import numpy as np

    whole = values.size // ROW * ROW
    rows, rest = values[:whole].reshape(-1, 1, ROW), values[whole:]
    total = np.einsum("ijk->i", rows).sum(dtype=np.float64) + rest.sum(dtype=np.float64)
    squares = np.matmul(rows, rows.transpose(0, 2, 1)).sum(dtype=np.float64) + np.vdot(rest, rest)
    return Moments(values.size, float(total), float(squares))


def _note_undeclared(piece: Any, allowed: set[int] | None, undeclared: set[float]) -> float:
    """Note the values in a piece of the segmentation that are not allowed, and return its lowest value."""
    import numpy as np

    low, high = float(piece.min()), float(piece.max())
    if allowed is None:
        return low
    within = min(allowed) <= low and high <= max(allowed)
    gapless = len(allowed) == max(allowed) - min(allowed) + 1
    if not (within and gapless and piece.dtype.kind in "iu") and len(undeclared) < KEPT:
        undeclared.update(value for value in np.unique(piece).tolist() if value not in allowed)
    return low


# --- Reading


@dataclass
class _ArrayReader:
    """An array in a file. ``shape`` is (z, y, x).

    ``places`` cover one channel, ``fetch`` reads one of them. ``forward`` is whether only reading in the
    order of the file is fast.
    """

    name: str
    channels: int
    shape: Shape
    places: list[Place]
    fetch: Callable[[int, Place], Any]
    forward: bool = False

    def walk(self, channels: int) -> Iterator[tuple[int, Place]]:
        """Yield every place of the first ``channels`` channels; unless ``forward``, a place in all channels first."""
        if self.forward:
            return product(range(channels), self.places)
        return ((channel, place) for place in self.places for channel in range(channels))

    def read(self, channel: int, place: Place) -> Any:
        with _named(self.name):
            return self.fetch(channel, place)

    def middle_slice(self, channel: int) -> Any:
        """Read the slice in the middle of the first axis, as an array (y, x)."""
        depth, *size = self.shape
        middle, voxels = depth // 2, prod(size)
        flat = len(self.places[0]) == 1
        box = (slice(middle, middle + 1), *(slice(0, extent) for extent in size))
        place = (slice(middle * voxels, (middle + 1) * voxels),) if flat else box
        return self.read(channel, place).reshape(size)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn what a library raises for a broken file into a BrokenArray that begins with the file's name."""
    try:
        yield
    except BrokenArray as error:
        raise BrokenArray(f"{name} {error}") from None
    except _ERRORS as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise BrokenArray(f"{name} cannot be read ({words})") from error


def _opened(folder: Path, case: str, opened: ExitStack) -> tuple[_ArrayReader, _ArrayReader]:
    """Open image and segmentation of a case, in the format of its files; ``.npy`` is preferred to ``.npz``.

    Source: nnUNetDatasetBlosc2 and nnUNetDatasetNumpy in training/dataloading/nnunet_dataset.py.
    """
    packed = folder / f"{case}.npz"
    if disk.is_there(folder / f"{case}.b2nd") or not disk.is_there(packed):
        return _blosc2(folder / f"{case}.b2nd"), _blosc2(folder / f"{case}_seg.b2nd")
    image, segmentation = folder / f"{case}.npy", folder / f"{case}_seg.npy"
    return (
        _unpacked(image) if disk.is_there(image) else _packed(packed, "data", opened),
        _unpacked(segmentation) if disk.is_there(segmentation) else _packed(packed, "seg", opened),
    )


def _blosc2(path: Path) -> _ArrayReader:
    """Open a ``.b2nd``. It is not mapped into memory: a file that ends early would end the process.

    UsageError or RuntimeError as of `assert_numexpr_loads`.
    """
    assert_numexpr_loads()
    import blosc2

    with _named(path.name):
        header = _checked(read_header(path), path)
        check_frame(path, blosc2.decompress2)
        array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
        if tuple(array.shape) != header.shape:
            raise BrokenArray(f"has the shape {header.shape} in one place and {tuple(array.shape)} in another")
        _, *steps = array.chunks

    def fetch(channel: int, place: Place) -> Any:
        where = (slice(channel, channel + 1), *place)
        return array[where][0]

    return _ArrayReader(path.name, header.shape[0], header.shape[1:], _tiles(header.shape[1:], steps), fetch)


def _tiles(shape: Shape, steps: Sequence[int]) -> list[Place]:
    """Return places of whole chunks and about PIECE values; chunks far larger than that are cut."""
    steps = list(steps)
    for axis in reversed(range(len(shape))):
        while prod(steps) <= PIECE // 2 and steps[axis] < shape[axis]:
            steps[axis] = min(2 * steps[axis], shape[axis])
    for axis in range(len(shape)):
        while prod(steps) > 32 * PIECE and steps[axis] > 1:
            steps[axis] //= 2
    cuts = [
        [slice(start, min(start + step, extent)) for start in range(0, extent, step)]
        for extent, step in zip(shape, steps, strict=True)
    ]
    return list(product(*cuts))


def _unpacked(path: Path) -> _ArrayReader:
    """Open a ``.npy``, mapped into memory; its length was checked against its header."""
    import numpy as np

    with _named(path.name):
        header = _checked(read_header(path), path)
        flat = np.load(path, mmap_mode="r", allow_pickle=False).reshape(header.shape[0], -1)

    def fetch(channel: int, place: Place) -> Any:
        return flat[channel][place[0]]

    return _ArrayReader(path.name, len(flat), header.shape[1:], _runs(header), fetch)


def _packed(path: Path, member: str, opened: ExitStack) -> _ArrayReader:
    """Open a member of a ``.npz``, to be unpacked piece by piece; in Fortran order as a whole."""
    import numpy as np

    name = f"{path.name} ({member})"
    with _named(name):
        header = read_members(str(path)).get(member)
        if header is None:
            raise BrokenArray("is missing")
        _checked(header, path)
        stream = opened.enter_context(opened.enter_context(zipfile.ZipFile(path)).open(f"{member}.npy"))
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        start, voxels = stream.tell(), prod(shape[1:])
        if fortran:
            if prod(shape) * dtype.itemsize > WHOLE:
                raise BrokenArray(f"is in Fortran's order, which is read only up to {WHOLE >> 20} MiB")
            stream.seek(0)
            flat = np.lib.format.read_array(stream, allow_pickle=False).reshape(shape[0], -1)

    def fetch(channel: int, place: Place) -> Any:
        (run,) = place
        if fortran:
            return flat[channel][run]
        stream.seek(start + (channel * voxels + run.start) * dtype.itemsize)
        length = (run.stop - run.start) * dtype.itemsize
        return np.frombuffer(stream.read(length), dtype=dtype, count=run.stop - run.start)

    return _ArrayReader(name, shape[0], tuple(shape[1:]), _runs(header), fetch, forward=True)


def _runs(header: ArrayHeader) -> list[Place]:
    """Return places of a flat channel."""
    voxels = prod(header.shape[1:])
    return [(slice(start, min(start + PIECE, voxels)),) for start in range(0, voxels, PIECE)]


def _checked(header: ArrayHeader, path: Path) -> ArrayHeader:
    """Return the header, if nnU-Net can have written it and the array can be in a file of this length."""
    import numpy as np

    if not NUMBERS.fullmatch(header.dtype):
        raise BrokenArray(f"holds {header.dtype[:NAMED]!r}, not numbers")
    dtype = np.dtype(header.dtype)
    if len(header.shape) != 4 or 0 in header.shape:
        raise BrokenArray(f"is {header.shape}, and not of the four axes (C, z, y, x)")
    claimed = prod(header.shape) * dtype.itemsize
    size = disk.size(path) or 0
    if claimed > max(CLAIMED_BYTES, CLAIMED_RATIO * size):
        raise BrokenArray(f"is damaged: it claims {claimed / 2**30:.0f} GiB in {counted(size, 'byte')}")
    return header


# --- Geometry of raw images


def geometry(image: Path, label: Path) -> list[str]:
    """Describe how image and label differ in size (x, y, z), spacing and origin (mm) and direction (cosines).

    Only headers are read, with SimpleITK. Files that it cannot read do not differ, nor do kinds of files from which
    nnU-Net takes no geometry, such as PNG and TIFF. The tolerances are those of nnU-Net's own check.
    Source: check_cases in experiment_planning/verify_dataset_integrity.py.
    """
    if not all(path.name.casefold().endswith(WITH_GEOMETRY) for path in (image, label)):
        return []
    expected, actual = _geometry(image), _geometry(label)
    if expected is None or actual is None:
        return []
    if expected["size"] != actual["size"]:
        return [f"size is {_numbers(actual['size'])}, the image's is {_numbers(expected['size'])} (x, y, z in voxels)"]
    return [
        f"{what} is {_numbers(own)}, the image's is {_numbers(expected[what])}"
        + ("" if what == "direction" else " (x, y, z in mm)")
        for what, own in actual.items()
        if not _close(own, expected[what])
    ]


#: Endings of files that nnU-Net takes size, spacing, origin and direction from.
WITH_GEOMETRY = tuple(ending for ending, reader in CERTAIN_READERS.items() if reader == "SimpleITKIO")


def _geometry(path: Path) -> dict[str, tuple[float, ...]] | None:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    return {what: getattr(reader, f"Get{what.title()}")() for what in ("size", "spacing", "origin", "direction")}


def _close(actual: Sequence[float], expected: Sequence[float]) -> bool:
    """As `numpy.allclose` with its default tolerances, which nnU-Net uses; NaN is not close to anything."""
    return len(actual) == len(expected) and all(
        abs(value - other) <= 1e-8 + 1e-5 * abs(other) for value, other in zip(actual, expected, strict=True)
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.7g}" for value in values)
