"""What plans of a dataset need before weights can be fine-tuned with them: the result of ``plansguard fit``."""

from __future__ import annotations

from typing import NamedTuple

LOADS, PREPROCESS, MIGRATE, ADAPT, IMPOSSIBLE, UNKNOWN = (
    "loads",
    "preprocess again",
    "migrate first",
    "adapt first",
    "impossible",
    "cannot be told",
)


class FitResult(NamedTuple):
    """What one dataset's plans need before weights can be fine-tuned with them; ``command`` is what to type.

    ``has_data`` is False where nothing is preprocessed for the configuration.
    """

    weights: str
    dataset: str
    plans: str
    configuration: str
    outcome: str
    reason: str
    command: str
    has_data: bool = True

    @property
    def needs(self) -> str:
        """The outcome in words for people, who preprocess for the first time, or again."""
        return self.outcome if self.has_data or self.outcome != PREPROCESS else "preprocess"
