"""JSON documents: what nnU-Net's ``json.load`` reads, what it refuses, and what it accepts without a message."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.documents import json_document, json_scanner
from plansguard.documents.json_document import (
    MAX_BYTES,
    MAX_BYTES_OF_CASES,
    MAX_DEPTH,
    MAX_PLACED,
    Notice,
    dumps,
    parse,
    pointer,
    read,
    tokens,
)
from plansguard.documents.json_scanner import Position
from tests.support.variants import resolve

pytestmark = pytest.mark.deep

if TYPE_CHECKING:
    from collections.abc import Iterator

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)
"""Any value that a JSON text can have without oddities."""

PIECES = """
    { } [ ] , : " \\ ' # / . - + 0 1 e E + 1e400 1.5 "a" "b" "a": "\\ud800" \\u00 true fals None NaN Infinity inf
    é \u0661 \u201c <<<<<<< ( ;
"""
json_like = st.lists(st.sampled_from([*PIECES.split(), *" \t\n\r\0\x01\u00a0\ufeff"])).map("".join)
"""Text made of valid and invalid pieces of JSON."""


def refusal(raw: bytes | str) -> UnreadableDocument:
    with pytest.raises(UnreadableDocument) as caught:
        parse(raw.encode() if isinstance(raw, str) else raw, "plans.json")
    return caught.value


def accepted_by_json(raw: bytes) -> bool:
    """Whether nnU-Net can read these bytes."""
    try:
        json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", text))]


def place_of(text: str, offset: int) -> Position:
    line, start = max((line, start) for line, start in enumerate(line_starts(text), 1) if start <= offset)
    return Position(line, offset - start + 1)


def members(value: Any, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """All parts of a value, with the keys and indices that lead to them."""
    yield path, value
    if isinstance(value, (dict, list)):
        for token, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from members(child, *path, token)


def assert_all_positions_are_right(raw: bytes) -> None:
    """Every pointer leads to its value, and its position to a text that Python reads as key and value."""
    document = parse(raw, "plans.json")
    text = raw.decode()
    starts = line_starts(text)
    reader = json.JSONDecoder()
    for path, value in members(document.value):
        here = pointer(*path)
        assert tokens(here) == tuple(map(str, path))
        assert resolve(document.value, here) is value
        assert document.position(here, first=True) == document.position(here)
        position = document.position(here)
        assert position is not None
        line, column = position
        offset = starts[line - 1] + column - 1
        if path and isinstance(path[-1], str):
            key, offset = reader.raw_decode(text, offset)
            assert key == path[-1]
            offset = re.compile(r"\s*:\s*").match(text, offset).end()  # type: ignore[union-attr]
        assert repr(reader.raw_decode(text, offset)[0]) == repr(value)


# --- What is read --------------------------------------------------------------


@given(json_values)
def test_what_nnunet_writes_is_read_back(value: Any) -> None:
    document = parse(dumps(value), "plans.json")
    assert document.value == value
    assert document.notices == ()
    assert document.raw == dumps(value)


def test_dumps_is_what_nnunet_writes(tmp_path: Path) -> None:
    value = {"b": [1, 1.0, -0.0, 1e-5, 1e16], "a": {"é": "\ud800\n"}, "empty": [{}, []], "odd": float("nan")}
    file = tmp_path / "plans.json"
    with file.open("w") as stream:  # as batchgenerators' save_json does
        json.dump(value, stream, sort_keys=False, indent=4)
    assert dumps(value) == file.read_bytes()


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": [1, 2]}',
        b'\r\n{\r\n\t"a"\t:\r[1\n,2 ]\r\n}\r\n',
        b'{"a": [1, 2]}\n\n',
    ],
)
def test_blanks_line_ends_and_tabs_do_not_matter(raw: bytes) -> None:
    document = parse(raw, "plans.json")
    assert document.value == {"a": [1, 2]}
    assert document.notices == ()


@pytest.mark.parametrize(("raw", "value"), [(b"1", 1), (b' "a" ', "a"), (b"null", None), (b"[]", []), (b"{}", {})])
def test_a_document_may_be_any_value(raw: bytes, value: Any) -> None:
    assert parse(raw, "x.json").value == value


def test_read_takes_path_and_bytes_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a plans.json"
    file.write_bytes(b'{"a":\r\n1}')
    document = read(file)
    assert (document.path, document.raw, document.value) == (str(file), b'{"a":\r\n1}', {"a": 1})


# --- What is read, but noticed ---------------------------------------------------


@pytest.mark.parametrize(
    ("text", "notices"),
    [
        ('{"a": 1, "a": 2}', [("duplicate-key", "/a", "a")]),
        ('{"a": 1, "a": 2, "a": 3}', [("duplicate-key", "/a", "a")]),
        ('{"a": 1, "\\u0061": 2}', [("duplicate-key", "/a", "a")]),
        ('[{"x/y~": {"": 1, "": 1}}]', [("duplicate-key", "/0/x~1y~0/", "")]),
        ("NaN", [("non-finite", "", "NaN")]),
        (
            '{"a": [0, NaN, -Infinity], "b": Infinity}',
            [
                ("non-finite", "/a/1", "NaN"),
                ("non-finite", "/a/2", "-Infinity"),
                ("non-finite", "/b", "Infinity"),
            ],
        ),
        ("[1e400, -1E+400]", [("non-finite", "/0", "1e400"), ("non-finite", "/1", "-1E+400")]),
        ('{"a": %s.0}' % ("9" * 400), [("non-finite", "/a", "9" * 400 + ".0")]),
        ('{"a": %s}' % ("9" * 400), []),
        ("[1e-400, 1e308, 0e999]", []),
        ('["NaN", "1e400", {"NaN": "Infinity"}]', []),
        # In the order of the text, and nothing inside what a later duplicate overwrites.
        (
            '{"a": NaN, "b": NaN, "a": {"c": NaN, "d": 0, "d": 1}}',
            [
                ("non-finite", "/b", "NaN"),
                ("duplicate-key", "/a", "a"),
                ("non-finite", "/a/c", "NaN"),
                ("duplicate-key", "/a/d", "d"),
            ],
        ),
        ('{"a": {"b": 1, "b": 2}, "a": {}}', [("duplicate-key", "/a", "a")]),
    ],
)
def test_notices(text: str, notices: list[tuple[str, str, str]]) -> None:
    document = parse(text.encode(), "plans.json")
    assert document.notices == tuple(Notice(*notice) for notice in notices)
    assert repr(document.value) == repr(json.loads(text))


def test_the_last_of_duplicate_keys_counts() -> None:
    document = parse(b'{"a": {"x": 1, "y": 2},\n "a": 0,\n "a": {"x": 3}}', "plans.json")
    assert document.value == {"a": {"x": 3}}
    assert document.position("/a") == Position(3, 2)
    assert document.position("/a", first=True) == Position(1, 2)
    assert document.position("/a/x") == document.position("/a/x", first=True) == Position(3, 8)
    assert document.position("/a/y") == Position(3, 2), "the first a, which has a y, is overwritten"


# --- Pointers and places ---------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("",), "/"),
        (("a", 0, "b"), "/a/0/b"),
        (("a/b", "~", "~1"), "/a~1b/~0/~01"),
    ],
)
def test_pointer_and_tokens(path: tuple[str | int, ...], text: str) -> None:
    assert pointer(*path) == text
    assert tokens(text) == tuple(map(str, path))


def test_a_text_that_is_no_pointer_is_a_value_error() -> None:
    for use in (tokens, parse(b"{}", "x.json").position):
        with pytest.raises(ValueError, match="starts with '/'"):
            use("a/b")


@given(
    json_values, st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n\t", "\t:\r"), ("\n,\n", "\n:\n")]), st.booleans()
)
def test_positions(value: Any, separators: tuple[str, str], ascii_only: bool) -> None:
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
    assert_all_positions_are_right(text.encode())
    assert_all_positions_are_right(dumps(value))


@pytest.mark.parametrize(
    ("text", "pointer", "position"),
    [
        ('\n  {"a": 1}', "", (2, 3)),
        ('{"a": 1,\n "b": [1,\n\t2]}', "/b", (2, 2)),
        ('{"a": 1,\n "b": [1,\n\t2]}', "/b/1", (3, 2)),
        ('{"é\U0001f9e0": 1, "b": 2}', "/b", (1, 11)),
        ('{\r"a":\r\n1,\r\r"b": 2}', "/b", (5, 1)),
        ('{"a": [1, {"b": 2}]}', "/a/1/c/0/d", (1, 11)),
        ('{"a": [1, {"b": 2}]}', "/a/2", (1, 2)),
        ('{"a": [1, {"b": 2}]}', "/c", (1, 1)),
    ],
)
def test_position(text: str, pointer: str, position: tuple[int, int]) -> None:
    assert parse(text.encode(), "plans.json").position(pointer) == position


def test_an_ordinary_document_is_scanned_only_when_a_place_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scans = []

    def counted(text: str, path: str, max_depth: int) -> json_scanner.Node:
        scans.append(path)
        return scan(text, path, max_depth)

    scan = json_scanner.scan
    monkeypatch.setattr(json_scanner, "scan", counted)
    document = parse(b'{"a": [1.5, 2e3, {"b": null}], "c": "x"}', "plans.json")
    assert scans == []
    document.position("/a")
    document.position("/c", first=True)
    assert scans == ["plans.json"]


# --- What is refused ---------------------------------------------------------------

# The mark ¦ is where line and column must point.
FAULTS = [
    ("[1¦ 2]", "a comma is missing after item 1 of the list", "put a comma here"),
    ('{"a": [0]¦\n "b": 1}', 'a comma is missing after the value of "a"', "put a comma here"),
    ('{"a": "x"¦ y"}', 'a comma is missing after the value of "a"', "put a comma here"),
    ("[1, 2¦,\n]", "this comma is directly before ']'", "remove the comma"),
    ('{"a": 1¦, }', "this comma is directly before '}'", "remove the comma"),
    ("[1¦,,2]", "this comma is directly before ','", "remove the comma"),
    ("[¦,1]", "a value is missing here", "write a value"),
    ('{"a":¦ }', "a value is missing here", "write a value"),
    ("¦}", "a value is missing here", "write a value"),
    ("{¦,}", "a key is missing here", "key in double quotes"),
    ('{"a"¦ 1}', 'a colon is missing after the key "a"', "write a colon"),
    ('{"a"¦, "b"}', 'a colon is missing after the key "a"', "write a colon"),
    ('{"a"¦ = 1}', 'a colon is missing after the key "a"', "write a colon"),
    ("[1¦; 2]", """";" is out of place in the '[' of line 1, column 1""", "a comma or ']'"),
    ('{\n"a": [1, "b"¦: 2}', """":" is out of place in the '[' of line 2, column 6""", "a comma or ']'"),
    ("[¦\u00a01]", '"\\u00a0" is out of place', "a value is expected"),
    ("[1¦}", "this '}' does not close the '[' of line 1, column 1", "write ']' first"),
    ('{"a": 1}\n¦}', "this '}' closes nothing", "remove it"),
    # comments
    ("¦# plans\n{}", "a comment", "JSON has no comments"),
    ("{} ¦// end", "a comment", "JSON has no comments"),
    ("[1, ¦/* two */ 2]", "a comment", "JSON has no comments"),
    ('{"a": 1, ¦# "b"\n}', "a comment", "JSON has no comments"),
    ('{"a" ¦// b\n: 1}', "a comment", "JSON has no comments"),
    # Python and other languages
    ("{¦'a': 1}", "not a JSON quotation mark", "double quotes"),
    ("[¦“a”]", "not a JSON quotation mark", "double quotes"),
    ("[¦True]", "True is Python, not JSON", "lower case"),
    ("[¦False]", "False is Python, not JSON", "lower case"),
    ("[¦None]", "None is Python, not JSON", "write null"),
    ("[¦(1, 2)]", "a round bracket", "square brackets"),
    ("[¦nan]", "nan is not a JSON number", "a finite number or null"),
    ("[¦-inf]", "-inf is not a JSON number", "a finite number or null"),
    ("{¦a: 1}", "the key a has no quotes", "double quotes"),
    ("{¦1: 1}", "the key 1 has no quotes", "double quotes"),
    ("[¦abc]", "abc has no quotes", "double quotes"),
    ("¦" + "abc" * 100, "abc" * 13 + "a has no quotes", "double quotes"),
    # numbers
    ("[¦01]", "01 has a leading zero", "leading zeros"),
    ("[¦-012.5]", "-012.5 has a leading zero", "leading zeros"),
    ("[¦+1]", "+1 starts with a plus sign", "remove the plus sign"),
    ("[¦.5]", ".5 lacks a digit before the point", "write a zero"),
    ("[¦5.]", "5. lacks a digit after the point", "write a zero"),
    ("[¦5.e3]", "5.e3 lacks a digit after the point", "write a zero"),
    ("[¦1_000]", "1_000 is not a JSON number", "correct the number"),
    ("[¦0x1F]", "0x1F is not a JSON number", "correct the number"),
    ("[¦1.5mm]", "1.5mm is not a JSON number", "correct the number"),
    ("[¦-]", "- is not a JSON number", "correct the number"),
    ("[¦\u0661]", "\u0661 has no quotes", "double quotes"),
    ("[¦" + "9" * 5000 + "]", "a number of 5000 digits", "shorten"),
    # strings
    ('["a¦\tb"]', "a raw tab", "write \\t"),
    ('["a¦\x01b"]', "the control character \\u0001", "write \\u0001"),
    ('["a¦\0b"]', "the string contains a NUL byte", "damaged"),
    ('{"a": "b,¦\n"c": 1}', "the string is not closed on its line", "closing"),
    ('{"a": "b,¦\r\n"c": 1}', "the string is not closed on its line", "closing"),
    ('["C:¦\\data"]', "this backslash does not start a JSON escape", "\\\\"),
    ('["¦\\u12zz"]', "this backslash does not start a JSON escape", "\\\\"),
    # the end
    ("¦", "the file is empty", "again"),
    ("¦ \r\n\t", "the file holds only blanks", "again"),
    ('{"a": 1,\n "b": [1, 2¦', "ends before the '[' of line 2, column 7 is closed", "missing ']'"),
    ('{"a": [1, 2]¦\n', "ends before the '{' of line 1, column 1 is closed", "missing '}'"),
    ('{"a": fal¦', "ends before the '{' of line 1, column 1 is closed", "missing '}'"),
    ("[1.¦", "ends before the '[' of line 1, column 1 is closed", "missing ']'"),
    ('{"a": "bc¦', "ends inside the string of line 1, column 7", "close the string"),
    ('["a\\¦', "ends inside the string of line 1, column 2", "close the string"),
    ('["a\\u12¦', "ends inside the string of line 1, column 2", "close the string"),
    ('{"a": 1}\n¦{"a": 2}', "more text follows", "one JSON document"),
    ("¦version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer", "git lfs pull"),
    ("\n¦<!DOCTYPE html>\n<html>", "a web page", "raw file"),
    ('{\n¦<<<<<<< HEAD\n"a": 1\n=======\n"a": 2\n>>>>>>> main\n}', "a git conflict marker", "merge conflict"),
    ('{"a": 1\n¦=======\n"a": 2\n}', "a git conflict marker", "merge conflict"),
    ("{}\n¦>>>>>>> main", "a git conflict marker", "merge conflict"),
    # nesting
    ("[" * MAX_DEPTH + "¦[" + "]" * (MAX_DEPTH + 1), "nested deeper than 200 levels", "the file you mean"),
    ('{"a": ' * MAX_DEPTH + "¦[1]" + "}" * MAX_DEPTH, "nested deeper than 200 levels", "the file you mean"),
    ("[" * MAX_DEPTH + "¦" + "[" * 99_800, "nested deeper than 200 levels", "the file you mean"),
    (
        '{"a": ' + "[" * 199 + "¦[" + "]" * 200 + ', "a": 1}',
        "nested deeper than 200 levels",
        "the file you mean",
    ),
    # damage
    ("¦\0\0\0\0", "this is a NUL byte", "damaged"),
    ('{"a":¦\0}', "this is a NUL byte", "damaged"),
]


@pytest.mark.parametrize(("marked", "reason", "hint"), FAULTS, ids=[repr(marked)[:40] for marked, _, _ in FAULTS])
def test_a_fault_has_a_reason_a_hint_and_a_place(marked: str, reason: str, hint: str) -> None:
    text = marked.replace("¦", "")
    assert not accepted_by_json(text.encode()) or "nested" in reason
    error = refusal(text)
    assert error.path == "plans.json"
    assert reason in error.reason
    assert hint in error.hint
    assert Position(error.line or 0, error.column or 0) == place_of(text, marked.index("¦"))


@pytest.mark.parametrize(
    ("raw", "reason", "hint", "position"),
    [
        (b'\xef\xbb\xbf{"a": 1}', "starts with a byte order mark", "UTF-8 without BOM", (1, 1)),
        ('{"a": 1}'.encode("utf-16"), "UTF-16, not as UTF-8", "UTF-8 without BOM", (1, 1)),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16, not as UTF-8", "UTF-8 without BOM", (1, 1)),
        ('{"a": 1}'.encode("utf-16-be"), "UTF-16, not as UTF-8", "UTF-8 without BOM", (1, 1)),
        ('{"a": 1}'.encode("utf-32"), "UTF-32, not as UTF-8", "UTF-8 without BOM", (1, 1)),
        (
            '{\n"aé": "ü"}'.encode("latin-1"),
            "the byte 0xe9 at offset 4 is not UTF-8",
            "UTF-8 without BOM",
            (2, 3),
        ),
        ('["é'.encode()[:-1], "the file ends inside a character", "fetch", (1, 3)),
    ],
)
def test_other_encodings_are_named(raw: bytes, reason: str, hint: str, position: tuple[int, int]) -> None:
    error = refusal(raw)
    assert reason in error.reason
    assert hint in error.hint
    assert (error.line, error.column) == position


def test_the_deepest_document_allowed_is_read() -> None:
    for text in ("[" * MAX_DEPTH + "]" * MAX_DEPTH, "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH):
        document = parse(text.encode(), "plans.json")
        assert document.notices == ()
        assert document.position("/0" * (MAX_DEPTH - 1)) == Position(1, MAX_DEPTH)


def test_a_file_that_is_too_large_is_refused_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "big.json"
    with file.open("wb") as stream:
        stream.truncate(MAX_BYTES_OF_CASES + 1)
    monkeypatch.setattr(os, "read", None)
    with pytest.raises(UnreadableDocument, match="larger than 128 MiB"):
        read(file)
    assert "larger than 16 MiB" in refusal(b" " * (MAX_BYTES + 1)).reason


def long(text: str) -> str:
    """``text`` with blanks appended, too long for places."""
    return text + " " * MAX_PLACED


def test_a_long_document_has_no_places() -> None:
    document = parse(long('{"a": {"b": 1}}').encode(), "plans.json")
    assert document.value == {"a": {"b": 1}}
    assert document.notices == ()
    assert document.position("/a/b") is None
    assert document.position("/a/b", first=True) is None


def test_a_long_document_has_its_oddities() -> None:
    document = parse(long('{"a": [NaN, -Infinity], "b": {"c": 1, "d": 2, "c": 3}, "e": 1e400}').encode(), "plans.json")
    assert document.notices == (Notice("non-finite", "", "NaN"), Notice("duplicate-key", "", "c"))
    (infinite,) = parse(long("[1e400]").encode(), "plans.json").notices
    assert (infinite.kind, infinite.pointer) == ("non-finite", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[" * 250 + "]" * 250, "nested deeper than 200 levels"), ('{"a": 1,}', "Python cannot read this JSON: ")],
)
def test_a_long_document_is_refused_too(text: str, reason: str) -> None:
    assert reason in refusal(long(text)).reason


def test_an_error_that_the_scan_cannot_explain(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: object, **__: object) -> None:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(json, "loads", loads)
    assert "maximum recursion depth exceeded" in refusal("[]").reason


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux has files without a size")
def test_a_file_larger_than_its_declared_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document, "MAX_BYTES", 3)
    monkeypatch.setattr(json_document, "MAX_BYTES_OF_CASES", 3)
    with pytest.raises(UnreadableDocument, match="larger than"):
        read(Path("/proc/self/status"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes nor devices among its files")
def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text("{}")
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere.json")
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    os.mkfifo(tmp_path / "pipe.json")
    for path, reason in {
        tmp_path / "missing.json": "the file does not exist",
        tmp_path: "this is a folder",
        file / "plans.json": "a part of the path is a file",
        tmp_path / "dangling.json": "the link leads to a file that does not exist",
        tmp_path / "loop.json": "the link leads back to itself",
        tmp_path / "pipe.json": "this is a pipe",
        Path("/dev/null"): "this is a device",
        tmp_path / ("x" * 5000): "the file cannot be read: File name too long",
    }.items():
        with pytest.raises(UnreadableDocument, match=reason) as caught:
            read(path)
        assert (caught.value.path, caught.value.line) == (str(path), None)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "plans.json"
    file.write_text("{}")

    def forbidden(*_: object) -> None:  # root, who often runs the tests, can read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disk, "limited_content", forbidden)
    with pytest.raises(UnreadableDocument, match="no permission to read"):
        read(file)


# --- Anything at all -----------------------------------------------------------------


def assert_read_or_refused(raw: bytes) -> None:
    """The scan accepts and refuses the same as ``json``; an error has reason, hint and a place in the text."""
    if accepted_by_json(raw):
        document = parse(raw, "plans.json")
        assert repr(document.value) == repr(json.loads(raw))
        assert resolve(document.value, "") is document.value
        assert document.position("") is not None
        return
    error = refusal(raw)
    assert error.reason
    assert error.hint
    assert "\n" not in error.reason + error.hint
    if error.line is not None and error.column is not None:
        starts = [*line_starts(raw.decode(errors="replace")), len(raw) + 1]
        assert 1 <= error.column <= starts[error.line] - starts[error.line - 1]


@given(st.binary())
def test_any_bytes(raw: bytes) -> None:
    assert_read_or_refused(raw)


@given(json_like)
def test_any_text_that_looks_like_json(text: str) -> None:
    assert_read_or_refused(text.encode())


@given(json_values, st.data())
def test_a_document_with_one_character_changed(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value, indent=4, ensure_ascii=False)
    offset = data.draw(st.integers(0, len(text)))
    replacement = data.draw(st.sampled_from(["", *"{}[],:\"\\/# \n\t\0.-+0eE'é"]))
    assert_read_or_refused((text[:offset] + replacement + text[offset + 1 :]).encode())


@given(json_values, st.booleans())
def test_a_truncated_document_is_refused(value: Any, ascii_only: bool) -> None:
    raw = json.dumps(value, indent=4, ensure_ascii=ascii_only).encode()
    for length in range(len(raw)):
        if isinstance(value, (list, dict, str)):
            refusal(raw[:length])
        else:
            assert_read_or_refused(raw[:length])


# --- Real files ------------------------------------------------------------------------


def test_every_file_of_the_corpus_is_read_without_a_notice(corpus: Path) -> None:
    for file in sorted(corpus.rglob("*.json")):
        document = read(file)
        assert document.value == json.loads(file.read_text(encoding="utf-8"))
        assert document.notices == (), file


def test_positions_in_the_corpus_are_right(corpus: Path) -> None:
    for file in sorted(corpus.rglob("*.json")):
        if file.stat().st_size < 32_000:  # all plans; some fingerprints would take minutes
            assert_all_positions_are_right(file.read_bytes())
