"""Zip archives that programs read differently are refused; those that usual programs write are not.

torch reads zips with miniz: names without case, the directory at the claimed offset. Wherever torch would load another
data.pkl than plansguard reads, plansguard must have refused the file.
"""

from __future__ import annotations

import io
import pickle
import random
import shutil
import struct
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.artefacts.checkpoint.safe_zip import open_zip
from plansguard.core.errors import UnreadableDocument
from tests.support.attacks import confined

pytestmark = pytest.mark.deep

HARMLESS, OTHER = pickle.dumps({"network_weights": {}}, 2), pickle.dumps({"other": {}}, 2)
UMLAUT = "\N{LATIN SMALL LETTER A WITH DIAERESIS}"
END = struct.Struct("<4s4H2LH")


def packed(*members: tuple[str, bytes]) -> bytes:
    """A zip archive of stored members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


GOOD = packed(("a/version", b"3"), ("a/data.pkl", HARMLESS))


def twins(other: str, harmless: str) -> bytes:
    """With the names in this order, torch takes the other one of two that differ in case."""
    return packed(("a/version", b"3"), (harmless, HARMLESS), (other, OTHER))


def swapped(old: bytes, new: bytes, number: int) -> bytes:
    """The good archive with the occurrence of this number replaced; counted from the end if negative."""
    places = [at for at in range(len(GOOD)) if GOOD.startswith(old, at)]
    at = places[number]
    return GOOD[:at] + new + GOOD[at + len(old) :]


def ended(**changes: int) -> bytes:
    """The good archive with other values in its end record."""
    names = ("magic", "disk", "first", "here", "count", "size", "offset", "comment")
    values = dict(zip(names, END.unpack(GOOD[-END.size :]), strict=True))
    return GOOD[: -END.size] + END.pack(*{**values, **changes}.values())


def with_second_end() -> bytes:
    """Another archive as the comment of the first."""
    other = packed(("a/version", b"3"), ("a/data.pkl", OTHER))
    return ended(comment=len(other)) + other


def with_unicode_path() -> bytes:
    """An entry that the extra field 0x7075 gives the name of another one."""
    name = b"a/data.pkl"
    entry = zipfile.ZipInfo("a/other.pkl")
    entry.extra = struct.pack("<2HBL", 0x7075, 5 + len(name), 1, 0) + name
    buffer = io.BytesIO(GOOD)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(entry, OTHER)
    return buffer.getvalue()


#: What programs read differently, and a part of the message.
AMBIGUOUS: dict[str, tuple[bytes, str]] = {
    "case": (twins("a/Data.pkl", "a/data.pkl"), "for one another"),
    "case of the folder": (twins("A/data.pkl", "a/data.pkl"), "for one another"),
    "case beyond ASCII": (twins("a/STRASSE", "a/stra\N{LATIN SMALL LETTER SHARP S}e"), "for one another"),
    "form": (twins("a/data.p\N{FULLWIDTH LATIN SMALL LETTER K}l", "a/data.pkl"), "for one another"),
    "composed": (twins(f"a/{UMLAUT}", unicodedata.normalize("NFD", f"a/{UMLAUT}")), "for one another"),
    "two separators": (twins("a//data.pkl", "a/data.pkl"), "for one another"),
    "a dot as a folder": (twins("a/./data.pkl", "a/data.pkl"), "for one another"),
    "a blank at the end": (twins("a/data.pkl ", "a/data.pkl"), "for one another"),
    "a dot at the end": (twins("a/data.pkl.", "a/data.pkl"), "for one another"),
    "a blank after the folder": (twins("a /data.pkl", "a/data.pkl"), "for one another"),
    "a file and a folder": (twins("a/Data.pkl/x", "a/data.pkl"), "a file and a folder"),
    "a file and a folder far apart": (
        packed(*((name, HARMLESS) for name in ("a/b", "a/b!", "a/b0", "a/b/c/d"))),
        "a file and a folder",
    ),
    "a folder of its name": (packed(("a/data.pkl", HARMLESS), ("a/data.pkl/", b"")), "a file and a folder"),
    "another name in an extra field": (with_unicode_path(), "for one another"),
    "the local name": (swapped(b"a/data.pkl", b"a/Data.pkl", 0), "in two ways"),
    "the directory's name": (swapped(b"a/data.pkl", b"a/Data.pkl", -1), "in two ways"),
    "the local size": (
        swapped(struct.pack("<2L", *[len(HARMLESS)] * 2), struct.pack("<2L", 3, 3), 0),
        "in two ways",
    ),
    "bytes before it": (b"PK\3\4" + GOOD, "elsewhere than its end record says"),
    "bytes behind it": (GOOD + b"more", "does not end with its end record"),
    "an archive as comment": (with_second_end(), "elsewhere than its end record says"),
    "fewer files": (ended(count=1, here=1), "another number of files"),
    "more files": (ended(count=9, here=9), "another number of files"),
    "several disks": (ended(disk=1), "one part of several"),
    "files on other disks": (ended(here=1), "one part of several"),
    "another offset": (ended(offset=0), "elsewhere than its end record says"),
    "another size": (ended(size=20), "elsewhere than its end record says"),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_what_programs_read_differently_is_refused(kind: str, tmp_path: Path) -> None:
    content, reason = AMBIGUOUS[kind]
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(UnreadableDocument, match=reason):
        read_checkpoint(tmp_path / "a.pth")


DEEP = """
import sys
from plansguard.artefacts.checkpoint.safe_zip import open_zip

with open_zip(open(sys.argv[1], "rb"), "deep.zip") as archive:
    print(len(archive.names))
"""


@pytest.mark.parametrize(("members", "depth"), [(1, 30_000), (1500, 2000), (60_000, 20)])
def test_many_folders_above_members(members: int, depth: int, tmp_path: Path) -> None:
    """The paths of the folders above the members of a small archive have gigabytes."""
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        for number in range(members):
            archive.writestr(f"{number}/{'a/' * depth}x", b"")
    assert confined(DEEP, tmp_path / "deep.zip") == f"{members}\n"


def test_a_file_that_torch_takes_for_a_pickle(tmp_path: Path) -> None:
    """torch takes a file for a zip by its first four bytes; those of an end record are the opcode PERSID."""
    (tmp_path / "a.pth").write_bytes(b"PK\5\6\n0cos\nsystem\n(S'true'\ntR." + GOOD)
    with pytest.raises(UnreadableDocument, match="zip archive without files") as refused:
        read_checkpoint(tmp_path / "a.pth")
    assert "network_weights" not in refused.value.reason


def test_torchscript_is_recognised_as_torch_does(tmp_path: Path) -> None:
    """By constants.pkl in the folder of the first file, not in any folder."""
    for name, is_program in (("a/x/constants.pkl", False), ("a/constants.pkl", True)):
        content = packed(("a/version", b"3"), (name, b""), ("a/data.pkl", HARMLESS))
        (tmp_path / "a.pth").write_bytes(content)
        assert ("a TorchScript program" in read_checkpoint(tmp_path / "a.pth").sentence) is is_program


def test_another_root_than_that_of_torch(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(packed(("b/version", b"3"), ("a/data.pkl", HARMLESS)))
    assert "torch cannot load it" in read_checkpoint(tmp_path / "a.pth").damage[0]


# --- Archives of usual programs


class Stream(io.RawIOBase):
    """A file in which nothing can be sought."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.content += data
        return len(data)


def by_info_zip(folder: Path, made: Path) -> None:
    if shutil.which("zip") is None:
        pytest.skip("zip is not installed")
    subprocess.run(["zip", "-q", "-r", made, "."], cwd=folder, check=True)


def by_make_archive(folder: Path, made: Path) -> None:
    shutil.make_archive(str(made.with_suffix("")), "zip", folder)


def as_a_stream(folder: Path, made: Path) -> None:
    """With sizes behind the entries."""
    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    made.write_bytes(stream.content)


def of_zip64(folder: Path, made: Path) -> None:
    with zipfile.ZipFile(made, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with archive.open(path.relative_to(folder).as_posix(), "w", force_zip64=True) as entry:
                entry.write(path.read_bytes())


def below_a_dot(folder: Path, made: Path) -> None:
    """As bsdtar packs ``.``."""
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("./", b"")
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.writestr(f"./{path.relative_to(folder).as_posix()}", path.read_bytes())


@pytest.mark.parametrize("make", [by_info_zip, by_make_archive, as_a_stream, of_zip64, below_a_dot])
def test_archives_of_usual_programs_are_read(make: Callable[[Path, Path], None], tmp_path: Path) -> None:
    """With names that look alike, and files that macOS adds."""
    names = ["plans.json", "fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth", "__MACOSX/._plans.json"]
    names += ["._plans.json", "a b/c.d", "plans.json.bak", ".DS_Store"]
    for name in names:
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    make(tmp_path / "model", tmp_path / "made.zip")
    with open_zip(tmp_path / "made.zip", "made.zip") as archive:
        assert set(names) == set(archive.names)
        assert [archive.read(name, 99).decode() for name in names] == names
        assert [archive.open(name).read().decode() for name in names] == names


# --- Against the real torch

LOAD = """
import sys, torch
for path in sys.argv[1:]:
    try:
        print(sorted(torch.load(path, map_location="cpu", weights_only=True)))
    except Exception as error:
        print("refused", type(error).__name__)
"""


def by_torch(*paths: Path) -> list[str]:
    """What torch loads from each file: the keys, or that it refuses."""
    done = subprocess.run([sys.executable, "-c", LOAD, *map(str, paths)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def is_refused(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except UnreadableDocument:
        return True
    return False


@pytest.mark.nnunet
def test_torch_reads_the_other_of_two_names(tmp_path: Path) -> None:
    """Without the refusal, what was judged is not what torch loads."""
    (tmp_path / "a.pth").write_bytes(AMBIGUOUS["case"][0])
    assert by_torch(tmp_path / "a.pth") == ["['other']"]


@pytest.mark.nnunet
def test_torch_loads_nothing_else_than_what_was_read(tmp_path: Path) -> None:
    """The table and 300 random mutations of it: where torch loads the other object, plansguard refuses."""
    chance = random.Random(11)
    bases = [*(content for content, _ in AMBIGUOUS.values()), GOOD]
    contents = list(bases)
    for _ in range(300):
        mutant = bytearray(chance.choice(bases))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(mutant)) if chance.random() < 0.4 else len(mutant) - chance.randint(1, 150)
            mutant[at] = chance.choice([0, 1, 255, mutant[at] ^ 0x20, chance.randrange(256)])
        contents.append(bytes(mutant))
    paths = [tmp_path / f"{number}.pth" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    loaded = by_torch(*paths)
    assert {"['other']", "['network_weights']"} <= set(loaded)
    others = [path for path, keys in zip(paths, loaded, strict=True) if keys == "['other']"]
    assert [path.name for path in others if not is_refused(path)] == []


@pytest.mark.nnunet
@pytest.mark.parametrize("name", ["checkpoint_final.pth", f"Mod{UMLAUT}l 1.pth", "x.pt"])
def test_archives_of_torch_are_read(name: str, tmp_path: Path) -> None:
    """As a file, and deflated in another archive."""
    torch = pytest.importorskip("torch")
    weights: dict[str, Any] = {f"encoder.{number}.weight": torch.zeros(number % 7) for number in range(200)}
    for tensors in (weights, {}):
        torch.save({"network_weights": tensors}, tmp_path / name)
        assert read_checkpoint(tmp_path / name).damage == ()
        with zipfile.ZipFile(tmp_path / "outer.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(tmp_path / name, "inner.pth")
        with open_zip(tmp_path / "outer.zip", "outer.zip") as outer, outer.open("inner.pth") as stream:
            assert read_checkpoint(tmp_path / "inner.pth", stream).damage == ()
