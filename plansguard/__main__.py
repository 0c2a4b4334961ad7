"""Entry point of ``plansguard`` and ``python -m plansguard``."""

from __future__ import annotations

import gc
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

#: The file name of the code that loads modules, in every frame of it.
_LOADER = "<frozen importlib._bootstrap>"


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback, also while modules are loaded."""
    # A shell lets its background jobs ignore the signal.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    # What is loaded at the start stays to the end: searching it for garbage costs a fifth of a short check.
    gc.disable()
    try:
        from plansguard.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(128 + 2)
    finally:
        gc.freeze()


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; while a module is loaded, end at once.

    There pydantic makes another exception of it, and the callbacks of the module locks drop it.
    """
    while frame is not None:
        if frame.f_code.co_filename == _LOADER:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
