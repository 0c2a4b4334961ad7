"""Words that messages on every floor are made of."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def counted(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that was probably meant."""
    from difflib import get_close_matches  # only where something is wrong already

    return next(iter(get_close_matches(name, names, 1)), None)


#: Longer values are cut in messages; the file itself shows the rest.
_LONGEST_VALUE = 80
#: As many digits as a float32 has: headers store spacings so.
_DIGITS = 7


def brief(value: Any, *, exact: bool = False) -> str:
    """A JSON value on one line, cut where it gets long; 1.2000000476837158 reads 1.2 unless ``exact``."""
    text = json.dumps(value if exact else _rounded(value), ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def listed(names: Sequence[str], shown: int = 3) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def quoted(path: Path | str) -> str:
    """A path as one types it in a shell."""
    return shlex.quote(str(path))


def times(values: Sequence[float]) -> str:
    """``[64, 128, 128]`` as ``64 x 128 x 128``."""
    return " x ".join(str(value) if isinstance(value, int) else f"{value:g}" for value in values)
