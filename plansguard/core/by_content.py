"""Share JSON values of equal content, with the results of pure functions of them."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, TypeVar

Result = TypeVar("Result")

#: Values that are shared; beyond, it starts again.
_MOST = 1024
#: Values of more bytes are not worth keeping: those of real plans have 1,000.
_LARGEST = 8192
#: The version of marshal that writes equal values in the same way, whatever else refers to them.
_WITHOUT_REFERENCES = 2


class Shared:
    """A JSON value that must not be changed, and the results of functions of it, by function and further arguments."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.results: dict[Hashable, Any] = {}


_shared: dict[bytes, Shared] = {}


def content(value: Any) -> bytes:
    """Return bytes that are the same for equal JSON values of equal types, with their keys in the same order.

    ValueError where the value is nested a thousand levels deep.
    """
    return marshal.dumps(value, _WITHOUT_REFERENCES)


def shared(value: Any) -> Shared:
    """Return one object for all values of this content: many plans have the same networks.

    Values of different types are different: 1, 1.0 and true. So are objects whose keys have another order.
    """
    try:
        key = content(value)
    except ValueError:
        return Shared(value)
    if key not in _shared:
        if len(key) > _LARGEST:
            return Shared(value)
        if len(_shared) >= _MOST:
            _shared.clear()
        _shared[key] = Shared(value)
    return _shared[key]


def by_content(function: Callable[..., Result]) -> Callable[..., Result]:
    """Compute a pure function of a JSON value once for each content, and for each of its further arguments.

    The function that is returned takes the value as Shared. The result is shared as well, and must not be changed.
    """

    @wraps(function)
    def known(value: Shared, *arguments: Hashable) -> Result:
        key = function, arguments
        results = value.results
        if key not in results:
            results[key] = function(value.value, *arguments)
        result: Result = results[key]
        return result

    return known
