"""Processes with which nnU-Net augments, their queues, and the memory that both take.

Source: utilities/default_n_proc_DA.py and get_dataloaders of nnUNetTrainer in nnU-Net 2.8.1,
dataloading/nondet_multi_threaded_augmenter.py of batchgenerators. The factors were measured with both, on the CPU.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from plansguard.core.text import whole
from plansguard.nnunet.constants import DA_PROCESSES

_DEFAULT_PROCESSES = 12
#: Bytes of a voxel of one channel (float32) and of the segmentation (int16).
_BYTES, _SEGMENTATION_BYTES = 4, 2
#: The least memory of one process, in batches. Nine processes on two cores, where most of them wait, took 4 to 5 on
#: average; three with a core each took 13, and 17 at most.
_BATCHES_IN_PROCESS = 4
#: Memory of the main process with torch and nnU-Net on the CPU, without files that the system can read again.
_MAIN_PROCESS = 550_000_000
#: Open files of the main process besides those of batches: 11.
_FILES_BESIDES = 11


class Loader(NamedTuple):
    """One of the two loaders: its processes, and the batches that each of its two queues has room for."""

    processes: int
    cached: int


class Augmentation(NamedTuple):
    """The loaders of training and validation of one GPU, and the bytes of a batch."""

    training: Loader
    validation: Loader
    batch: int

    @property
    def processes(self) -> int:
        """Processes of both loaders."""
        return self.training.processes + self.validation.processes

    def shared_batches(self, *, pinned: bool) -> int:
        """Batches that are in shared memory while the queues are full.

        One loader has those of the queue from its processes, and one that is taken out of it. With ``pinned``, for
        CUDA, they are copied into other memory then. On the CPU as many again wait for the training, or are used.
        """
        one_side = self.training.cached + 1 + self.validation.cached + 1
        return one_side if pinned else 2 * one_side

    def memory(self, *, pinned: bool) -> int:
        """The least bytes that the main process, the others and the full queues take."""
        batches = _BATCHES_IN_PROCESS * self.processes + self.shared_batches(pinned=pinned)
        return _MAIN_PROCESS + batches * self.batch

    def open_files(self, stages: int) -> int:
        """Open files of the main process: the images of each batch and their segmentations of every resolution."""
        batches = self.training.cached + 2 + self.validation.cached + 2
        return batches * max(2, stages) + _FILES_BESIDES


def processes(environment: Mapping[str, str]) -> int:
    """The processes that augment for the training on one GPU."""
    asked = whole(environment.get(DA_PROCESSES))
    return min(_DEFAULT_PROCESSES if asked is None else asked, os.cpu_count() or 1)


def augmentation(number: int, batch: int) -> Augmentation:
    """The loaders for a number of processes and the bytes of a batch."""
    training, validation = Loader(number, max(6, number // 2)), Loader(max(1, number // 2), max(3, number // 4))
    return Augmentation(training, validation, batch)


def batch_bytes(batch_size: int, channels: int, patch_size: Sequence[float]) -> int:
    """The least bytes of a batch: without the segmentations of lower resolutions."""
    return batch_size * math.prod(map(int, patch_size)) * (channels * _BYTES + _SEGMENTATION_BYTES)
