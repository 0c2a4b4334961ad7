"""Checkpoints and zips made to run a command, to exhaust the machine or to mislead: refused or reported."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plansguard.artefacts.checkpoint import safe_zip
from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.artefacts.checkpoint.pickle_reader import load
from plansguard.artefacts.checkpoint.pickle_values import BrokenPickle, JsonConverter
from plansguard.artefacts.checkpoint.safe_zip import open_zip
from plansguard.artefacts.checkpoint.tensors import Storages
from plansguard.core.errors import UnreadableDocument
from plansguard.render import printable
from tests.artefacts.test_pickle_reader import mutations
from tests.support.attacks import bulks, claims, commands, confined
from tests.support.models import CHECKPOINT
from tests.support.torchlike import LEGACY_HEAD, Raw, T, dumps, save, save_legacy

pytestmark = pytest.mark.deep

WEIGHTS = {"encoder.weight": T("0", (2, 1, 3, 3))}
with zipfile.ZipFile(CHECKPOINT) as _archive:
    DATA = _archive.read("checkpoint_final/data.pkl")


def refused(path: Path) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        read_checkpoint(path)
    assert caught.value.hint
    return caught.value.reason


# --- Pickles that run commands


CONTAINERS: dict[str, Callable[[Path, bytes], object]] = {
    "zip": lambda path, data: save(path, {}, pickled=data),
    "bare": lambda path, data: path.write_bytes(data),
    "legacy": lambda path, data: path.write_bytes(LEGACY_HEAD + data),
    "instead of the magic number": lambda path, data: path.write_bytes(data + LEGACY_HEAD),
    "as the plans": lambda path, data: save(path, _with_plans(Raw(_opcodes(data)))),
    "in a seeming MONAI bundle": lambda path, data: _with_entry(path, "archive/configs/metadata.json", data),
    "in a seeming tar archive": lambda path, data: path.write_bytes(b"(S'" + b"a" * 254 + b"ustar'\n0" + data),
    "in seeming safetensors": lambda path, data: path.write_bytes(b'\x80\x02X\3\0\0\0\0{"0' + _opcodes(data) + b"."),
    "beside a v1 model": lambda path, data: (
        save(path, {"state_dict": WEIGHTS, "plot_stuff": ()}),
        path.with_name(path.name + ".pkl").write_bytes(data),
    ),
}


def _with_entry(path: Path, name: str, data: bytes) -> None:
    with zipfile.ZipFile(save(path, {}, pickled=data), "a") as archive:
        archive.writestr(name, "{}")


def _with_plans(plans: Any) -> dict[str, Any]:
    return {"network_weights": WEIGHTS, "init_args": {"plans": plans}, "trainer_name": "nnUNetTrainer"}


def _opcodes(data: bytes) -> bytes:
    """What stands between PROTO and STOP, to be put into another pickle."""
    return data.removeprefix(data[:2] if data[:1] == b"\x80" else b"").removesuffix(b".")


@pytest.mark.parametrize("container", CONTAINERS)
def test_nothing_runs_and_the_function_is_named(container: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for number, (attack, data) in enumerate(commands(canary).items()):
        path = tmp_path / f"{number}.pth"
        CONTAINERS[container](path, data)
        try:
            reported = " ".join(map(str, read_checkpoint(path).suspicious))
        except UnreadableDocument as error:
            reported = error.reason
        assert any(name in reported for name in ("system", "exec", "eval", "attr")), (attack, reported)
        assert not canary.exists(), attack


@pytest.mark.parametrize(
    "identifier",
    [
        7,
        "storage",
        ("storage",),
        ("storage", "FloatStorage", "0", "cpu", 3),
        ("storage", Raw(b"ctorch\nFloatStorage\n"), 0, "cpu", 3),
        ("storage", Raw(b"ctorch\nFloatStorage\n"), "0", "cpu", -3),
        ("storage", Raw(b"ctorch\nFloatStorage\n"), "0", "cpu", 2**80),
        ("storage", Raw(b"ctorch\nFloatStorage\n"), "0", "cpu", 1.5),
        ("storage", Raw(b"ctorch\nFloatStorage\n"), "0" * 99, "cpu", 3),
        ("storage", Raw(b"ctorch\nFloatStorage\n"), "0", "c" * 99, 3),
        ("storage", Raw(b"cos\nsystem\n"), "0", "cpu", 3),
        ("thing", Raw(b"ctorch\nFloatStorage\n"), "0", "cpu", 3),
        [],
        None,
    ],
    ids=repr,
)
def test_unknown_persistent_ids_are_reported(identifier: Any, tmp_path: Path) -> None:
    pickled = dumps([Raw(dumps(identifier)[2:-1] + b"Q")])
    assert "persistent id" in refused(save(tmp_path / "checkpoint.pth", {}, pickled=pickled))


def test_a_storage_that_points_outside_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    folder = tmp_path / "unpacked"
    (folder / "data").mkdir(parents=True)
    key = "../../secret"
    (folder / "data.pkl").write_bytes(dumps({"network_weights": {"a": T(key, (2,))}}))
    assert f"storage {key} is missing (8 bytes)" in read_checkpoint(folder).damage


def test_odd_tensors_are_no_tensors(tmp_path: Path) -> None:
    good = dumps(T("0", (2, 3)))[2:-1]
    odd = {
        "negative": b"(I2\nI-3\nt",
        "huge": b"(I2\n\x8a\x09" + b"\xff" * 8 + b"\x7ft",
        "many": b"(" + b"I2\n" * 13 + b"t",
        "float": b"(G" + bytes(8) + b"I3\nt",
    }
    weights = {name: T("0", (2, 3)) for name in "abcde"}
    oddities = {name: Raw(good.replace(b"(I2\nI3\nt", shape)) for name, shape in odd.items()}
    pickled = dumps({"network_weights": {**weights, **oddities}})
    found = read_checkpoint(save(tmp_path / "checkpoint.pth", weights, pickled=pickled))
    assert list(found.parameters) == list("abcde")
    assert found.damage == ()


# --- What contains itself, and what repeats itself


@pytest.mark.parametrize("key", ["plans", "dataset_json"])
@pytest.mark.parametrize("opcodes", [b"}q\x00X\x01\x00\x00\x00ah\x00s", b"}X\x01\x00\x00\x00a]q\x00h\x00as"])
def test_documents_that_contain_themselves_are_reported(key: str, opcodes: bytes, tmp_path: Path) -> None:
    value = {"network_weights": WEIGHTS, "init_args": {key: Raw(opcodes)}}
    reason = refused(save(tmp_path / "checkpoint.pth", value))
    assert f"its {key} cannot be read" in reason
    assert "contains itself" in reason


def test_other_parts_may_contain_themselves(tmp_path: Path) -> None:
    loop = Raw(b"}q\x00X\x01\x00\x00\x00ah\x00s")
    value = {**_with_plans({"a": 1}), "optimizer_state": loop, "logging": loop, "lr_scheduler": loop}
    assert read_checkpoint(save(tmp_path / "checkpoint.pth", value)).plans == {"a": 1}


def test_a_top_that_contains_itself_is_no_checkpoint(tmp_path: Path) -> None:
    found = read_checkpoint(save(tmp_path / "checkpoint.pth", {}, pickled=b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."))
    assert found.kind == "foreign"


def test_a_log_that_repeats_itself_is_reported(tmp_path: Path) -> None:
    lists = b"}(" + b"".join(
        b"X\x02\x00\x00\x00" + struct.pack(">H", 0x4100 + n % 60 + 256 * (n // 60)) + b"h\x07" for n in range(600)
    )
    log = Raw(b"](" + b"K\x01" * 2000 + b"eq\x070" + lists + b"u")
    assert "longer than any training" in refused(save(tmp_path / "a.pth", {"network_weights": WEIGHTS, "logging": log}))


GROWING = {
    "one array, often": (
        b"](cnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\xff\x85cnumpy\ndtype\nX\2\0\0\0b1\x85R\x89C\xff"
        + bytes(255)
        + b"tbq\x05"
        + b"h\x05" * 400_000
        + b"e"
    ),
    "one text of escapes, often": b"](X\x60\xea\0\0" + b"\1" * 60_000 + b"q\x05" + b"h\x05" * 500 + b"e",
    "many numbers deep inside": b"]" * 90 + b"](" + b"K\x01" * 450_000 + b"e" + b"a" * 90,
}


@pytest.mark.parametrize("part", GROWING)
def test_plans_that_would_grow_are_told_before_they_do(part: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", _with_plans({"plans_name": "x", "configurations": {}, "a": Raw(GROWING[part])}))
    assert "its plans cannot be read" in confined(READ, path)


def test_documents_of_one_checkpoint_are_bounded_together(tmp_path: Path) -> None:
    many = Raw(b"](" + b"K\x01" * 300_000 + b"e")
    assert read_checkpoint(save(tmp_path / "a.pth", _with_plans({"a": many}))).plans is not None
    both = {"network_weights": WEIGHTS, "init_args": {"plans": {"a": many}, "dataset_json": {"a": many}}}
    assert "its dataset_json cannot be read" in refused(save(tmp_path / "b.pth", both))


def test_integers_that_no_float_holds_count_nothing(tmp_path: Path) -> None:
    huge = Raw(b"\x8a\xff" + b"\x7f" * 255)
    value = {
        **_with_plans({"a": 1}),
        "current_epoch": huge,
        "inference_allowed_mirroring_axes": [huge],
        "logging": {"train_losses": [1, huge], "val_losses": [1, 0.5]},
    }
    value["init_args"]["fold"] = huge
    found = read_checkpoint(save(tmp_path / "a.pth", value))
    assert (found.current_epoch, found.fold, found.mirroring_axes) == (None, None, None)
    assert found.logging == {"val_losses": [1.0, 0.5]}


# --- Claims and bulk

READ = """
from pathlib import Path
from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.core.errors import UnreadableDocument
for name in sys.argv[1:]:
    try:
        print("read", len(read_checkpoint(Path(name)).sentence))
    except UnreadableDocument as error:
        print("refused", error.reason)
"""


def test_claims_cost_nothing(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.pth", {}, pickled=data) for n, data in enumerate(claims().values())]
    assert len(confined(READ, *paths).splitlines()) == len(paths)


@pytest.mark.slow
@pytest.mark.parametrize("bulk", [name for name in bulks() if "just allowed" in name or "string" in name])
def test_bulk_in_a_checkpoint_stays_within_bounds(bulk: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bulk.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bulk/data.pkl", bulks()[bulk]())
    assert confined(READ, tmp_path / "bulk.pth")


@pytest.mark.slow
def test_a_plain_deflate_bomb_as_data_pkl_is_refused(tmp_path: Path) -> None:
    path = _bomb(tmp_path / "bomb.pth", "bomb/data.pkl", 2**29)
    assert "refused" in confined(READ, path)


def _bomb(path: Path, name: str, size: int) -> Path:
    """An entry of zeros, made without having them."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    block = bytes(2**24)
    packed = b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()
    crc = 0
    for _ in range(size // len(block)):
        crc = zlib.crc32(block, crc)
    raw = name.encode()
    common = struct.pack("<5H3L2H", 20, 0, 8, 0, 33, crc, len(packed), size, len(raw), 0)
    local = b"PK\3\4" + common + raw + packed
    central = b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<3H2L", 0, 0, 0, 0, 0) + raw
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)
    return path


# --- Zip archives


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "an absolute path"),
        ("C:/windows/win.ini", "an absolute path"),
        ("../outside", "which leads outside"),
        ("a/../../outside", "which leads outside"),
        ("a/..", "which leads outside"),
        ("a\\b", "with a backslash"),
        ("a\0b", "which is no name"),
    ],
)
def test_names_that_point_outside_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x" * len(name), b"")
    path.write_bytes(path.read_bytes().replace(b"x" * len(name), name.encode()))
    with pytest.raises(UnreadableDocument, match=reason), open_zip(path, "model.zip"):
        pass
    assert reason in refused(path)


def test_names_that_look_odd_and_are_not_are_taken(tmp_path: Path) -> None:
    names = ["a..b/c", "...", "a/.../b", "ä/ö", "a b", "a/b:c"]
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for name in names:
            archive.writestr(name, name)
        archive.mkdir("folder") if hasattr(archive, "mkdir") else archive.writestr("folder/", b"")
    with open_zip(tmp_path / "model.zip", "model.zip") as opened:
        assert list(opened.names) == names
        assert [opened.read(name, 99).decode() for name in opened.names] == names
        assert [opened.open(name).read().decode() for name in opened.names] == names
        assert opened.size("ä/ö") == 5


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", DATA)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/data.pkl", b"N.")
    assert "two files named 'a/data.pkl'" in refused(tmp_path / "a.pth")


def test_links_are_refused(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("a/plans.json")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "link" in refused(tmp_path / "a.zip")


def test_a_checkpoint_with_two_pickles_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", DATA)
        archive.writestr("b/data.pkl", DATA)
    refused(tmp_path / "a.pth")


def test_a_zip_in_a_zip_is_told_not_followed(tmp_path: Path) -> None:
    inner = save(tmp_path / "checkpoint_final.pth", {"network_weights": WEIGHTS}).read_bytes()
    for depth in range(3):
        with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
            archive.writestr(f"{depth}/checkpoint_final.pth", inner)
        inner = (tmp_path / "outer.zip").read_bytes()
        assert f"name one, for example {depth}/" in _hint(tmp_path / "outer.zip")


def _hint(path: Path) -> str:
    with pytest.raises(UnreadableDocument) as caught:
        read_checkpoint(path)
    return caught.value.hint


def test_a_large_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """The directory claims gigabytes; the file holds them, as a hole."""
    path = tmp_path / "a.pth"
    with path.open("wb") as stream:
        stream.write(b"PK\3\4")
        stream.seek(2**31)
        stream.write(b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 9, 9, 2**31 - 4, 4, 0))
    assert "directory claims 9 files" in confined(READ, path)


def test_a_large_directory_of_zip64_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with path.open("wb") as stream:
        stream.write(b"PK\3\4")
        stream.seek(2**33)
        at = stream.tell()
        stream.write(b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 9, 9, 2**33 - 4, 4))
        stream.write(b"PK\6\7" + struct.pack("<LQL", 0, at, 1))
        stream.write(b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    assert "directory claims" in confined(READ, path)


def test_many_entries_are_refused(tmp_path: Path) -> None:
    entry = b"PK\1\2" + struct.pack("<6H3L5H2L", *[0] * 9, 1, 0, 0, 0, 0, 0, 0)
    count = safe_zip.MAX_DIRECTORY // (len(entry) + 1) + 10
    directory = b"".join(entry + b"a" for _ in range(count))
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, len(directory), 4, 0)
    (tmp_path / "a.pth").write_bytes(b"PK\3\4" + directory + end)
    assert "directory claims" in confined(READ, tmp_path / "a.pth")


def test_zip64_archives_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive, archive.open("a/data.pkl", "w", force_zip64=True) as entry:
        entry.write(DATA)
    assert read_checkpoint(path).kind == "nnunet-v2"
    with open_zip(path, "a") as opened:
        assert opened.open("a/data.pkl").read() == DATA


def test_an_archive_with_a_comment_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", {"network_weights": WEIGHTS})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"a remark " * 99
    assert read_checkpoint(path).kind == "nnunet-v2"


def test_what_an_entry_claims_bounds_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_zip, "FREE_INFLATION", 2**24)
    path = _bomb(tmp_path / "bomb.zip", "plans.json", 2**25)
    with open_zip(path, "bomb.zip") as archive:
        with pytest.raises(UnreadableDocument, match="claims 33,554,432 bytes"):
            archive.read("plans.json", 2**20)
        with pytest.raises(UnreadableDocument, match="claims 33,554,432 bytes, packed into"):
            archive.open("plans.json")
        with pytest.raises(KeyError):
            archive.read("dataset.json", 5)


def test_an_entry_that_inflates_to_more_than_it_claims_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plans.json", bytes(5000))
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 5000), struct.pack("<L", 50)))
    with open_zip(path, "a.zip") as opened:
        with pytest.raises(UnreadableDocument, match="cannot be read"):
            opened.read("plans.json", 100)
        with opened.open("plans.json") as stream, pytest.raises(OSError, match="cannot be read"):
            stream.read()


@pytest.mark.parametrize("method", [1, 9, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93, 99])
@pytest.mark.parametrize("size", [20, 2**25])
def test_other_methods_than_deflate_are_reported(method: int, size: int, tmp_path: Path) -> None:
    """Python reads bzip2 and LZMA, but torch and nnU-Net write neither, and LZMA's header asks for any memory."""
    packed = b"\t\4\5\0\x5d\0\0\x80\0" + b"\xff" * 50
    common = struct.pack("<5H3L2H", 20, 0, method, 0, 33, 0, len(packed), size, 10, 0)
    local = b"PK\3\4" + common + b"a/data.pkl" + packed
    central = b"PK\1\2\x14\0" + common + bytes(14) + b"a/data.pkl"
    end = b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, len(central), len(local), 0)
    path = tmp_path / "a.pth"
    path.write_bytes(local + central + end)
    assert f"method {method}, neither stored nor deflated" in refused(path)
    with open_zip(path, "a.pth") as opened, pytest.raises(UnreadableDocument, match="neither stored nor deflated"):
        opened.read("a/data.pkl", 2**26)


def test_encrypted_entries_are_reported(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", {"network_weights": WEIGHTS})
    data = bytearray(path.read_bytes())
    for magic, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(magic)
        data[at + flags] |= 1
    path.write_bytes(data)
    assert "cannot be read" in refused(path)
    with open_zip(path, "a") as opened, pytest.raises(UnreadableDocument):
        opened.open("archive/data.pkl")


@given(
    content=st.binary(max_size=200) | st.integers(1, 9).map(lambda times: bytes(range(256)) * 4096 * times),
    steps=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 3_000_000)), max_size=6),
    deflated=st.booleans(),
)
@settings(max_examples=60)
def test_entries_are_files_that_can_be_sought(content: bytes, steps: list[tuple[float, int]], deflated: bool) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        archive.writestr("first", b"1")
        archive.writestr("content", content)
    with open_zip(packed, "memory") as opened, opened.open("content") as stream:
        assert stream.seek(0, io.SEEK_END) == len(content)
        assert stream.read(1) == b""
        for share, length in steps:
            at = int(share * len(content))
            assert stream.seek(at) == stream.tell() == at
            assert stream.read(length) == content[at : at + length]
        stream.seek(0)
        assert stream.read() == content
        with pytest.raises(ValueError, match="before the beginning"):
            stream.seek(-1, io.SEEK_SET) if not deflated else stream.seek(-len(content) - 1, io.SEEK_END)


# --- Names made for the terminal


def test_escapes_in_names_reach_the_terminal_escaped(tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\r\nfixed"
    value = {
        "network_weights": {evil: T("0", (2,))},
        "init_args": {"plans": {"plans_name": evil * 50}, "configuration": evil, "fold": evil},
        "trainer_name": evil,
    }
    found = read_checkpoint(save(tmp_path / "a.pth", value))
    assert list(found.parameters) == [evil]
    shown = printable(found.sentence)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert len(shown) < 2000
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
        archive.writestr("../" + evil, b"")
    assert "\x1b" not in printable(refused(tmp_path / "b.pth"))


# --- Anything at all


def _fuzzed(path: Path) -> None:
    try:
        json.dumps([read_checkpoint(path).plans, read_checkpoint(path).logging])
    except UnreadableDocument as error:
        assert error.reason


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "checkpoint.pth"


@pytest.mark.slow
@settings(max_examples=max(100, settings().max_examples))
@given(data=mutations([DATA]))
def test_fuzz_data_pkl(data: bytes) -> None:
    storages = Storages()
    try:
        value = load(io.BytesIO(data), persistent=storages.persistent, known=storages.builders).value
        JsonConverter().convert(value)
    except BrokenPickle as error:
        assert str(error)


@pytest.mark.slow
@settings(max_examples=max(100, settings().max_examples))
@given(data=mutations([DATA, dumps({"network_weights": WEIGHTS, "init_args": {"plans": {"a": [1]}}})]))
def test_fuzz_the_pickle_in_a_checkpoint(data: bytes, scratch: Path) -> None:
    save(scratch, {"a": T("0", (2, 1, 3, 3))}, pickled=data)
    _fuzzed(scratch)


SMALL = {"network_weights": WEIGHTS, "init_args": {"plans": {"a": [1]}}}


def _small_files(folder: Path) -> list[bytes]:
    return [write(folder / "seed.pth", SMALL).read_bytes() for write in (save, save_legacy)]


@pytest.mark.slow
@settings(max_examples=max(100, settings().max_examples))
@given(choose=st.data())
def test_fuzz_whole_files(choose: st.DataObject, scratch: Path) -> None:
    scratch.write_bytes(choose.draw(mutations(_small_files(scratch.parent))))
    _fuzzed(scratch)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(tmp_path / "a.pth")
    assert refused(tmp_path / "a.pth") == "this is a pipe"
    with pytest.raises(UnreadableDocument, match="a pipe"), open_zip(tmp_path / "a.pth", "a.pth"):
        pass
