"""Excerpts of documents: the line of a value, with the value marked."""

from __future__ import annotations

import json

import pytest

from plansguard.documents import json_document, toml_document

PLANS = {
    "plans_name": "P",
    "configurations": {
        "3d_fullres": {
            "spacing": [2.5, 0.8, 0.8],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "cases": [f"case_{number}" for number in range(30)],
            "batch_size": 2,
        }
    },
}
FULLRES = "/configurations/3d_fullres"


def marked(text: str, pointer: str) -> tuple[int, str, str]:
    """The line number, the line without indentation, and the marked part of it."""
    excerpt = json_document.parse(text.encode(), "P.json").excerpt(pointer)
    assert excerpt is not None
    line, shown, start, length = excerpt
    return line, shown.strip(), shown[start : start + length]


@pytest.mark.parametrize("indent", [4, 1])
@pytest.mark.parametrize(
    ("pointer", "line", "shown", "value"),
    [
        ("/plans_name", 2, '"plans_name": "P",', '"P"'),
        (f"{FULLRES}/spacing/1", 7, '"spacing": [2.5, 0.8, 0.8],', "0.8"),
        (f"{FULLRES}/spacing", 5, '"spacing": [2.5, 0.8, 0.8],', "[2.5, 0.8, 0.8]"),
        (f"{FULLRES}/strides/1", 16, '"strides": [[1, 1, 1], [2, 2, 2]],', "[2, 2, 2]"),
        (f"{FULLRES}/strides/1/0", 17, "[2, 2, 2]", "2"),
        (f"{FULLRES}/cases/3", 26, '"case_3",', '"case_3"'),
        (f"{FULLRES}/batch_size", 54, '"batch_size": 2', "2"),
    ],
)
def test_lines_of_nnunet(indent: int, pointer: str, line: int, shown: str, value: str) -> None:
    """nnU-Net writes each item of a list on its own line; short lists are joined."""
    assert marked(json.dumps(PLANS, indent=indent), pointer) == (line, shown, value)


def test_a_list_that_is_written_on_one_line() -> None:
    text = '{\n  "spacing": [ 2.5,0.8 ],\n  "x": 1\n}\n'
    assert marked(text, "/spacing/1") == (2, '"spacing": [ 2.5,0.8 ],', "0.8")
    assert marked(text.replace("\n", "\r\n"), "/x") == (3, '"x": 1', "1")


def test_a_document_on_one_line_is_cut() -> None:
    text = json.dumps({"a": "x" * 5000, "b": 7, "c": "y" * 5000})
    line, shown, value = marked(text, "/b")
    assert (line, value) == (1, "7")
    assert len(shown) <= 400


@pytest.mark.parametrize("pointer", ["", "/configurations", f"{FULLRES}/cases", f"{FULLRES}/missing/0", "/missing"])
def test_what_is_on_no_line_has_no_excerpt(pointer: str) -> None:
    assert json_document.parse(json.dumps(PLANS, indent=4).encode(), "P.json").excerpt(pointer) is None


def test_excerpts_of_a_long_document() -> None:
    """Thousands of them, of which each reads only its value: otherwise this takes minutes."""
    splits = [{"train": [f"case_{number}", "zz"], "val": []} for number in range(20_000)]
    document = json_document.parse(json.dumps(splits).encode(), "splits_final.json")
    for number in range(2000):
        excerpt = document.excerpt(f"/{number}/train/1")
        assert excerpt is not None
        assert excerpt.text[excerpt.start :][: excerpt.length] == '"zz"'


def test_of_duplicate_keys_the_last_counts() -> None:
    assert marked('{\n"a": 1,\n"a": 2\n}', "/a") == (3, '"a": 2', "2")


def test_toml() -> None:
    text = '[tool.plansguard]\nignore = [\n  { rule = "PG101", reason = "x" },\n]\n'
    excerpt = toml_document.parse(text.encode(), "pyproject.toml").excerpt("/tool/plansguard/ignore")
    assert excerpt is not None
    assert (excerpt.line, excerpt.text, excerpt.start, excerpt.length) == (2, "ignore = [", 0, 6)
