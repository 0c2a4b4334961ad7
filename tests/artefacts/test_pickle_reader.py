"""Pickles are read as Python reads them, as data; nothing in them runs, and none costs more than it should."""

from __future__ import annotations

import collections
import copyreg
import io
import json
import pickle
import pickletools
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plansguard.artefacts.checkpoint import pickle_values
from plansguard.artefacts.checkpoint.pickle_reader import (
    MAX_KEYS,
    load,
)
from plansguard.artefacts.checkpoint.pickle_values import (
    BrokenPickle,
    Call,
    Global,
    JsonConverter,
    PickledArray,
    Skipped,
)
from plansguard.artefacts.checkpoint.unsafe_globals import suspicious
from plansguard.documents import json_document
from tests.conftest import ROOT
from tests.support.attacks import EXTENSIONS, bulks, claims, commands, confined

pytestmark = pytest.mark.deep

CASES = sorted((ROOT / "fixtures" / "headers").glob("*/*/*.pkl"))

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
keys = st.text(max_size=20) | st.integers(-(2**40), 2**40) | st.tuples(st.integers(0, 99), st.text(max_size=3))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(keys, inner, max_size=6)
        | st.dictionaries(keys, inner, max_size=4).map(collections.OrderedDict)
    ),
    max_leaves=30,
)


def read(data: bytes, **options: Any) -> Any:
    return load(io.BytesIO(data), **options).value


def json_types(value: Any) -> Any:
    return JsonConverter().convert(value)


# --- What Python reads


@given(value=values, protocol=st.integers(0, 5), optimised=st.booleans())
def test_data_are_read_as_python_reads_them(value: Any, protocol: int, optimised: bool) -> None:
    data = pickle.dumps(value, protocol)
    assert read(pickletools.optimize(data) if optimised else data) == value


@settings(max_examples=50)
@given(
    value=st.lists(
        st.sets(st.integers(0, 999), max_size=9) | st.frozensets(st.text(max_size=3), max_size=9), max_size=5
    ),
    protocol=st.integers(0, 5),
)
def test_sets_come_as_their_members(value: list[Any], protocol: int) -> None:
    found = read(pickle.dumps(value, protocol))
    assert [sorted(part) for part in found] == [sorted(part) for part in value]


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_shared_is_shared(protocol: int) -> None:
    part = ["part"]
    first, second, both = read(pickle.dumps([part, part, (part,)], protocol))
    assert first is second is both[0]


@pytest.mark.parametrize("protocol", range(6))
def test_what_contains_itself_does(protocol: int) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    ring: dict[str, Any] = {}
    ring["ring"] = [ring]
    found = read(pickle.dumps([loop, ring], protocol))
    assert found[0][1] is found[0]
    assert found[1]["ring"][0] is found[1]


@pytest.mark.parametrize("protocol", range(6))
def test_many_pickles_follow_each_other(protocol: int) -> None:
    stream = io.BytesIO(b"".join(pickle.dumps(number, protocol) for number in range(9)) + b"the rest")
    assert [load(stream).value for _ in range(9)] == list(range(9))
    assert stream.read() == b"the rest"


@given(length=st.integers(0, 40_000), before=st.integers(0, 17_000))
def test_strings_may_lie_across_the_window(length: int, before: int) -> None:
    value = ["b" * before, "c" * length, b"d" * min(length, 4096), 7]
    assert read(pickle.dumps(value)) == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_long_strings_are_sought_over(protocol: int) -> None:
    text, raw, after = read(pickle.dumps(["ä" * 50_000, b"b" * 5_000_000, "after"], protocol))
    assert (type(text), text.length, type(raw), raw.length, after) == (Skipped, 100_000, Skipped, 5_000_000, "after")


def test_a_stream_that_gives_one_byte_at_a_time_is_read() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 1, 1))

    assert load(Slow(pickle.dumps(["a" * 500, {"b": 1.5}]))).value == ["a" * 500, {"b": 1.5}]


def test_python_2_pickles_are_read() -> None:
    data = b"(dp0\nS'text'\np1\nL12L\nsS'r\\xffw'\np2\nF1.5\nsVu\\u00e4\np3\nI01\ns."
    assert read(data) == {"text": 12, b"r\xffw": 1.5, "u\xe4": True}
    assert read(b"\x80\x02U\x03abcT\x02\x00\x00\x00de\x86.") == ("abc", "de")


# --- What is not rebuilt


class Own:
    """An object of no class that the reader knows."""

    def __init__(self) -> None:
        self.part = [1]


class OwnList(list[int]):
    pass


class OwnDict(dict[str, int]):
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_objects_are_inert(protocol: int) -> None:
    loaded = load(io.BytesIO(pickle.dumps([Own(), OwnList([3]), OwnDict(a=4), Own], protocol)))
    thing, listed, keyed, kind = loaded.value
    assert type(thing) is type(listed) is type(keyed) is Call
    assert thing.state == {"part": [1]}
    assert listed.items == [3] or protocol < 2  # object.__reduce_ex__ of the first protocols writes a list itself
    assert keyed.entries == {"a": 4} or protocol < 2
    assert kind == Global(__name__, "Own")
    assert str(kind) in [str(found) for found in loaded.globals]
    assert not suspicious(loaded.globals)


def test_globals_are_listed_once_and_in_order() -> None:
    data = b"(cnnunetv2.one\nA\ncb\nB\ncnnunetv2.one\nA\nl."
    assert list(map(str, load(io.BytesIO(data)).globals)) == ["nnunetv2.one.A", "b.B"]


def test_persistent_ids_are_asked_for() -> None:
    data = b"(PHello\nU\x05World\x51l."
    assert read(data, persistent=lambda identifier: f"<{identifier}>") == ["<Hello>", "<World>"]
    with pytest.raises(BrokenPickle, match="persistent id"):
        read(data)


def test_a_builder_that_cannot_leaves_a_call() -> None:
    def fussy(number: int) -> int:
        return 1 // number if number else int("none")

    data = b"(cown\nfussy\nI1\n\x85Rcown\nfussy\nI0\n\x85Rcown\nfussy\n)Rl."
    one, nothing, missing = read(data, known={("own", "fussy"): fussy})
    assert (one, type(nothing), nothing.arguments, type(missing)) == (1, Call, (0,), Call)


# --- numpy


@pytest.mark.nnunet
@pytest.mark.parametrize("protocol", range(6))
def test_numpy_is_read_as_numpy_reads_it(protocol: int) -> None:
    import numpy as np

    dtypes = "? i1 u1 <i2 >i2 <u2 <i4 >i4 <u4 <i8 >i8 <u8 <f2 <f4 >f4 <f8 >f8".split()
    numbers = [np.dtype(dtype).type(number) for dtype in dtypes for number in (0, 1)]
    arrays: list[Any] = [
        np.arange(6, dtype=dtype if dtype != "?" else "i1").astype(dtype).reshape(2, 3) for dtype in dtypes
    ]
    numbers_read, arrays_read = read(pickle.dumps([numbers, arrays], protocol))
    assert numbers_read == [number.item() for number in numbers]
    assert [type(number) for number in numbers_read] == [type(number.item()) for number in numbers]
    assert [(array.dtype, array.shape) for array in arrays_read] == [
        (array.dtype.name, array.shape) for array in arrays
    ]
    assert [json_types(array) for array in arrays_read] == [array.tolist() for array in arrays]


@pytest.mark.nnunet
@pytest.mark.parametrize("protocol", range(6))
def test_large_arrays_keep_their_shape(protocol: int) -> None:
    import numpy as np

    arrays = [
        np.zeros((100, 4), np.int64),
        np.asfortranarray(np.ones((30, 40, 2), np.float32)),
        np.zeros((0, 4), np.int64),
    ]
    found = read(pickle.dumps([*arrays, "after"], protocol))
    assert [(array.dtype, array.shape) for array in found[:-1]] == [(array.dtype.name, array.shape) for array in arrays]
    assert found[-1] == "after"


@pytest.mark.nnunet
def test_arrays_in_fortran_order_come_with_their_values_in_place() -> None:
    import numpy as np

    array = np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    assert json_types(read(pickle.dumps(array))) == array.tolist()


def test_an_array_whose_bytes_do_not_fit_is_broken() -> None:
    for file in CASES[:2]:
        data = file.read_bytes()
        assert type(read(data)["class_locations"][1]) is PickledArray
        at = data.index(b"class_locations")
        shape = data.index(b"K\x01M", at)
        with pytest.raises(BrokenPickle, match="array in it of shape"):
            read(data[: shape + 3] + b"\x07\x00" + data[shape + 5 :])


@pytest.mark.nnunet
@pytest.mark.parametrize("file", CASES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_cases_of_nnunet_are_read_as_python_reads_them(file: Path) -> None:
    def simple(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: simple(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(simple(part) for part in value)
        return (value.dtype.name, value.shape) if hasattr(value, "shape") and value.shape else value

    with file.open("rb") as stream:
        expected = pickle.load(stream)
        stream.seek(0)
        found = load(stream).value
    arrays = found["class_locations"].values()
    assert found | {"class_locations": None} == simple(expected) | {"class_locations": None}
    assert [(array.dtype, array.shape) for array in arrays] == [simple(a) for a in expected["class_locations"].values()]


# --- Types of JSON


@given(value=values)
def test_plain_is_what_json_writes(value: Any) -> None:
    def jsonable(part: Any) -> Any:
        if isinstance(part, dict):
            return {key if isinstance(key, str) else repr(key): jsonable(item) for key, item in part.items()}
        if isinstance(part, (list, tuple)):
            return [jsonable(item) for item in part]
        return part.decode("latin-1") if isinstance(part, bytes) else part

    found = json_types(read(pickle.dumps(value)))
    assert found == jsonable(value)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("data", [b"]q\x00h\x00a.", b"}q\x00Nh\x00s.", b"}q\x00N]h\x00a\x85s."])
def test_what_contains_itself_has_no_plain_form(data: bytes) -> None:
    with pytest.raises(BrokenPickle, match="contains itself"):
        json_types(read(data))


def test_inert_values_become_short_texts() -> None:
    data = b"(cnnunetv2\nThing\ncnnunetv2\nThing\n)Rccollections\nOrderedDict\n)Rl."
    assert json_types(read(data)) == ["<nnunetv2.Thing>", "<call of nnunetv2.Thing>", {}]


@given(
    value=st.recursive(
        scalars.filter(lambda value: type(value) is not bytes) | st.text(st.characters(min_codepoint=1), max_size=9),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9) | st.booleans(), inner),
        max_leaves=20,
    )
)
def test_plain_knows_how_long_the_json_will_be(value: Any) -> None:
    length = len(json_document.dumps(value))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickle_values, "MAX_JSON_BYTES", length - 1)
        with pytest.raises(BrokenPickle, match="longer, or repeats itself"):
            json_types(value)
        patch.setattr(pickle_values, "MAX_JSON_BYTES", 3 * length + 20)
        assert json_types(value) == json.loads(json_document.dumps(value))


def test_values_of_one_plain_share_its_limits() -> None:
    converter = JsonConverter()
    part = ["a" * 1000] * (pickle_values.MAX_JSON_BYTES // 2500)
    converter.convert(part)
    converter.convert(part)
    with pytest.raises(BrokenPickle, match="repeats itself"):
        converter.convert(part)


def test_what_small_arrays_become_is_counted() -> None:
    array = PickledArray("bool", (16, 8), bytes(128), code="|b1")
    assert json_types([array] * 3) == [[[False] * 8] * 16] * 3
    with pytest.raises(BrokenPickle, match="far larger"):
        json_types([array] * (pickle_values.MAX_VALUES // 128))


# --- Broken ones


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_cut_anywhere_is_reported(protocol: int) -> None:
    data = pickle.dumps({"a": [1, 2.5, "text", b"bytes", (1, 2, 3), 2**100], "b": {"c": None, "d": {4}}}, protocol)
    for length in range(len(data) - 1):
        with pytest.raises(BrokenPickle):
            read(data[:length])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends in the middle"),
        (b"\xff", "0xff in it is no opcode"),
        (b"]NNs.", "keys of something"),
        (b"}]Ns.", "key that cannot be one"),
        (b"NNa.", "no list"),
        (b"h\x05.", "make no sense"),
        (b"g-1\n.", "make no sense"),
        (b"t.", "make no sense"),
        (b"0.", "make no sense"),
        (b"NN\x93.", "by something that is no text"),
        (b"Ix\n.", "make no sense"),
        (b"S'open\n.", "quotes"),
        (b"T\xff\xff\xff\xff.", "negative length"),
        (b"\x97.", "buffer outside"),
        (b"cA\n" + b"a" * 2000 + b"\n.", "more than 1000 characters"),
        (b"X\x02\x00\x00\x00\xff\xff.", "make no sense"),
    ],
)
def test_nonsense_is_reported(data: bytes, message: str) -> None:
    with pytest.raises(BrokenPickle, match=message):
        read(data)


# --- Attacks


def test_tuples_as_keys_are_bounded_in_number_and_together() -> None:
    """Tuples of one hash would be compared element by element, each with each."""
    regions = {tuple(range(1, 2 + last)): None for last in range(117)}
    assert read(pickle.dumps(regions)) == regions
    for keys in ([(number,) for number in range(MAX_KEYS + 1)], [(True,) * 200 + (n,) for n in range(100)]):
        with pytest.raises(BrokenPickle, match="tuples as keys"):
            read(pickle.dumps(dict.fromkeys(keys)))


def test_the_memo_takes_no_numbers_of_one_hash() -> None:
    assert read(b"Nr\xff\xff\xff\xff0g4294967295\n.") is None
    for number in (2**61 - 1, -(2**61)):
        with pytest.raises(BrokenPickle):
            read(b"Np%d\n0g%d\n." % (number, number))


CONTROL = """
import copyreg, os, sys, pickle
copyreg.add_extension("os", "system", 240)
try:
    pickle.loads(bytes.fromhex(sys.argv[1]))
except Exception: pass
"""


@pytest.mark.parametrize("attack", commands(Path("canary")))
def test_nothing_runs(attack: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data = commands(canary)[attack]
    _never_runs(data, canary)
    subprocess.run([sys.executable, "-c", CONTROL, data.hex()], check=True, timeout=60)
    assert canary.exists(), "this attack is none: Python loads it without running its command"


@pytest.mark.parametrize("attack", EXTENSIONS)
def test_extension_codes_stay_codes(attack: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    command = f"echo sang > '{canary}'".encode()
    data = EXTENSIONS[attack] + b"X" + struct.pack("<I", len(command)) + command + b"\x85R."
    copyreg.add_extension("os", "system", 240)
    try:
        _never_runs(data, canary)
    finally:
        copyreg.remove_extension("os", "system", 240)
    subprocess.run([sys.executable, "-c", CONTROL, data.hex()], check=True, timeout=60)
    assert canary.exists()


def _never_runs(data: bytes, canary: Path) -> None:
    modules = set(sys.modules)
    try:
        named = load(io.BytesIO(data), persistent=lambda identifier: identifier).globals
    except BrokenPickle as error:
        named = error.globals
    assert suspicious(named)
    assert not canary.exists()
    assert set(sys.modules) == modules


def test_nothing_is_imported() -> None:
    data = b"cantigravity\nfly\n)R."
    assert type(read(data)) is Call
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "name",
    """
    os.system posix.system nt.system subprocess.Popen builtins.eval builtins.exec builtins.getattr builtins.__import__
    builtins.open builtins.compile __builtin__.eval sys.modules socket.create_connection shutil.rmtree
    importlib.import_module runpy.run_path pty.spawn ctypes.CDLL ctypes.util.find_library pickle.loads _pickle.loads
    webbrowser.open code.interact operator.attrgetter torch.load torch.hub.load numpy.f2py.crackfortran.myeval
    torch.storage._load_from_bytes types.CodeType
    """.split(),
)
def test_what_an_attacker_needs_is_suspicious(name: str) -> None:
    module, _, function = name.rpartition(".")
    assert suspicious([Global(module, function)])


@pytest.mark.parametrize(
    "name",
    """
    collections.OrderedDict torch._utils._rebuild_tensor_v2 torch.FloatStorage numpy.core.multiarray.scalar numpy.dtype
    _codecs.encode torch.device torch.Size pathlib.PosixPath builtins.set functools.partial torch.nn.modules.conv.Conv3d
    nnunetv2.training.logging.nnunet_logger.nnUNetLogger argparse.Namespace my.code.UNet codes.UNet ostrich.Egg
    """.split(),
)
def test_what_checkpoints_name_is_not(name: str) -> None:
    module, _, function = name.rpartition(".")
    assert not suspicious([Global(module, function)])


READ = """
from plansguard.artefacts.checkpoint.pickle_reader import load
from plansguard.artefacts.checkpoint.pickle_values import BrokenPickle, JsonConverter
for name in sys.argv[1:]:
    with open(name, "rb") as stream:
        try:
            JsonConverter().convert(load(stream).value)
            print("read")
        except BrokenPickle as error:
            print("refused", error)
"""


def test_claims_cost_nothing(tmp_path: Path) -> None:
    for number, data in enumerate(claims().values()):
        (tmp_path / str(number)).write_bytes(data)
    answers = confined(READ, *(tmp_path / str(number) for number in range(len(claims())))).splitlines()
    assert dict(zip(claims(), (answer.split()[0] for answer in answers), strict=True)) == {
        name: "read" if name in ("memo", "frame") else "refused" for name in claims()
    }


@pytest.mark.slow
@pytest.mark.parametrize("bulk", bulks())
def test_bulk_is_refused_or_read_within_bounds(bulk: str, tmp_path: Path) -> None:
    (tmp_path / "bulk").write_bytes(bulks()[bulk]())
    assert confined(READ, tmp_path / "bulk")


# --- Anything at all


@st.composite
def mutations(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A real pickle with some bytes flipped, cut out, put in or repeated."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        if draw(st.booleans()):
            del data[at : at + draw(st.integers(0, 40))]
        elif draw(st.booleans()):
            data[at:at] = draw(st.binary(max_size=12))
        elif at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


SEEDS = [file.read_bytes() for file in CASES if file.stat().st_size < 40_000]
SEEDS += [pickle.dumps({"a": [1.5, (2, "b"), {3}], 4: None}, number) for number in range(6)]


@pytest.mark.slow
@settings(max_examples=max(100, settings().max_examples))
@given(data=mutations(SEEDS) | st.binary(max_size=60))
def test_fuzz_pickles(data: bytes) -> None:
    try:
        value = load(io.BytesIO(data)).value
        json_types(value)
    except BrokenPickle as error:
        assert str(error)
