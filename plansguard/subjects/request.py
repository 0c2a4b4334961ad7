"""The request: which plans, configuration and weights are checked, and how much of the data is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from plansguard.nnunet import constants, printed_commands
from plansguard.nnunet.constants import TRAIN
from plansguard.nnunet.printed_commands import DEFAULT_DEVICE, FROM_SCRATCH, Word
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.artefacts.data.workers import Pool


Item = TypeVar("Item")

#: Selects the cases of which the values are read.
DEFAULT_SEED = 12345
#: Called with what is counted, how many are done, and of how many.
Progress = Callable[[str, int, int], None]


def tracked(items: Sequence[Item], what: str, progress: Progress | None) -> Iterator[Item]:
    """Yield the items, and report before each, and at the end, how many are done."""
    for done, item in enumerate(items):
        if progress is not None:
            progress(what, done, len(items))
        yield item
    if progress is not None:
        progress(what, len(items), len(items))


@dataclass(frozen=True)
class Reading:
    """How much of the preprocessed arrays is read, and by which workers.

    ``depth`` is ``none``, ``headers`` (of every case), ``sample`` (also the values of a few cases, chosen by ``seed``)
    or ``all`` (also the values of every case).
    """

    depth: str = "headers"
    seed: int = DEFAULT_SEED
    pool: Pool | None = field(default=None, compare=False)

    def sample(self, items: Sequence[Item], size: int = 8) -> list[Item]:
        """A few of ``items`` in their order; the same ones for the same seed."""
        from random import Random  # slow to import, and rarely needed

        chosen = set(Random(self.seed).sample(range(len(items)), min(size, len(items))))
        return [item for index, item in enumerate(items) if index in chosen]


@dataclass(frozen=True)
class TypedOptions:
    """Words of a typed command that do not describe the training; the commands that fixes print repeat them.

    ``shared`` are options that ``plansguard train`` and ``plansguard gate`` have, ``accepting`` those of them that
    accept findings of this training, and ``stepping`` those that only ``plansguard train`` has. ``unknown`` are
    arguments that nnU-Net 2.8.1 does not have and another version may have. ``in_road`` is whether ``plansguard
    finetune`` was typed, of which this training is a step.
    """

    shared: tuple[str, ...] = ()
    accepting: tuple[str, ...] = ()
    stepping: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    in_road: bool = False

    @property
    def of_gate(self) -> tuple[str, ...]:
        """The options of ``plansguard gate``."""
        return (*self.shared, *self.accepting)

    @property
    def of_another_training(self) -> TypedOptions:
        """Those for a training that has to be made before this one, even for a judgement of this one."""
        return replace(self, shared=tuple(word for word in self.shared if word != "--dry-run"))


@dataclass(frozen=True)
class Request:
    """The options of a check: ``-p`` and ``-c`` (None means all), and ``-pretrained_weights``.

    ``trainer`` (``-tr``) is that of a training, and ``resumes`` is whether a check is one of trainings that may have
    begun. ``fold``, ``device``, ``gpus`` and ``typed`` are those of a training that is about to start,
    ``flags`` nnU-Net's other than ``--c`` and ``--val``. ``launcher`` are the words that start nnU-Net's command; None
    for ``plansguard train``. ``starts`` is whether any command of nnU-Net is about to start: what a check reports for
    information is not repeated then. ``processes`` are those of a preprocessing that is about to start on this machine.
    """

    plans: str | None = None
    configuration: str | None = None
    weights: Checkpoint | None = None
    reading: Reading = field(default_factory=Reading)
    trainer: str | None = None
    fold: str | None = None
    device: str = DEFAULT_DEVICE
    gpus: int = 1
    flags: tuple[str, ...] = ()
    typed: TypedOptions = field(default_factory=TypedOptions)
    launcher: tuple[str, ...] | None = (TRAIN,)
    starts: bool = False
    processes: int | None = None
    resumes: bool = False

    @property
    def base_trainer(self) -> str | None:
        """The trainer's name without its number of steps."""
        return None if self.trainer is None else constants.base_trainer(self.trainer)

    def training(
        self,
        dataset: str,
        configuration: Word,
        fold: Word,
        *,
        trainer: str,
        plans: Word | None = None,
        continues: bool = False,
        validates: bool = False,
        weights: Word | None = None,
        options: Sequence[str] = (),
    ) -> str:
        """A training by the same program, with the options that were typed; ``options`` are more of plansguard.

        ``plansguard train`` takes the options of a step trainer, nnU-Net's command its name.
        """
        from plansguard.training.trainer_name import known_step_name, options_of  # only where a training is printed

        typed, steps = self.typed, known_step_name(trainer) if self.launcher is None else None
        schedule = None if steps is None else options_of(steps)
        stepping = () if schedule is None else typed.stepping
        if validates and "--resume" in stepping:
            at = stepping.index("--resume")
            stepping = stepping[:at] + stepping[at + 2 :]
        # both continue without it
        continues = continues and not {"--extend-to", "--resume"}.intersection((*(schedule or ()), *stepping))
        flags = [*self.flags, *["--c"] * continues, *["--val"] * validates]
        flags += typed.unknown if schedule is None else ()
        excluded = () if weights is None else (FROM_SCRATCH,)
        accepting = [word for word in typed.accepting if word not in excluded]
        return printed_commands.train(
            *(dataset, configuration, fold),
            plans=plans,
            trainer=trainer if trainer != constants.DEFAULT_TRAINER else None,
            schedule=schedule,
            device=self.device,
            gpus=self.gpus,
            flags=flags,
            weights=weights,
            options=[*options, *typed.shared, *accepting, *stepping],
            launcher=self.launcher or (TRAIN,),
        )

    def asks_for(self, configuration: Configuration) -> bool:
        """Whether this configuration is the one meant: it was named, or the weights were trained with it."""
        named = self.configuration or (self.weights.configuration if self.weights is not None else None)
        return named == configuration.name

    def includes(self, plans: Plans, configuration: Configuration) -> bool:
        """Whether a configuration is to be checked."""
        return self.plans in (None, plans.identifier) and self.configuration in (None, configuration.name)

    @property
    def everything(self) -> bool:
        """Whether all plans and configurations are meant."""
        return self.plans is None and self.configuration is None
