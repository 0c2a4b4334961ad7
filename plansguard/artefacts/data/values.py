"""The values of preprocessed arrays, and the geometry of raw images. Needs the extra ``data``.

Arrays are (C, z, y, x) after transposing, cropping and resampling; segmentations (1, z, y, x), -1 outside the mask. A
piece is in memory at a time. Nothing else in plansguard imports numpy, Blosc2 or SimpleITK.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from math import inf, prod
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.artefacts.data.array_headers import ArrayHeader, BrokenArray, read_header, read_members
from plansguard.artefacts.data.blosc2_frames import check_frame
from plansguard.artefacts.data.expectation import CaseFault, Expectation
from plansguard.artefacts.data.normalization import MASKABLE, NOTHING, QUIET, Channel, Evidence, Sums, judge_channels
from plansguard.core.text import counted
from plansguard.nnunet.constants import CERTAIN_READERS

#: Values that are read at once, as far as the file allows.
PIECE = 1 << 20
#: So many values are summed in float32, and their sums in float64. Short enough for BLAS not to start threads, which
#: would fight with those of other cases.
ROW = 8192
#: Longer claims than these are believed only of a file that is not that much shorter: the emptiest segmentation packs
#: well, but must not take minutes to unpack.
CLAIMED_BYTES, CLAIMED_RATIO = 1 << 33, 10_000
#: Values of a segmentation that a message names, and that are kept to be named.
NAMED, KEPT = 5, 64
#: Bytes of a member of a ``.npz`` in Fortran's order, which is in memory as a whole.
WHOLE = 1 << 28
#: Types that nnU-Net and its extensions write. Anything longer numpy would parse as a small language.
NUMBERS = re.compile(r"[<>|=]?[biuf][0-9]{0,2}")

_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

Shape = tuple[int, ...]
#: Which values of a channel: slices (z, y, x), or one slice of the flat channel.
Place = tuple[slice, ...]


class Judged(NamedTuple):
    """Faults of one case by kind, and what the case adds to the evidence of its dataset."""

    faults: list[tuple[str, CaseFault]]
    evidence: Evidence


class Measured(NamedTuple):
    """The values of one case in figures.

    ``shape`` is (z, y, x). ``strange`` are values of the segmentation that are no labels, some of them if many.
    """

    shape: Shape
    channels: tuple[Channel, ...]
    strange: tuple[float, ...]


def judge_values(folder: Path, case: str, expectation: Expectation, *, shape: Shape | None = None) -> Judged:
    """Compare the values of one case with what DefaultPreprocessor makes of any image under these plans.

    ``shape`` is the image's (z, y, x) before resampling, as its ``.pkl`` says: an image that was not resampled is
    judged more sharply. Faults are of the kinds "incomplete" (an array cannot be read), "range", "moments", "labels".
    How many channels there are, and which shape, the headers tell.
    """
    outside = [scheme in MASKABLE for scheme in expectation.schemes]
    try:
        measured = measure(folder, case, labels=expectation.labels, outside=outside)
    except BrokenArray as error:
        return Judged([("incomplete", CaseFault(case, str(error)))], Evidence())
    faults, evidence = judge_channels(measured.channels, expectation, resampled=measured.shape != shape)
    if measured.strange and expectation.labels is not None:
        faults.append(("labels", undeclared(measured.strange, expectation.labels)))
    return Judged([(kind, CaseFault(case, what)) for kind, what in faults], evidence)


def undeclared(strange: Sequence[float], labels: Collection[int]) -> str:
    """What is wrong with a segmentation that holds values which are no labels; NaN is one of them."""
    values = ", ".join(f"{value:g}" for value in strange[:NAMED]) + (", ..." if len(strange) > NAMED else "")
    gapless = labels and len(labels) == max(labels) - min(labels) + 1
    declared = f"{min(labels)} to {max(labels)}" if gapless else ", ".join(map(str, sorted(labels)))
    return f"the segmentation holds {values}, dataset.json declares {declared or 'no label'}"


# ---------------------------------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------------------------------


def measure(folder: Path, case: str, *, labels: Collection[int] | None, outside: Sequence[bool]) -> Measured:
    """Read every value of one case once.

    ``outside`` is of the channels that are measured, and says whether the voxels outside the mask count apart.
    ``labels`` are what the segmentation may hold besides -1 and 0; None if anything. Raises BrokenArray, whose text
    begins with the file's name.
    """
    import numpy as np

    with ExitStack() as opened, np.errstate(all="ignore"):
        image, segmentation = _opened(folder, case, opened)
        sums = [_Sums() for _ in outside[: image.channels]]
        strange = _Strange(labels)
        together = any(outside) and segmentation.shape == image.shape
        here, mask = None, None
        for channel, place in image.walk(len(sums)):
            if together and place != here:
                piece = segmentation.read(0, place)
                mask = piece < 0 if strange.add(piece) < 0 else None
                here = place
            sums[channel].add(image.read(channel, place), mask if outside[channel] else None)
        if not together:
            for _, place in segmentation.walk(1):
                strange.add(segmentation.read(0, place))
        return Measured(image.shape, tuple(one.channel() for one in sums), strange.values())


@dataclass
class _Sums:
    """A channel while it is read."""

    low: float = inf
    high: float = -inf
    everywhere: Sums = NOTHING
    outside: Sums = NOTHING
    quiet: int = 0

    def add(self, piece: Any, mask: Any) -> None:
        """One piece of the channel; ``mask`` is true outside."""
        import numpy as np

        values = piece.astype(np.float32, copy=False)
        self.low = float(np.minimum(self.low, values.min()))  # unlike min(), these keep NaN
        self.high = float(np.maximum(self.high, values.max()))
        self.everywhere += _summed(values.reshape(-1))
        if mask is not None:
            values = values[mask]
            self.outside += _summed(values)
            self.quiet += int(np.count_nonzero(np.abs(values) < QUIET))

    def channel(self) -> Channel:
        return Channel(self.low, self.high, self.everywhere, self.outside, self.quiet)


def _summed(values: Any) -> Sums:
    """Sums of a flat float32 array."""
    import numpy as np

    whole = values.size // ROW * ROW
    rows, rest = values[:whole].reshape(-1, 1, ROW), values[whole:]
    total = np.einsum("ijk->i", rows).sum(dtype=np.float64) + rest.sum(dtype=np.float64)
    squares = np.matmul(rows, rows.transpose(0, 2, 1)).sum(dtype=np.float64) + np.vdot(rest, rest)
    return Sums(values.size, float(total), float(squares))


class _Strange:
    """Collects values of a segmentation that are no labels."""

    def __init__(self, labels: Collection[int] | None) -> None:
        self.allowed = None if labels is None else {-1, 0, *labels}
        self.found: set[float] = set()

    def add(self, piece: Any) -> float:
        """One piece of the segmentation; gives its lowest value."""
        import numpy as np

        low, high = float(piece.min()), float(piece.max())
        allowed = self.allowed
        if allowed is None:
            return low
        within = min(allowed) <= low and high <= max(allowed)
        gapless = len(allowed) == max(allowed) - min(allowed) + 1
        if not (within and gapless and piece.dtype.kind in "iu") and len(self.found) < KEPT:
            self.found.update(value for value in np.unique(piece).tolist() if value not in allowed)
        return low

    def values(self) -> tuple[float, ...]:
        return tuple(sorted(self.found)[:KEPT])


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class _Array:
    """An array in a file. ``shape`` is (z, y, x).

    ``places`` cover one channel, ``fetch`` reads one of them. ``forward``: reading is fast only in the file's order.
    """

    name: str
    channels: int
    shape: Shape
    places: list[Place]
    fetch: Callable[[int, Place], Any]
    forward: bool = False

    def walk(self, channels: int) -> Iterator[tuple[int, Place]]:
        """Every place of the first ``channels`` channels; where it can be, channel by channel at the same place."""
        if self.forward:
            yield from product(range(channels), self.places)
        else:
            for place in self.places:
                for channel in range(channels):
                    yield channel, place

    def read(self, channel: int, place: Place) -> Any:
        with _named(self.name):
            return self.fetch(channel, place)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Whatever a library raises over a broken file becomes a BrokenArray that begins with the file's name."""
    try:
        yield
    except BrokenArray as error:
        raise BrokenArray(f"{name} {error}") from None
    except _ERRORS as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise BrokenArray(f"{name} cannot be read ({words})") from error


def _opened(folder: Path, case: str, opened: ExitStack) -> tuple[_Array, _Array]:
    """Image and segmentation of a case, in the format that its files have; ``.npy`` goes before ``.npz``.

    Source: nnUNetDatasetBlosc2 and nnUNetDatasetNumpy in training/dataloading/nnunet_dataset.py.
    """
    packed = folder / f"{case}.npz"
    if (folder / f"{case}.b2nd").exists() or not packed.exists():
        return _blosc2(folder / f"{case}.b2nd"), _blosc2(folder / f"{case}_seg.b2nd")
    image, segmentation = folder / f"{case}.npy", folder / f"{case}_seg.npy"
    return (
        _unpacked(image) if image.exists() else _packed(packed, "data", opened),
        _unpacked(segmentation) if segmentation.exists() else _packed(packed, "seg", opened),
    )


def _blosc2(path: Path) -> _Array:
    """A ``.b2nd``. Not mapped into memory: a file that ends early would end the process."""
    import blosc2

    with _named(path.name):
        header = _checked(read_header(path), path)
        check_frame(path, blosc2.decompress2)
        array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
        if tuple(array.shape) != header.shape:
            raise BrokenArray(f"says {header.shape} in one place and {tuple(array.shape)} in another")
        _, *steps = array.chunks

    def fetch(channel: int, place: Place) -> Any:
        where = (slice(channel, channel + 1), *place)
        return array[where][0]

    return _Array(path.name, header.shape[0], header.shape[1:], _tiles(header.shape[1:], steps), fetch)


def _tiles(shape: Shape, steps: Sequence[int]) -> list[Place]:
    """Places that hold whole chunks and about PIECE values; chunks far larger than that are cut."""
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


def _unpacked(path: Path) -> _Array:
    """A ``.npy``, mapped into memory, since its header and its length agree."""
    import numpy as np

    with _named(path.name):
        header = _checked(read_header(path), path)
        flat = np.load(path, mmap_mode="r", allow_pickle=False).reshape(header.shape[0], -1)
    return _Array(path.name, len(flat), header.shape[1:], _runs(header), lambda channel, place: flat[channel][place[0]])


def _packed(path: Path, member: str, opened: ExitStack) -> _Array:
    """A member of a ``.npz``, which is unpacked piece by piece; whole, where its values lie in Fortran's order."""
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
                raise BrokenArray(f"lies in Fortran's order, which is read only up to {WHOLE >> 20} MiB")
            stream.seek(0)
            flat = np.lib.format.read_array(stream, allow_pickle=False).reshape(shape[0], -1)

    def fetch(channel: int, place: Place) -> Any:
        (run,) = place
        if fortran:
            return flat[channel][run]
        stream.seek(start + (channel * voxels + run.start) * dtype.itemsize)
        length = (run.stop - run.start) * dtype.itemsize
        return np.frombuffer(stream.read(length), dtype=dtype, count=run.stop - run.start)

    return _Array(name, shape[0], tuple(shape[1:]), _runs(header), fetch, forward=True)


def _runs(header: ArrayHeader) -> list[Place]:
    """Places of a channel that is read as a flat one."""
    voxels = prod(header.shape[1:])
    return [(slice(start, min(start + PIECE, voxels)),) for start in range(0, voxels, PIECE)]


def _checked(header: ArrayHeader, path: Path) -> ArrayHeader:
    """The header, if it can be nnU-Net's and what it claims can be in a file of this length."""
    import numpy as np

    if not NUMBERS.fullmatch(header.dtype):
        raise BrokenArray(f"holds {header.dtype[:NAMED]!r}, not numbers")
    dtype = np.dtype(header.dtype)
    if len(header.shape) != 4 or 0 in header.shape:
        raise BrokenArray(f"is {header.shape}, and not of the four axes (C, z, y, x)")
    claimed = prod(header.shape) * dtype.itemsize
    if claimed > max(CLAIMED_BYTES, CLAIMED_RATIO * path.stat().st_size):
        raise BrokenArray(f"is damaged: it claims {claimed / 2**30:.0f} GiB in {counted(path.stat().st_size, 'byte')}")
    return header


# ---------------------------------------------------------------------------------------------------------------------
# Geometry of raw images
# ---------------------------------------------------------------------------------------------------------------------


def geometry(image: Path, label: Path) -> list[str]:
    """How image and label differ in size (x, y, z), spacing and origin (mm) and direction (cosines); a clause each.

    Only headers are read, with SimpleITK. Nothing is said of files that it does not read, and of kinds that nnU-Net
    takes no geometry from, such as PNG and TIFF. What nnU-Net's own check lets pass does not differ.
    Source: check_cases in experiment_planning/verify_dataset_integrity.py.
    """
    if not all(path.name.casefold().endswith(WITH_GEOMETRY) for path in (image, label)):
        return []
    one, other = _header(image), _header(label)
    if one is None or other is None:
        return []
    if one.size != other.size:
        return [f"size is {_numbers(other.size)}, the image's is {_numbers(one.size)} (x, y, z in voxels)"]
    return [
        f"{what} is {_numbers(theirs)}, the image's is {_numbers(ours)}{unit}"
        for what, ours, theirs, unit in zip(("spacing", "origin", "direction"), one[1:], other[1:], UNITS, strict=True)
        if not _close(theirs, ours)
    ]


#: Endings of files that nnU-Net takes size, spacing, origin and direction from.
WITH_GEOMETRY = tuple(ending for ending, reader in CERTAIN_READERS.items() if reader == "SimpleITKIO")
#: Of spacing, origin and direction.
UNITS = (" (x, y, z in mm)", " (x, y, z in mm)", "")


class _Header(NamedTuple):
    size: tuple[float, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]


def _header(path: Path) -> _Header | None:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    return _Header(reader.GetSize(), reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection())


def _close(theirs: Sequence[float], ours: Sequence[float]) -> bool:
    """`numpy.allclose` with its default tolerances, which nnU-Net uses; NaN is not close to anything."""
    return len(theirs) == len(ours) and all(
        abs(one - two) <= 1e-8 + 1e-5 * abs(two) for one, two in zip(theirs, ours, strict=True)
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.7g}" for value in values)
