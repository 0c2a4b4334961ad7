"""Program for torchrun: the launcher, without the final validation, which would load torch again."""

from __future__ import annotations

import os
import sys

from plansguard.training.launch import launch
from plansguard.training.options import read_options
from tests.support.stepping import with_log

if __name__ == "__main__":
    from plansguard.training import trainer

    trainer.StepTrainer.perform_actual_validation = lambda *_: None  # type: ignore[method-assign]
    begun = trainer.StepTrainer.run_training

    def run_logged(self: trainer.StepTrainer) -> None:
        """Write a file that shows the test that steps are made."""
        with_log(self)
        begun(self)

    trainer.StepTrainer.run_training = run_logged  # type: ignore[method-assign]
    sys.exit(launch(sys.argv[1:], read_options(os.environ)))
