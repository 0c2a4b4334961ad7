"""Single mutations of good documents: one key or value is changed, as a typing error or a wrong edit would."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

Path = tuple[str | int, ...]

#: Documents by how often they are mutated.
WEIGHTS = {"plans": 6, "dataset.json": 2, "fingerprint": 1, "splits": 1}


class Mutant(NamedTuple):
    """A mutation: the document, the place, the operator, what it wrote, and the whole mutated document.

    ``places`` are the pointers at which a finding names it: the key's old and new name.
    """

    kind: str
    place: Path
    operator: str
    written: Any
    document: Any
    places: tuple[str, ...]


def mutant(kind: str, document: Any, random: random.Random) -> Mutant:
    """Return a mutant of a document. Every field is as likely as any other, whatever the number of its items."""
    fields: dict[Path, list[Path]] = {}
    for place in _places(document):
        fields.setdefault(_field(place), []).append(place)
    while True:
        place = random.choice(fields[random.choice(sorted(fields, key=str))])
        mutated = copy.deepcopy(document)
        parent = mutated
        for token in place[:-1]:
            parent = parent[token]
        name = random.choice(_OPERATORS)
        change = getattr(_Operators, name)(parent, place[-1], random)
        if (change is not None and mutated != document) or _retyped(change, parent, place, document):
            new = (*place[:-1], change.token)
            pointers = tuple(dict.fromkeys((pointer(place), pointer(new))))
            return Mutant(kind, place, name, change.written, mutated, pointers)


def pointer(place: Path) -> str:
    """Return the JSON pointer of a place."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in place)


def field_of(mutated: Mutant) -> str:
    """Return the field of a mutant, without names of configurations and indices."""
    return "/".join(map(str, _field(mutated.place)))


class _Change(NamedTuple):
    """The key or index after the change, and what was written."""

    token: str | int
    written: Any


def _retyped(change: _Change | None, parent: Any, place: Path, document: Any) -> bool:
    """Return whether a value has another type but is equal: 1 and 1.0, 0 and False."""
    if change is None or change.token != place[-1]:
        return False
    before = document
    for token in place:
        before = before[token]
    try:
        return type(parent[change.token]) is not type(before)
    except (KeyError, IndexError):
        return False


def _places(value: Any, above: Path = ()) -> Iterator[Path]:
    """Yield the place of every key and item."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for token, item in entries:
        yield (*above, token)
        yield from _places(item, (*above, token))


def _field(place: Path) -> Path:
    """Return a place with ``*`` for indices and for names that are free."""
    free = {("configurations",), ("labels",), ("channel_names",)}
    return tuple(
        "*" if isinstance(token, int) or token.isdecimal() or place[:index] in free else token
        for index, token in enumerate(place)
    )


def _misspelt(word: str, random: random.Random) -> str:
    index = random.randrange(len(word)) if word else 0
    kind = random.randrange(4)
    if kind == 0:
        return word[:index] + word[index + 1 :]
    if kind == 1:
        return word + word[-1:]
    if kind == 2 and len(word) > 1:
        index = random.randrange(len(word) - 1)
        return word[:index] + word[index + 1] + word[index] + word[index + 2 :]
    return word.swapcase() if kind == 3 else word.replace("_", "", 1)


class _Operators:
    """Each changes the value of a key or index in its parent; None where it does not apply."""

    @staticmethod
    def delete(parent: Any, token: Any, _: random.Random) -> _Change | None:
        del parent[token]
        return _Change(token, "nothing")

    @staticmethod
    def rename(parent: Any, token: Any, random: random.Random) -> _Change | None:
        name = _misspelt(token, random) if isinstance(token, str) else token
        if name == token or name in parent:
            return None
        items = [(name if key == token else key, value) for key, value in parent.items()]
        parent.clear()
        parent.update(items)
        return _Change(name, name)

    @staticmethod
    def unknown_key(parent: Any, token: Any, random: random.Random) -> _Change | None:
        if not isinstance(parent, dict) or isinstance(parent[token], dict):
            return None
        name = random.choice(["comment", "_note", "version", _misspelt(str(token), random)])
        if name in parent:
            return None
        parent[name] = copy.deepcopy(parent[token])
        return _Change(name, name)

    @staticmethod
    def retype(parent: Any, token: Any, random: random.Random) -> _Change | None:
        value = parent[token]
        if isinstance(value, bool):
            choices = [str(value), str(value).lower(), int(value), None, [value]]
        elif isinstance(value, int):
            choices = [str(value), float(value), None, [value], bool(value)]
        elif isinstance(value, float):
            choices = [str(value), None, [value]]
        elif isinstance(value, str):
            choices = [None, [value], 3, {value: value}, True]
        elif isinstance(value, list):
            choices = [None, value[0] if value else "x", {}, ",".join(map(str, value)), [value]]
        elif isinstance(value, dict):
            choices = [None, [], list(value), "x", 3]
        else:
            choices = ["null", "None", 0, {}, True]
        parent[token] = random.choice(choices)
        return _Change(token, parent[token])

    @staticmethod
    def number(parent: Any, token: Any, random: random.Random) -> _Change | None:
        value = parent[token]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        parent[token] = random.choice([0, -1, -value, value + 1, value * 2, 6, 0.5, value + 0.5, 10**9])
        return _Change(token, parent[token])

    @staticmethod
    def word(parent: Any, token: Any, random: random.Random) -> _Change | None:
        if not isinstance(parent[token], str):
            return None
        value = parent[token]
        near = _misspelt(value, random)
        parent[token] = random.choice([near, near, value.upper(), value.lower(), "", f"{value} ", value[:-1]])
        return _Change(token, parent[token])

    @staticmethod
    def flip(parent: Any, token: Any, _: random.Random) -> _Change | None:
        if not isinstance(parent[token], bool):
            return None
        parent[token] = not parent[token]
        return _Change(token, parent[token])

    @staticmethod
    def items(parent: Any, token: Any, random: random.Random) -> _Change | None:
        value = parent[token]
        if not isinstance(value, list) or not value:
            return None
        choices = [value[:-1], [*value, copy.deepcopy(value[-1])], value[::-1], [], value[1:]]
        parent[token] = random.choice(choices)
        return _Change(token, parent[token])

    @staticmethod
    def emptied(parent: Any, token: Any, _: random.Random) -> _Change | None:
        if not isinstance(parent[token], dict) or not parent[token]:
            return None
        parent[token] = {}
        return _Change(token, {})

    @staticmethod
    def swap(parent: Any, token: Any, random: random.Random) -> _Change | None:
        """Exchange the value with that of another key of the same object."""
        others = [key for key in parent if key != token] if isinstance(parent, dict) else []
        if not others:
            return None
        other = random.choice(others)
        parent[token], parent[other] = parent[other], parent[token]
        return _Change(other, f"the value of {other}")


_OPERATORS: list[str] = [
    *("delete", "rename", "unknown_key", "retype", "retype", "retype", "number", "number", "word", "word"),
    *("flip", "items", "items", "emptied", "swap"),
]
Operator = Callable[[Any, Any, random.Random], "_Change | None"]
