"""Fingerprints of findings: the same in every copy of a workspace, on every machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plansguard.core.digest import sha256

_DATASET = re.compile(r"Dataset\d{3,}_.+")
#: A character of a path in a text; a path up to the folder of a dataset, and an absolute one up to its last part.
_IN_PATH = r"""[^\s"'`=:;,()\[\]/]"""
_ABOVE_DATASET = re.compile(rf"(?:{_IN_PATH}|/)*/(?=Dataset\d{{3,}}_)")
_ABOVE_NAME = re.compile(rf"(?<!{_IN_PATH})/(?:{_IN_PATH}+/)*")


def fingerprint(code: str, path: str, pointer: str, configuration: str | None, values: dict[str, Any]) -> str:
    """Return sixteen hexadecimal digits of what is wrong and where, without lines and the folders above a dataset."""
    import json

    above = [str(folder) for folder in Path(path).absolute().parents][:-1]
    parts = [
        code,
        place(path),
        pointer,
        configuration,
        {name: _portable(value, above) for name, value in values.items()},
    ]
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode())[:16]


def place(path: str) -> str:
    """Return a path from the folder of its dataset on; of a file elsewhere its name: folders differ between copies."""
    names = Path(path).absolute().parts
    start = next(_dataset_at(names), len(names) - 1)
    return "/".join(names[start:])


def dataset_in(path: str) -> str | None:
    """Return the name of the dataset that a path leads through, or None."""
    names = Path(path).absolute().parts
    return next((names[at] for at in _dataset_at(names)), None)


def _dataset_at(names: tuple[str, ...]) -> Iterator[int]:
    """Yield where names of datasets are, the last first."""
    return (at for at in reversed(range(len(names))) if _DATASET.fullmatch(names[at]))


def _portable(value: Any, above: list[str]) -> Any:
    """Return a value with the paths in its texts without the folders above, which other copies do not have."""
    if isinstance(value, dict):
        return {str(key): _portable(item, above) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item, above) for item in value]
    if not isinstance(value, str | Path):
        return value
    text = str(value).replace("'", "")  # only paths with blanks have quotes
    for folder in above:
        text = re.sub(rf"{re.escape(folder)}(?!{_IN_PATH})/?", "", text)
    return _ABOVE_NAME.sub("", _ABOVE_DATASET.sub("", text))
