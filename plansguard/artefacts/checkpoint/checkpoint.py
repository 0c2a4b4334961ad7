"""Read a checkpoint without torch, and without executing anything in it. Values of tensors are not read here.

A .pth file of torch >= 1.6 is a zip archive: ``<root>/data.pkl`` is the pickle, ``<root>/data/<key>`` are the storages
of its tensors. Older files are five pickles, followed by the storages (``torch/serialization.py``). nnU-Net writes
checkpoints in ``nnUNetTrainer.save_checkpoint``; nnU-Net v1 in ``NetworkTrainer.save_checkpoint``, which stores the
plans in ``<name>.model.pkl`` beside the ``.model`` file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from plansguard.artefacts.checkpoint import file_types
from plansguard.artefacts.checkpoint.contents import Contents, bare_weights, understand
from plansguard.artefacts.checkpoint.pickle_reader import load
from plansguard.artefacts.checkpoint.pickle_values import BrokenPickle, Global
from plansguard.artefacts.checkpoint.safe_zip import SafeZip, is_zip, open_file, open_zip
from plansguard.artefacts.checkpoint.safetensors import read_tensors
from plansguard.artefacts.checkpoint.tensors import LEGACY_MAGIC, Storages, Tensor
from plansguard.artefacts.checkpoint.unsafe_globals import suspicious
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.core.text import counted
from plansguard.nnunet.workspace import by_completeness

__all__ = ["Checkpoint", "Tensor", "read_checkpoint", "read_checkpoints"]

MAX_PICKLE = 16 * 1024**2
"""Bytes of a data.pkl that is read whole, so that its checksum is verified; a larger one is read through a window."""
MAX_REPORTED = 5
"""Damaged storages that are reported one by one."""

_DATA = re.compile(r"([^/]*/|)data\.pkl")  # at the top, or in the folder that torch creates
_FETCH_AGAIN = "fetch the whole file again"
_NAME_ANOTHER = "name a checkpoint of nnU-Net v2, for example fold_0/checkpoint_final.pth"


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Contents):
    """The contents of one file, and what is wrong with the file."""

    path: str
    damage: tuple[str, ...] = ()
    """Why torch cannot load the whole file, one clause each: the first few, then how many more."""
    globals: tuple[Global, ...] = ()
    """All that the pickle names."""
    suspicious: tuple[Global, ...] = ()
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Of a file that is no archive: the first byte of each storage, and the one after its last, by ``Tensor.key``."""
    locations: tuple[str, ...] = ()
    """Devices from which its tensors, also the optimizer's, were saved: ``cpu``, ``cuda:0``."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter name -> shape."""
        return {name: tensor.shape for name, tensor in self.parameters.items()}

    @property
    def danger(self) -> str:
        """Why loading the file is dangerous, as one clause; empty where it names nothing suspicious."""
        named = ", ".join(map(str, self.suspicious[:3]))
        return f"loading it would run code: it names {named[:200]}" if named else ""

    @property
    def trainer_of_steps(self) -> str | None:
        """The step trainer's name, even if ``trainer`` is its base class for portability; None for other trainings."""
        name = (self.steps or {}).get("trainer")
        return name if isinstance(name, str) else None

    @property
    def step(self) -> int | None:
        """Steps that the step trainer had done; None for other trainings."""
        step = (self.steps or {}).get("step")
        return step if type(step) is int else None

    @property
    def adapted_from(self) -> str | None:
        """The file of weights that ``plansguard adapt`` made these of, by their record; None for other weights."""
        source = (self.adaptation or {}).get("from")
        path = source.get("path") if isinstance(source, dict) else None
        return path if isinstance(path, str) else None

    @property
    def adapted_to(self) -> str | None:
        """The configuration that ``plansguard adapt`` made the weights for, by their record; None for other weights."""
        target = (self.adaptation or {}).get("to")
        name = target.get("configuration") if isinstance(target, dict) else None
        return name if isinstance(name, str) else None

    @property
    def on_cuda(self) -> bool:
        """Whether nnU-Net cannot load it as pretrained weights without a GPU: it passes no map_location."""
        return any(location.startswith("cuda") for location in self.locations)


def read_checkpoint(path: str | Path, stream: BinaryIO | None = None) -> Checkpoint:
    """Read a checkpoint, without its weights and without executing anything in it.

    With ``stream``, it is read from this open file, and ``path`` is only its name in messages.

    UnreadableDocument for a file that cannot be opened, is cut short, or is no checkpoint. The pickle of a v1
    ``.model`` is read from the same folder; an unpacked checkpoint may be named by its folder or its data.pkl.
    """
    path = Path(path)
    if stream is not None:
        return _CheckpointReader(path).read(stream)
    if disk.is_folder(path):
        return _read_folder(path)
    with open_file(path, _NAME_ANOTHER) as opened:
        return _CheckpointReader(path, with_neighbours=True).read(opened)


def read_checkpoints(paths: Iterable[Path]) -> tuple[Checkpoint | UnreadableDocument, ...]:
    """Read these files, in their order; one that cannot be read is replaced by its error."""
    read: list[Checkpoint | UnreadableDocument] = []
    for path in paths:
        try:
            read.append(read_checkpoint(path))
        except UnreadableDocument as error:
            read.append(error)
    return tuple(read)


def _read_folder(folder: Path) -> Checkpoint:
    """Read a checkpoint that a file manager or a browser unpacked, because a .pth is a zip archive."""
    pickles = [path for path in (folder / "data.pkl", *disk.matching(folder, "*/data.pkl")) if disk.is_file(path)]
    if not pickles:
        inside = [path.relative_to(folder).as_posix() for path in disk.matching(folder, "fold_*/checkpoint_*.pth")]
        hint = f"name a checkpoint in it, for example {min(inside, key=by_completeness)}" if inside else _NAME_ANOTHER
        raise UnreadableDocument(str(folder), "this is a folder", hint=hint)
    with open_file(pickles[0], _NAME_ANOTHER) as stream:
        return _CheckpointReader(folder).read_unpacked(stream, pickles[0].parent / "data")


class _CheckpointReader:
    """One file while it is read; ``with_neighbours`` also the pickles beside it."""

    def __init__(self, path: Path, *, with_neighbours: bool = False) -> None:
        self.path = str(path)
        self.with_neighbours = with_neighbours
        self.storages = Storages()
        self.damage: list[str] = []
        self.named: dict[Global, None] = {}  # in the order of the file

    def read(self, stream: BinaryIO) -> Checkpoint:
        try:
            head = stream.read(file_types.HEAD)
            stream.seek(0)
        except (OSError, ValueError) as error:
            raise UnreadableDocument(self.path, f"the file cannot be read: {error}", hint="check the path") from error
        if not head:
            raise UnreadableDocument(self.path, "the file is empty", hint=_FETCH_AGAIN)
        if is_zip(head):
            with open_zip(stream, self.path) as archive:
                return self.read_zip(archive)
        return self.read_pickles(stream, head)

    # --- The containers

    def read_zip(self, archive: SafeZip) -> Checkpoint:
        """Read a file of torch >= 1.6, or refuse another zip archive."""
        roots = [match[1] for name in archive.names if (match := _DATA.fullmatch(name))]
        if f"{archive.root}/constants.pkl" in archive:  # as torch recognises TorchScript
            bundle = any(name.endswith("/extra/metadata.json") for name in archive.names)
            what = "a MONAI bundle as a TorchScript program" if bundle else "a TorchScript program"
            sentence = f"This is {what}, made for inference; nnU-Net cannot load it."
            return self.checkpoint(Contents(kind="monai" if bundle else "foreign", sentence=sentence))
        if not roots and any(name.endswith("configs/metadata.json") for name in archive.names):
            sentence = "This is a MONAI bundle, whose weights are in models/; nnU-Net cannot load it."
            return self.checkpoint(Contents(kind="monai", sentence=sentence))
        if len(roots) != 1:
            raise self._no_checkpoint(archive)
        if roots[0] != f"{archive.root}/":
            where = "not in the folder of the archive's first file" if roots[0] else "in no folder of the archive"
            self.damage.append(f"its data.pkl is {where}, so torch cannot load it")
        name = roots[0] + "data.pkl"
        if archive.size(name) <= MAX_PICKLE:
            value = self.load(io.BytesIO(archive.read(name, MAX_PICKLE)), "its data.pkl")
        else:
            with archive.open(name) as stream:
                value = self.load(stream, "its data.pkl")

        def size(key: str) -> int | None:
            entry = f"{roots[0]}data/{key}"
            return archive.size(entry) if entry in archive else None

        self.damage.extend(_first(self.storages.damage(size)))
        return self.judge(value)

    def _no_checkpoint(self, archive: SafeZip) -> UnreadableDocument:
        inside = [name for name in archive.names if name.endswith((".pth", ".pt", ".model"))]
        if inside:
            reason = f"this is a zip archive with {counted(len(inside), 'checkpoint')} in it, and no checkpoint itself"
            return UnreadableDocument(
                self.path, reason, hint=f"unpack it and name one, for example {min(inside, key=by_completeness)[:200]}"
            )
        reason = "this is a zip archive without a data.pkl, and no checkpoint"
        return UnreadableDocument(self.path, reason, hint=_NAME_ANOTHER)

    def read_pickles(self, stream: BinaryIO, head: bytes) -> Checkpoint:
        """Read a file of torch < 1.6, a data.pkl without its archive, or any other pickle."""
        try:
            first = self.load_or_raise(stream)
        except BrokenPickle as error:
            # Not before: torch unpickles a file whatever its first bytes are.
            other = file_types.recognise(head)
            is_plain = file_types.is_safetensors(head)
            if suspicious(self.named) or (other is None and not is_plain and head[:1] == b"\x80"):
                raise _broken(self.path, "the file", error, self.named) from error
            if is_plain:
                return self.read_safetensors(stream)
            if other is not None:
                reason = f"this is {other.what}, and no checkpoint"
                raise UnreadableDocument(self.path, reason, hint=other.hint) from error
            reason = f"this is no checkpoint: {file_types.unknown(head)}"
            raise UnreadableDocument(self.path, reason, hint=_NAME_ANOTHER) from error
        if first == LEGACY_MAGIC:
            return self.read_legacy(stream)
        if self.storages.sizes:
            self.damage.append("it is the data.pkl of a checkpoint without the rest, so torch cannot load it")
        return self.judge(first)

    def read_safetensors(self, stream: BinaryIO) -> Checkpoint:
        """Read a file of the format without pickles."""
        stream.seek(0)
        try:
            stored = read_tensors(stream)
        except ValueError as error:
            reason = f"this is no whole safetensors file: {error}"
            raise UnreadableDocument(self.path, reason, hint=_FETCH_AGAIN) from error
        self.damage.extend(filter(None, [stored.damage]))
        checkpoint = self.checkpoint(bare_weights(stored.tensors, "in a safetensors file"))
        return replace(checkpoint, places=stored.places)

    def read_legacy(self, stream: BinaryIO) -> Checkpoint:
        """Read what follows the magic number: version, machine, the object, the keys of the storages, the storages."""
        for part in ("its version", "its header"):
            self.load(stream, part)
        value = self.load(stream, "the file")
        try:
            keys = self.load_or_raise(stream)
        except BrokenPickle as error:
            self.damage.append(f"its list of storages cannot be read: {error}")
        else:
            self.damage.extend(_first(self.storages.legacy_damage(stream, keys)))
        return self.judge(value)

    def read_unpacked(self, stream: BinaryIO, folder: Path) -> Checkpoint:
        """Read a data.pkl and the folder with the storages."""
        value = self.load(stream, "its data.pkl")
        self.damage.append("it was unpacked, so torch cannot load it: pack it again, or fetch the file again")

        def size(key: str) -> int | None:
            file = folder / key
            return disk.size(file) if key.isalnum() and disk.is_file(file) else None

        self.damage.extend(_first(self.storages.damage(size)))
        return self.judge(value)

    def load(self, stream: BinaryIO, what: str) -> Any:
        """Read the next pickle; ``what`` names it in messages."""
        try:
            return self.load_or_raise(stream)
        except BrokenPickle as error:
            raise _broken(self.path, what, error, self.named) from error

    def load_or_raise(self, stream: BinaryIO) -> Any:
        try:
            loaded = load(stream, persistent=self.storages.persistent, known=self.storages.builders)
        except BrokenPickle as error:
            self.named.update(dict.fromkeys(error.globals))
            raise
        self.named.update(dict.fromkeys(loaded.globals))
        return loaded.value

    # --- The result

    def judge(self, value: Any) -> Checkpoint:
        """Return the checkpoint in this value."""
        try:
            return self.checkpoint(understand(value, self.pickle_beside))
        except BrokenPickle as error:
            raise _broken(self.path, "it", error, self.named) from error

    def checkpoint(self, contents: Contents) -> Checkpoint:
        return Checkpoint(
            **vars(contents),
            path=self.path,
            damage=tuple(self.damage),
            globals=tuple(self.named),
            suspicious=suspicious(self.named),
            locations=tuple(self.storages.locations),
            places=self.storages.places,
        )

    def pickle_beside(self, suffix: str) -> Any:
        """Read the pickle in the file whose name has this suffix added; None when there is no such file."""
        neighbour = Path(self.path + suffix)
        if not self.with_neighbours or not disk.is_file(neighbour):
            return None
        with open_file(neighbour, _NAME_ANOTHER) as stream:
            try:
                loaded = load(stream)
            except BrokenPickle as error:
                raise _broken(str(neighbour), "it", error, error.globals) from error
        self.named.update(dict.fromkeys(loaded.globals))
        return loaded.value


def _first(faults: Iterator[str]) -> Iterator[str]:
    """Limit the faults to the first few and the number of the others."""
    yield from islice(faults, MAX_REPORTED)
    more = sum(1 for _ in faults)
    if more:
        yield f"and {more} more of the same kind"


def _broken(path: str, what: str, error: BrokenPickle, named: Iterable[Global]) -> UnreadableDocument:
    """Turn an error of the pickle reader into one of the file; a broken pickle can run code before it breaks off."""
    reason, hint = f"{what} cannot be read: {error}", _FETCH_AGAIN
    if dangerous := suspicious(named):
        names = ", ".join(map(str, dangerous[:3]))
        reason, hint = f"{reason}; it names {names[:200]}", "do not load it: it could run a command"
    return UnreadableDocument(path, reason, hint=hint)
