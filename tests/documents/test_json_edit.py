"""Edits of one value in the text of a JSON document."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.documents.json_document import pointer
from plansguard.documents.json_edit import with_value


@pytest.mark.parametrize(
    ("before", "place", "value", "after"),
    [
        ('{"a": 1}', "/a", 2, '{"a": 2}'),
        ('{\n\t"a" : "x",\r\n  "b":1}', "/a", "y", '{\n\t"a" : "y",\r\n  "b":1}'),
        ("[0 ,1,\t2]", "", [0, 2, 1], "[0 ,2,\t1]"),  # only the items that differ
        ('{"t": [\n  0,\n  1\n]}', "/t", [1, 0], '{"t": [\n  1,\n  0\n]}'),
        ('{"t": [0, 1]}', "/t", [0, 1, 2], '{"t": [0, 1, 2]}'),
        ('{\r\n  "t": [\r\n    0\r\n  ]\r\n}', "/t", [1, 2], '{\r\n  "t": [\r\n    1,\r\n    2\r\n  ]\r\n}'),
        ('{"a": {"b~/c": null}} \n', "/a/b~0~1c", "x", '{"a": {"b~/c": "x"}} \n'),
        ('{"a": 1, "a": 2}', "/a", 3, '{"a": 1, "a": 3}'),  # the last one counts
        ('{"a": 1.50, "b": 1e2}', "/b", 1, '{"a": 1.50, "b": 1}'),
        ('{"a": 1}', "/a", True, '{"a": true}'),  # equal in Python
        ('{"ü": "x"}', "/ü", "ä", '{"ü": "ä"}'),
        ('{"u": "x"}', "/u", "ä", '{"u": "\\u00e4"}'),
    ],
)
def test_a_value_is_replaced(before: str, place: str, value: Any, after: str) -> None:
    assert with_value(before.encode(), place, value).decode() == after


@pytest.mark.parametrize(
    ("before", "place", "value", "after"),
    [
        ('{"a": 1, "b": 2}', "/c", [1], '{"a": 1, "b": 2, "c": [1]}'),
        ('{"a":1,"b":2}', "/c", [1, 2], '{"a":1,"b":2,"c":[1, 2]}'),
        ('{"a": 1}', "/c", [1], '{"a": 1, "c": [1]}'),
        ("{}", "/c", [1], '{"c": [1]}'),
        (
            '{\n    "a": {\n        "x": []\n    }\n}',
            "/c",
            [1],
            '{\n    "a": {\n        "x": []\n    },\n    "c": [1]\n}',
        ),
        ('{\n  "a": [\n    1\n  ]\n}\n', "/c", [1], '{\n  "a": [\n    1\n  ],\n  "c": [\n    1\n  ]\n}\n'),
        ('{\r\n\t"a": [1],\r\n\t"b": 2\r\n}', "/c", [3], '{\r\n\t"a": [1],\r\n\t"b": 2,\r\n\t"c": [3]\r\n}'),
    ],
)
def test_a_member_is_added_at_the_end(before: str, place: str, value: Any, after: str) -> None:
    assert with_value(before.encode(), place, value).decode() == after


@pytest.mark.parametrize("place", ["/b/c", "/a/0", "/l/7", "/l/-", "/l/x", "/l/0/x"])
def test_a_pointer_that_leads_nowhere(place: str) -> None:
    with pytest.raises(KeyError):
        with_value(b'{"a": 1, "l": [1]}', place, 2)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=4), part, max_size=4)
)
LAYOUTS = st.fixed_dictionaries(
    {"indent": st.sampled_from([None, 0, 1, 4, "\t"]), "ensure_ascii": st.booleans(), "sort_keys": st.booleans()}
)


def places(value: Any, here: str = "") -> list[str]:
    """The pointers to all parts of a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, part in items for place in places(part, here + pointer(key)))]


@given(value=VALUES, new=VALUES, layout=LAYOUTS, windows=st.booleans(), data=st.data())
def test_nothing_else_changes(value: Any, new: Any, layout: dict[str, Any], windows: bool, data: st.DataObject) -> None:
    """What is before and behind the value stays, and the value can be put back."""
    text = json.dumps(value, **layout)
    raw = (text.replace("\n", "\r\n") if windows else text).encode("utf-8", "surrogatepass")
    place = data.draw(st.sampled_from(places(value)))
    try:
        raw.decode()
    except UnicodeDecodeError:
        return
    changed = with_value(raw, place, new)
    expected, tokens = json.loads(raw), place.split("/")[1:]
    assert json.loads(with_value(changed, place, _at(expected, tokens))) == expected
    assert _at(json.loads(changed), tokens) == new


def _at(value: Any, tokens: list[str]) -> Any:
    for token in tokens:
        key = token.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value
