"""Cache the results of pure functions by the content of their arguments."""

from __future__ import annotations

import marshal
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Result = TypeVar("Result")
Function = Callable[..., Result]

#: Results that a function keeps; beyond, it starts again.
_MOST = 1024
#: Arguments of more bytes are not worth keeping: those of real plans have 1,000.
_LARGEST = 8192
#: The version of marshal that writes equal values in the same way, whatever else refers to them.
_WITHOUT_REFERENCES = 2


def content(value: Any) -> bytes:
    """Return bytes that are the same for equal JSON values of equal types, with their keys in the same order.

    ValueError where the value is nested a thousand levels deep.
    """
    return marshal.dumps(value, _WITHOUT_REFERENCES)


def by_content(function: Function[Result]) -> Function[Result]:
    """Compute a pure function of JSON values once for each content: many plans have the same networks.

    Values of different types are different: 1, 1.0 and true. So are objects whose keys have another order. The result
    is shared, and must not be changed.
    """
    results: dict[bytes, Result] = {}

    @wraps(function)
    def known(*values: Any) -> Result:
        try:
            key = content(values)
        except ValueError:
            return function(*values)
        if key not in results:
            if len(key) > _LARGEST:
                return function(*values)
            if len(results) >= _MOST:
                results.clear()
            results[key] = function(*values)
        return results[key]

    return known
