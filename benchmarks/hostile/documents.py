"""Hostile documents: mutated good ones, with values and texts that no program writes for nnU-Net."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mutation"))

import mutants

#: The most edits of one document.
MOST_EDITS = 4
#: Stands for a text that `json.dumps` does not write, until the document is a text.
_RAW = "hostile-raw-{}"
#: Values that `json.load` reads and `json.dumps` does not write, or is too shallow for.
_RAW_VALUES = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1e-400",
    "-0",
    "-0.0",
    "9" * 400,
    "[" * 150 + "]" * 150,
    '{"a":' * 190 + "1" + "}" * 190,
    '"\\ud800"',
    '"a\\udfffb"',
    '{"\\ud83d": 1}',
    '{"a": 1, "a": [2]}',
)
#: Values that `json.load` refuses.
_REFUSED = (
    "-" + "9" * 5000,  # Python refuses to convert it
    "[" * 5000 + "]" * 5000,
    '{"a":' * 3000 + "1" + "}" * 3000,
    *("01", "0x10", "True", "'text'", ""),
)
_VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2**31, 2**63, 2**64, 10**18, 10**100, 10**308, -(10**30), 1e308, -1e308, 5e-324, 0.1, 1e-9),
    *(None, True, False, [], {}, [[]], [{}], {"": ""}, {"a": {"b": {"c": []}}}, [None], [[[[1]]]], [1, "a", None]),
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\n",
        "\u2028",
        "\x7f",
        "\U0001f600",
        "é" * 300,
        "a" * 300,
        "a" * 100_000,
        "{number}",
        "%s",
    ),
    *(
        "..",
        ".",
        "../..",
        "../../../etc/passwd",
        "/",
        "/etc",
        "C:\\",
        "a/b",
        "~",
        "-rf",
        "$(id)",
        "`id`",
        "; ls",
        "con",
    ),
    *("True", "null", "NaN", "1e400", "2d", "3d_fullres", "nnUNetPlans", "torch.nn", "torch.nn.Conv3d", "."),
    *("/".join(["d" * 200] * 30), "../" * 2000, "__class__", "a" * 5000),
    *([1] * 5000, ["x"] * 3000, [[1, 1, 1]] * 2000, [0, 0, 0], [-1, -1, -1], [1e308] * 3, [10**30] * 3, [2**40] * 3),
    *({str(index): index for index in range(2000)}, {"a" * 3000: 1}, {"\0": 1}, {"../x": 1}, {"inherits_from": "2d"}),
)


def document(kind: str, good: Any, chance: random.Random) -> bytes:
    """Return the bytes of a mutant with one to four edits."""
    value, raw = good, []
    for _ in range(chance.randint(1, MOST_EDITS)):
        if chance.random() < 0.5 and isinstance(value, (dict, list)) and value:
            value = mutants.mutant(kind, value, chance).document
        else:
            value = _with_hostile_value(value, chance, raw)
    text = json.dumps(value, indent=chance.choice((4, 4, 4, None)))
    for index, literal in enumerate(raw):
        text = text.replace(json.dumps(_RAW.format(index)), literal)
    if chance.random() < 0.06:
        text = chance.choice(_TEXT_EDITS)(text, chance)
    written = text.encode("utf-8", "surrogatepass")
    return chance.choice(_BYTE_EDITS)(written, chance) if chance.random() < 0.03 else written


def _with_hostile_value(value: Any, chance: random.Random, raw: list[str]) -> Any:
    """Return the value with a hostile one, or a hostile key, at some place; ``raw`` gets texts to be filled in."""
    value = json.loads(json.dumps(value))
    places = list(_places(value))
    if not places:
        return _hostile(chance, raw)
    parent, token = chance.choice(places)
    if isinstance(parent, dict) and chance.random() < 0.15:
        key = chance.choice([text for text in _VALUES if isinstance(text, str)])
        parent[key] = parent.pop(token) if chance.random() < 0.5 else _hostile(chance, raw)
    elif isinstance(parent, list) and chance.random() < 0.2:
        parent.insert(token, _hostile(chance, raw))
    else:
        parent[token] = _hostile(chance, raw)
    return value


def _hostile(chance: random.Random, raw: list[str]) -> Any:
    """Return a hostile value."""
    if chance.random() < 0.2:
        raw.append(chance.choice(_REFUSED if chance.random() < 0.1 else _RAW_VALUES))
        return _RAW.format(len(raw) - 1)
    return chance.choice(_VALUES)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parent and the key or index of every value."""
    for token in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, token
        yield from _places(value[token])


def _duplicate_key(text: str, chance: random.Random) -> str:
    """Give one key the name of another."""
    keys = [part for part in text.split('"')[1::2] if part][:200] or ["a"]
    return text.replace(f'"{chance.choice(keys)}":', f'"{chance.choice(keys)}":', 1)


def _cut(text: str, chance: random.Random) -> str:
    """End somewhere."""
    return text[: chance.randrange(len(text) + 1)]


def _with_stray(text: str, chance: random.Random) -> str:
    """Put a text in that JSON does not have, or a line end that it has."""
    stray = chance.choice((",", "// a comment\n", "'", "\r\n", "\0", "\ufeff", "}", "{", "\u2028", '"'))
    place = chance.randrange(len(text) + 1)
    return text[:place] + stray + text[place:]


_TEXT_EDITS = (_duplicate_key, _duplicate_key, _cut, _with_stray)


def _flipped(raw: bytes, chance: random.Random) -> bytes:
    """Change one bit."""
    changed = bytearray(raw or b"x")
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _encoded_otherwise(raw: bytes, chance: random.Random) -> bytes:
    """Return the text in an encoding other than UTF-8, or with bytes that are none of it."""
    text = raw.decode("utf-8", "surrogatepass")
    return chance.choice(
        (
            b"\xef\xbb\xbf" + raw,
            text.encode("utf-16", "surrogatepass"),
            b"\0" * chance.randrange(1, 5000) + raw,
            raw[:50] + b"\xff\xfe\xed\xa0\x80" + raw[50:],
        )
    )


_BYTE_EDITS = (_flipped, _encoded_otherwise)
