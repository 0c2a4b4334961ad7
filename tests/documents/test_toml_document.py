"""The places of keys in TOML documents."""

from __future__ import annotations

import pytest

from plansguard.core.errors import UnreadableDocument
from plansguard.documents.toml_document import parse

TEXT = '''\
# tool.plansguard = "no"
title = """
[tool.plansguard]
fail-on = 'x' """
[project]
"a.b" = [ # comment ]
  1,
  [2, "], ["], # more
  {x = [3]},
]

  [tool.plansguard]
fail-on = "info"   # [why]
severity.PG101 = "info"
severity . "patch.x" = 'info'
[[tool.plansguard.ignore]]
rule = "PG1"
[tool . plansguard . ignore.deep]
x = 1
[[tool.plansguard.ignore]]
rule = """
PG2"""
until = 2030-01-01
'''


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        ("/title", (2, 1)),
        ("/project", (5, 1)),
        ("/project/a.b", (6, 1)),
        ("/project/a.b/0", (7, 3)),
        ("/project/a.b/1", (8, 3)),
        ("/project/a.b/1/1", (8, 3)),
        ("/project/a.b/2/x", (9, 3)),
        ("/project/a.b/3", (6, 1)),
        ("/tool/plansguard", (12, 3)),
        ("/tool/plansguard/fail-on", (13, 1)),
        ("/tool/plansguard/severity/PG101", (14, 1)),
        ("/tool/plansguard/severity/patch.x", (15, 1)),
        ("/tool/plansguard/ignore", (16, 1)),
        ("/tool/plansguard/ignore/0/rule", (17, 1)),
        ("/tool/plansguard/ignore/0/deep/x", (19, 1)),
        ("/tool/plansguard/ignore/1", (20, 1)),
        ("/tool/plansguard/ignore/1/rule", (21, 1)),
        ("/tool/plansguard/ignore/1/until", (23, 1)),
        ("/tool/plansguard/unknown", (12, 3)),
        ("/nothing", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_positions(pointer: str, place: tuple[int, int] | None, line_end: str) -> None:
    assert parse(TEXT.replace("\n", line_end).encode(), "x.toml").position(pointer) == place


@pytest.mark.parametrize(
    ("raw", "reason", "line"),
    [
        (b"a = 1\nb = ", "this is no TOML: ", 2),
        (b"a = 1\na = 2\n", "this is no TOML: ", 2),
        (b"a = 1\nb = '\xff'", "the byte 0xff at offset 11 is not UTF-8", 2),
        (b"\xef\xbb\xbfa = 1", "the file starts with a byte order mark", 1),
        ("a = 1".encode("utf-16"), "the file is encoded as UTF-16, not as UTF-8", 1),
        (b"[a", "this is no TOML: ", 1),
    ],
)
def test_faults(raw: bytes, reason: str, line: int | None) -> None:
    with pytest.raises(UnreadableDocument) as raised:
        parse(raw, "x.toml")
    assert reason in raised.value.reason
    assert "(at " not in raised.value.reason
    assert line is None or raised.value.line == line
