"""Find the cases in a folder of preprocessed data, and read their headers and properties.

nnU-Net writes per case ``<case>.b2nd``, ``<case>_seg.b2nd`` and, last, ``<case>.pkl``; up to 2.5 it wrote
``<case>.npz`` and ``<case>.pkl`` and unpacked ``<case>.npy`` and ``<case>_seg.npy`` beside them. Formats and cases are
found as in training/dataloading/nnunet_dataset.py.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.artefacts.checkpoint.pickle_reader import load
from plansguard.artefacts.checkpoint.pickle_values import BrokenPickle, PickledArray
from plansguard.artefacts.data.array_headers import (
    MOST_DIMENSIONS,
    BrokenArray,
    b2nd_header,
    npy_header,
    read_head,
    read_members,
)
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument

#: The formats that nnU-Net has a class for, the newer one first.
FORMATS = ("b2nd", "npz")
#: Endings that nnU-Net ignores when it looks for the format of a folder.
_BESIDE = ("pkl", "npy")
_SEGMENTATION = "_seg.b2nd"
#: Keys under which nnU-Net's readers store what they need to write an image (imageio/).
STUFF = ("sitk_stuff", "nibabel_stuff")
#: The largest label or extent, and the most labels of a region, that are read from an untrusted file.
_LARGEST, _MOST_LABELS = 2**40, 10_000


@dataclass(frozen=True)
class DataFolder:
    """Contents of a folder of preprocessed cases.

    ``names`` are the cases that nnU-Net finds, ``orphans`` those without an image, both sorted. ``formats`` are those
    of FORMATS that occur; cases are read from the first. ``strays`` are other files, for which nnU-Net refuses the
    folder.
    """

    path: Path
    names: tuple[str, ...]
    orphans: tuple[str, ...]
    formats: tuple[str, ...]
    strays: tuple[str, ...]

    @property
    def everything(self) -> list[str]:
        """All cases, complete or not, by name."""
        return sorted((*self.names, *self.orphans))

    @property
    def format(self) -> str:
        """The format in which the cases are read."""
        return self.formats[0] if self.formats else FORMATS[0]

    @property
    def refused(self) -> bool:
        """Whether nnU-Net stops at the folder: "Found more than one file ending in the folder".

        Source: infer_dataset_class. It asks for exactly one ending besides .pkl and .npy.
        """
        return len(self.formats) != 1 or bool(self.strays)


def list_folder(path: Path) -> DataFolder:
    """List the cases and files in ``path``.

    UnreadableDocument when it is no folder, UnreadableFolder when it cannot be listed.
    """
    files: list[str] = []
    others: list[str] = []
    try:
        with disk.reading(path), os.scandir(path) as entries:
            for entry in entries:
                (files if _is_file(entry) else others).append(entry.name)
    except OSError as error:
        reason = f"the data folder {path} cannot be read: {error.strerror or error}"
        raise UnreadableDocument(str(path), reason, hint="check the path and its permissions") from None
    endings = {name.rpartition(".")[2] for name in files}
    formats = tuple(ending for ending in FORMATS if ending in endings)
    names, orphans = _cases(files + others, formats[0] if formats else FORMATS[0])
    known = (*FORMATS, *_BESIDE)
    strays = tuple(sorted(name for name in files if name.rpartition(".")[2] not in known))
    return DataFolder(path, names, orphans, formats, strays)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether this is a file or a link to one; a link to itself is not."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _cases(files: Iterable[str], array: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the cases with an image, as nnU-Net's get_identifiers lists them, and those with other files only."""
    images, rest = set(), set()
    for name in files:
        if name.endswith(".pkl"):
            rest.add(name[:-4])
        elif array == "npz":
            if name.endswith(".npz"):
                images.add(name[:-4])
        elif name.endswith(_SEGMENTATION):
            rest.add(name[: -len(_SEGMENTATION)])
        elif name.endswith(".b2nd"):
            images.add(name[:-5])
    return tuple(sorted(images)), tuple(sorted(rest - images))


class Case(NamedTuple):
    """Headers of one case's arrays, and the facts in its ``.pkl``.

    ``image`` is (C, z, y, x), ``segmentation`` (1, z, y, x), ``shape`` (z, y, x) after cropping and before resampling;
    these three are transposed by the plans' ``transpose_forward``. ``spacing`` is in mm, in the reader's axis order,
    not transposed. ``class_keys`` are the keys of ``class_locations``, None also where there is none. What could not be
    read is None, for the reasons in ``faults``, one clause each. ``stuff`` are the keys of STUFF in the ``.pkl``.
    ``changed`` is when each file was last changed, in seconds since 1970.
    """

    name: str
    image: tuple[int, ...] | None
    segmentation: tuple[int, ...] | None
    shape: tuple[int, ...] | None
    spacing: tuple[float, ...] | None
    class_keys: frozenset[Any] | None
    stuff: frozenset[str] | None
    faults: tuple[str, ...]
    changed: tuple[float, ...]


def read_case(folder: str, name: str, array: str) -> Case:
    """Read one case of ``folder``, whose arrays have the format ``array`` (one of FORMATS). It never raises."""
    faults: list[str] = []
    changed: list[float] = []
    if array == "npz":
        image, segmentation = _numpy_shapes(folder, name, changed, faults)
    else:
        image = _blosc2_shape(folder, f"{name}.b2nd", changed, faults)
        segmentation = _blosc2_shape(folder, f"{name}{_SEGMENTATION}", changed, faults)
    properties = _properties(folder, f"{name}.pkl", changed, faults)
    shape = spacing = class_keys = stuff = None
    if properties is not None:
        shape, spacing, class_keys, stuff = _facts(f"{name}.pkl", properties, faults)
    return Case(name, image, segmentation, shape, spacing, class_keys, stuff, tuple(faults), tuple(changed))


Shape = tuple[int, ...]


def _blosc2_shape(folder: str, name: str, changed: list[float], faults: list[str]) -> Shape | None:
    """Read the shape in a ``.b2nd``; None, and a fault, where it cannot be read."""
    path = f"{folder}{os.sep}{name}"
    try:
        head, size, when = read_head(path)
        changed.append(when)
        return b2nd_header(head, size, path).shape
    except BrokenArray as error:
        faults.append(f"{name} {error}")
        return None


def _numpy_shapes(folder: str, case: str, changed: list[float], faults: list[str]) -> tuple[Shape | None, Shape | None]:
    """Read the shapes of image and segmentation as nnU-Net does: from ``.npy`` if there is one, else from ``.npz``."""
    packed: dict[str, Shape] = {}
    name = f"{case}.npz"
    path = f"{folder}{os.sep}{name}"
    try:
        changed.append(read_head(path).changed)
        packed = {member: header.shape for member, header in read_members(path).items()}
        faults.extend(f"{name} contains no {member}" for member in ("data", "seg") if member not in packed)
    except BrokenArray as error:
        faults.append(f"{name} {error}")
    return (
        _unpacked(folder, f"{case}.npy", faults) or packed.get("data"),
        _unpacked(folder, f"{case}_seg.npy", faults) or packed.get("seg"),
    )


def _unpacked(folder: str, name: str, faults: list[str]) -> Shape | None:
    """Read the shape in a ``.npy``; None where there is none.

    Only an empty file is a fault: nnU-Net detects other broken ones, and unpacks the ``.npz`` again.
    """
    try:
        head, size, _ = read_head(f"{folder}{os.sep}{name}")
        if size == 0:
            faults.append(f"{name} is empty (0 bytes): delete it, and nnU-Net unpacks it again")
            return None
        return npy_header(head, size).shape
    except BrokenArray:
        return None


def _properties(folder: str, name: str, changed: list[float], faults: list[str]) -> dict[Any, Any] | None:
    """Read a case's ``.pkl``; None, and a fault, where it is no dictionary."""
    try:
        with open(f"{folder}{os.sep}{name}", "rb", 0, opener=_open_file) as stream:
            status = os.fstat(stream.fileno())
            changed.append(status.st_mtime)
            if status.st_size == 0:
                faults.append(f"{name} is empty (0 bytes)")
                return None
            value = load(stream).value
    except FileNotFoundError:
        faults.append(f"{name} is missing")
    except BrokenPickle as error:
        faults.append(f"{name} cannot be read: {error}")
    except (OSError, ValueError) as error:
        faults.append(f"{name} cannot be read ({getattr(error, 'strerror', None) or error})")
    else:
        if isinstance(value, dict):
            return value
        faults.append(f"{name} is not nnU-Net's: it contains no dictionary")
    return None


def _open_file(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _facts(
    name: str, properties: dict[Any, Any], faults: list[str]
) -> tuple[Shape | None, tuple[float, ...] | None, frozenset[Any] | None, frozenset[str]]:
    """Return shape, spacing, class keys and stuff of a Case."""
    shape = _numbers(name, properties, "shape_after_cropping_and_before_resampling", faults)
    if shape is not None and not all(isinstance(extent, int) and extent > 0 for extent in shape):
        faults.append(f"{name} has {shape} as shape_after_cropping_and_before_resampling")
        shape = None
    spacing = _numbers(name, properties, "spacing", faults)
    if spacing is not None and not all(0 < mm < math.inf for mm in spacing):
        faults.append(f"{name} has {spacing} as spacing")
        spacing = None
    locations = properties.get("class_locations")
    class_keys = frozenset(map(_class_key, locations)) if isinstance(locations, dict) else None
    stuff = frozenset(key for key in STUFF if key in properties)
    return shape, spacing, class_keys, stuff


def _class_key(key: Any) -> Any:
    """Return a key of ``class_locations``; a placeholder for one that nnU-Net never writes, which can have any size."""
    labels = key if type(key) is tuple else (key,)
    valid = len(labels) <= _MOST_LABELS and all(type(label) is int and abs(label) < _LARGEST for label in labels)
    return key if valid else "what is no label"


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < _LARGEST)


def _numbers(name: str, properties: dict[Any, Any], key: str, faults: list[str]) -> tuple[Any, ...] | None:
    """Return a sequence of numbers in a case's ``.pkl``; None, and a fault, where there is none."""
    value = properties.get(key)
    if isinstance(value, PickledArray):
        value = value.values()
    if isinstance(value, (list, tuple)) and 0 < len(value) <= MOST_DIMENSIONS and all(map(_is_number, value)):
        return tuple(value)
    faults.append(f"{name} contains no numbers as {key}" if key in properties else f"{name} contains no {key}")
    return None


# --- Arrays that nnU-Net unpacks

#: Archives that are read; the others are assumed to be like them.
SAMPLED = 64
#: Length in bytes of the header of a .npy.
_HEADER = 128
_ENDINGS = {"data": ".npy", "seg": "_seg.npy"}


def bytes_to_unpack(folder: DataFolder) -> int:
    """Return the bytes of the ``.npy`` that nnU-Net has yet to unpack before a training: an estimate above 64 cases.

    0 for folders of another format. Archives that cannot be read count as empty: PG506 reports them.
    Source: unpack_dataset in training/dataloading/utils.py, which nnU-Net 2.8.1 still calls for such folders.
    """
    names = folder.names if folder.format == "npz" else ()
    sample = _sample(folder)
    return round(sum(sum(_missing(folder.path, name)) for name in sample) / len(sample) * len(names)) if sample else 0


def largest_to_unpack(folder: DataFolder) -> list[int]:
    """Return the bytes of the largest array that is yet to be unpacked, for each of up to 64 cases that have one.

    A process that unpacks has one array in memory at a time.
    """
    return [max(missing) for name in _sample(folder) if (missing := _missing(folder.path, name))]


def _sample(folder: DataFolder) -> list[str]:
    names = folder.names if folder.format == "npz" else ()
    step = max(1, len(names) / SAMPLED)
    return [names[int(index * step)] for index in range(min(len(names), SAMPLED))]


def times_of_unpacking(folder: DataFolder) -> list[float]:
    """Return when the images of cases were unpacked, in seconds since 1970: of those that are."""
    names = folder.names if folder.format == "npz" else ()
    times = (disk.modified(folder.path / f"{name}{_ENDINGS['data']}") for name in names)
    return [time for time in times if time is not None]


def _missing(folder: Path, name: str) -> list[int]:
    """The bytes of each array of a case that is not unpacked yet."""
    try:
        members = read_members(str(folder / f"{name}.npz"))
    except BrokenArray:
        return []
    return [
        _HEADER + math.prod(header.shape) * int(header.dtype[2:])
        for member, header in members.items()
        if not disk.is_there(folder / f"{name}{_ENDINGS[member]}")
    ]
