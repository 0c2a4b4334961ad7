"""State of a process' random number generators, which a resumed training restores."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Return the state; those of loader workers are not accessible: with workers, batches differ after a resume."""
    numpy_state: Any = np.random.get_state()
    name, keys, *rest = numpy_state
    state = {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *map(float, rest)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random(state: dict[str, Any]) -> None:
    """Restore a state."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), int(position), int(has_gauss), gauss))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state:
        with suppress(RuntimeError):  # no GPU here, or another kind
            torch.cuda.set_rng_state(state["cuda"].cpu())
