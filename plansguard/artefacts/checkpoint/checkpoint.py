"""What a checkpoint says of itself, read without torch and without trust. Tensors are never read, only described.

A .pth file of torch >= 1.6 is a zip archive: ``<root>/data.pkl`` is the pickle, ``<root>/data/<key>`` the storages that
its tensors live in. Before, it was five pickles one after the other with the storages behind them
(``torch/serialization.py``). What nnU-Net puts in: ``nnUNetTrainer.save_checkpoint``; nnU-Net v1:
``NetworkTrainer.save_checkpoint``, which leaves the plans in ``<name>.model.pkl`` beside the ``.model`` file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from plansguard.artefacts.checkpoint import file_types
from plansguard.artefacts.checkpoint.contents import Contents, understand
from plansguard.artefacts.checkpoint.pickle_reader import LoadedPickle, load
from plansguard.artefacts.checkpoint.pickle_values import BrokenPickle, Global
from plansguard.artefacts.checkpoint.safe_zip import SafeZip, is_zip, open_file, open_zip
from plansguard.artefacts.checkpoint.tensors import LEGACY_MAGIC, Storages, Tensor
from plansguard.artefacts.checkpoint.unsafe_globals import suspicious
from plansguard.core.errors import UnreadableDocument
from plansguard.core.text import counted

__all__ = ["Checkpoint", "Tensor", "read_checkpoint", "read_checkpoints"]

MAX_PICKLE = 16 * 1024**2
"""Bytes of a data.pkl that is read whole, so that its checksum is looked at; a larger one is read through a window."""
TOLD = 5
"""Damaged storages that are told one by one."""

_FETCH_AGAIN = "fetch the whole file again"
_NAME_ANOTHER = "name a checkpoint of nnU-Net v2, for example fold_0/checkpoint_final.pth"


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Contents):
    """What one file says, and what is wrong with the file."""

    path: str
    damage: tuple[str, ...] = ()
    """Why torch cannot load this file, or not whole, one clause each: the first few, then how many more."""
    globals: tuple[Global, ...] = ()
    """All that the pickle names, whether we know it or not."""
    suspicious: tuple[Global, ...] = ()
    locations: tuple[str, ...] = ()
    """Where its tensors were saved from, those of the optimizer among them: ``cpu``, ``cuda:0``."""

    @property
    def danger(self) -> str:
        """What loading it would do that no checkpoint needs, as one clause; empty where it would do nothing else."""
        named = ", ".join(str(one) for one in self.suspicious[:3])
        return f"loading it would run code: it names {named[:200]}" if named else ""

    @property
    def trainer_of_steps(self) -> str | None:
        """The trainer of a number of steps, which a portable checkpoint calls by its base; None for other trainings."""
        name = (self.steps or {}).get("trainer")
        return name if isinstance(name, str) else None

    @property
    def step(self) -> int | None:
        """How many steps such a trainer had made; None for other trainings."""
        step = (self.steps or {}).get("step")
        return step if type(step) is int else None

    @property
    def on_cuda(self) -> bool:
        """Whether a machine without a GPU cannot load it as pretrained weights: nnU-Net gives no map_location."""
        return any(location.startswith("cuda") for location in self.locations)


def read_checkpoint(path: Path, stream: BinaryIO | None = None) -> Checkpoint:
    """What this checkpoint says; with ``stream``, of the file that is open there, and ``path`` only names it.

    UnreadableDocument for what cannot be opened, is cut short, or is no checkpoint at all. The pickle of a v1
    ``.model`` is looked for beside it; a checkpoint that someone unpacked may be named by its folder or its data.pkl.
    """
    if stream is not None:
        return _Reader(path).read(stream)
    if path.is_dir():
        return _read_folder(path)
    with open_file(path, _NAME_ANOTHER) as opened:
        return _Reader(path, lambda suffix: _beside(path, suffix)).read(opened)


def read_checkpoints(paths: Iterable[Path]) -> tuple[Checkpoint | UnreadableDocument, ...]:
    """Read these files, in their order; one that cannot be read is replaced by its error."""
    read: list[Checkpoint | UnreadableDocument] = []
    for path in paths:
        try:
            read.append(read_checkpoint(path))
        except UnreadableDocument as error:
            read.append(error)
    return tuple(read)


def _beside(path: Path, suffix: str) -> LoadedPickle | None:
    """The pickle in the file of this name and one more suffix; None when there is no such file."""
    neighbour = path.with_name(path.name + suffix)
    if not neighbour.is_file():
        return None
    with open_file(neighbour, _NAME_ANOTHER) as stream:
        try:
            return load(stream)
        except BrokenPickle as error:
            raise _broken(str(neighbour), "it", error, error.globals) from error


def _read_folder(folder: Path) -> Checkpoint:
    """A checkpoint that was unpacked: a file manager or a browser took the .pth for the zip archive that it is."""
    pickles = [found for found in (folder / "data.pkl", *sorted(folder.glob("*/data.pkl"))) if found.is_file()]
    if not pickles:
        found = sorted(path.relative_to(folder).as_posix() for path in folder.glob("fold_*/checkpoint_*.pth"))
        hint = f"name a checkpoint in it, for example {found[0]}" if found else _NAME_ANOTHER
        raise UnreadableDocument(str(folder), "this is a folder", hint=hint)
    reader = _Reader(folder)
    with open_file(pickles[0], _NAME_ANOTHER) as stream:
        return reader.read_unpacked(stream, pickles[0].parent / "data")


class _Reader:
    """One file on its way to a Checkpoint."""

    def __init__(self, path: Path, beside: Callable[[str], LoadedPickle | None] = lambda _: None) -> None:
        self.path = str(path)
        self.beside = beside
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
        """A file of torch >= 1.6, or another zip archive."""
        roots = [name[: -len("data.pkl")] for name in archive.names if _is_data(name)]
        if any(name.endswith("/constants.pkl") for name in archive.names):  # by this torch knows one, too
            bundle = any(name.endswith("/extra/metadata.json") for name in archive.names)
            what = "a MONAI bundle as a TorchScript program" if bundle else "a TorchScript program"
            sentence = f"This is {what}, made for inference; nnU-Net cannot load it."
            return self.checkpoint(Contents(kind="monai" if bundle else "foreign", sentence=sentence))
        if not roots and any(name.endswith("configs/metadata.json") for name in archive.names):
            sentence = "This is a MONAI bundle, whose weights lie in models/; nnU-Net cannot load it."
            return self.checkpoint(Contents(kind="monai", sentence=sentence))
        if len(roots) != 1:
            raise self._no_checkpoint(archive)
        if not roots[0]:
            self.damage.append("its data.pkl lies in no folder of the archive, so torch cannot load it")
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
            return UnreadableDocument(self.path, reason, hint=f"unpack it and name one, for example {inside[0][:200]}")
        reason = "this is a zip archive without a data.pkl, and no checkpoint"
        return UnreadableDocument(self.path, reason, hint=_NAME_ANOTHER)

    def read_pickles(self, stream: BinaryIO, head: bytes) -> Checkpoint:
        """A file of torch < 1.6, a data.pkl without its archive, or any other pickle."""
        try:
            first = self.load_or_raise(stream)
        except BrokenPickle as error:
            # Only now: whatever else a file looks like, torch takes it for a pickle too.
            stranger = file_types.recognise(head)
            if suspicious(self.named) or (stranger is None and head[:1] == b"\x80"):
                raise self.broken("the file", error) from error
            if stranger is not None:
                reason = f"this is {stranger.what}, and no checkpoint"
                raise UnreadableDocument(self.path, reason, hint=stranger.hint) from error
            reason = f"this is no checkpoint: {file_types.unknown(head)}"
            raise UnreadableDocument(self.path, reason, hint=_NAME_ANOTHER) from error
        if first == LEGACY_MAGIC:
            return self.read_legacy(stream)
        if self.storages.sizes:
            self.damage.append("it is the data.pkl of a checkpoint without the rest, so torch cannot load it")
        return self.judge(first)

    def read_legacy(self, stream: BinaryIO) -> Checkpoint:
        """What follows the magic number: version, machine, the object, the storages' keys, the storages."""
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
        """A data.pkl and the folder with the storages."""
        value = self.load(stream, "its data.pkl")
        self.damage.append("it was unpacked, so torch cannot load it: pack it again, or fetch the file again")

        def size(key: str) -> int | None:
            found = folder / key
            return found.stat().st_size if key.isalnum() and found.is_file() else None

        self.damage.extend(_first(self.storages.damage(size)))
        return self.judge(value)

    def load(self, stream: BinaryIO, what: str) -> Any:
        """The next pickle's value."""
        try:
            return self.load_or_raise(stream)
        except BrokenPickle as error:
            raise self.broken(what, error) from error

    def load_or_raise(self, stream: BinaryIO) -> Any:
        try:
            loaded = load(stream, persistent=self.storages.persistent, known=self.storages.builders)
        except BrokenPickle as error:
            self.named.update(dict.fromkeys(error.globals))
            raise
        self.named.update(dict.fromkeys(loaded.globals))
        return loaded.value

    def broken(self, what: str, error: BrokenPickle) -> UnreadableDocument:
        return _broken(self.path, what, error, tuple(self.named))

    # --- What it says

    def judge(self, value: Any) -> Checkpoint:
        """The checkpoint in this value."""
        try:
            return self.checkpoint(understand(value, self.pickle_beside))
        except BrokenPickle as error:
            raise self.broken("it", error) from error

    def checkpoint(self, contents: Contents) -> Checkpoint:
        return Checkpoint(
            **vars(contents),
            path=self.path,
            damage=tuple(self.damage),
            globals=tuple(self.named),
            suspicious=suspicious(self.named),
            locations=tuple(self.storages.locations),
        )

    def pickle_beside(self, suffix: str) -> Any:
        loaded = self.beside(suffix)
        if loaded is None:
            return None
        self.named.update(dict.fromkeys(loaded.globals))
        return loaded.value


def _is_data(name: str) -> bool:
    """``data.pkl`` at the top, or in the one folder that torch makes."""
    folder, _, file = name.rpartition("/")
    return file == "data.pkl" and "/" not in folder


def _first(faults: Iterator[str]) -> Iterator[str]:
    """The first few, then how many more."""
    yield from islice(faults, TOLD)
    more = sum(1 for _ in faults)
    if more:
        yield f"and {more} more of the same kind"


def _broken(path: str, what: str, error: BrokenPickle, named: tuple[Global, ...]) -> UnreadableDocument:
    """This error of the pickle reader; a pickle that breaks off may still run what stands before the break."""
    reason, hint = f"{what} cannot be read: {error}", _FETCH_AGAIN
    if found := suspicious(named):
        names = ", ".join(str(name) for name in found[:3])
        reason, hint = f"{reason}; it calls for {names[:200]}", "do not load it: it could run a command"
    return UnreadableDocument(path, reason, hint=hint)
