"""What plans of a dataset need before weights can be fine-tuned with them: the result of ``plansguard fit``."""

from __future__ import annotations

from typing import NamedTuple

LOADS, PREPROCESS, MIGRATE, IMPOSSIBLE, UNKNOWN = (
    "loads",
    "preprocess again",
    "migrate first",
    "impossible",
    "cannot be told",
)


class FitResult(NamedTuple):
    """What one dataset's plans need before weights can be fine-tuned with them; ``command`` is what to type."""

    weights: str
    dataset: str
    plans: str
    configuration: str
    outcome: str
    reason: str
    command: str
