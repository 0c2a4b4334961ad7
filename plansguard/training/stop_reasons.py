"""How a training ends that may not begin or go on, inside nnU-Net's own commands."""

from __future__ import annotations

from plansguard.core.errors import PlansguardError

STOPPED = 75
"""The exit code of a training that was told to stop and left a checkpoint: continue it with ``--c``.

It is EX_TEMPFAIL of sysexits.h, which means: not done, try again later. Neither nnU-Net nor a shell uses it.
"""


class Refused(PlansguardError, SystemExit):
    """A training that must not begin or go on, and why.

    nnU-Net's commands know nothing of our errors. As SystemExit this one ends them with its message on standard error
    and exit code 1, and without a traceback.
    """

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(reason, hint=hint)
        self.code = f"plansguard: {reason}" + (f"\n  {hint}" if hint else "")


class Stopped(SystemExit):
    """A training that was told to stop, and left a checkpoint at the step it had reached."""

    def __init__(self) -> None:
        super().__init__(STOPPED)
