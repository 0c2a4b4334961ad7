"""Parts of messages: counts, values, lists of names, shell quoting."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import pack, unpack
from typing import Any

#: Longer values are cut in messages.
_LONGEST_VALUE = 80
_LONGEST_PAIR = 40
#: Characters; Linux opens no longer path.
_LONGEST_PATH = 4096
#: Enough significant digits for every float32, in which image headers store spacings.
_DIGITS = 9


class ShownValue(str):
    """The text of a JSON value, with the value for programs: of a text that was cut, the text itself."""

    value: Any

    @classmethod
    def of(cls, value: Any, text: str) -> ShownValue:
        """Return the text, cut after 80 characters."""
        if len(text) > _LONGEST_VALUE:
            value = text = text[: _LONGEST_VALUE - 3] + "..."
        shown = cls(text)
        shown.value = value
        return shown


def brief(value: Any) -> ShownValue:
    """A JSON value on one line, cut after 80 characters, with floats as `shortest` returns them."""
    return ShownValue.of(value, json.dumps(_short(value), ensure_ascii=False, default=str))


def exact(value: Any) -> ShownValue:
    """A JSON value on one line, cut after 80 characters, with all digits, for a user to write."""
    return ShownValue.of(value, json.dumps(value, ensure_ascii=False, default=str))


def both(before: Any, after: Any) -> tuple[ShownValue, ShownValue]:
    """Two values as `brief` returns them; with all digits where they would look the same."""
    texts = brief(before), brief(after)
    return texts if texts[0] != texts[1] else (exact(before), exact(after))


def both_or(before: Any, after: Any, absent: object, word: str) -> tuple[str, str]:
    """Two values as `both` returns them, with a word in place of one that is ``absent``."""
    texts = zip((before, after), both(before, after), strict=True)
    old, new = (word if value is absent else text for value, text in texts)
    return old, new


def shortest(value: float) -> float:
    """The float with the fewest digits that is the same float32, if ``value`` is one exactly; else ``value``.

    1.2000000476837158, as an image header has it, becomes 1.2.
    """
    try:
        exact = unpack("f", pack("f", value))[0] == value
    except OverflowError:
        return value
    if not exact:
        return value
    rounded = (float(f"{value:.{digits}g}") for digits in range(1, _DIGITS + 1))
    return next(one for one in rounded if unpack("f", pack("f", one))[0] == value)


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list) else value


def changed(name: object, before: Any, after: Any) -> str:
    """``NAME was BEFORE and is AFTER``; a value of None is written as "nothing"."""
    was, now = both_or(before, after, None, "nothing")
    return f"{name} was {was} and is {now}"


def counted(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_bytes(count: int) -> str:
    """A number of bytes in decimal units: ``3.1 MB``."""
    value, units = float(count), iter(("bytes", "kB", "MB", "GB"))
    unit = next(units)
    for larger in units:
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"


def listed(names: Sequence[str], shown: int = 3) -> str:
    """The first few names, and how many more there are: ``a, b, c and 2 more``."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def differ(names: Sequence[str]) -> str:
    """The names as the subject of a sentence: ``a differs``, ``a, b differ``; one of them where two are long."""
    shown = 2 if len(", ".join(names[:2])) <= _LONGEST_PAIR else 1
    return f"{listed(names, shown)} {'differs' if len(names) == 1 else 'differ'}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The most similar of ``names``, or None if none is similar."""
    from difflib import get_close_matches  # slow to import, and needed only in error messages

    return next(iter(get_close_matches(name, names, 1)), None)


def shortened(text: str) -> str:
    """The text with a gap in every word that is longer than any path can be."""
    if len(text) <= _LONGEST_PATH:
        return text
    words = text.split(" ")
    return " ".join(word if len(word) <= _LONGEST_PATH else f"{word[:100]}...{word[-100:]}" for word in words)


def quoted(path: Path | str) -> str:
    """A path, quoted for a shell."""
    return shlex.quote(str(path))


def whole(text: str | None) -> int | None:
    """The whole number that ``int`` reads in a text; None where it reads none."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def times(values: Sequence[float]) -> ShownValue:
    """``[64, 128, 128]`` as ``64 x 128 x 128``."""
    text = " x ".join(str(value) if isinstance(value, int) else f"{value:g}" for value in values)
    return ShownValue.of(list(values), text)
