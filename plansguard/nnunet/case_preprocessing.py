"""nnU-Net's preprocessing of one case, for workers on other machines that see the same files.

Workers and the caller get paths; nnU-Net's environment variables need not be set where the workers run. Source:
DefaultPreprocessor.run and preprocess_dataset, of which this is the part inside their processes.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

from plansguard.core import disk
from plansguard.core.digest import sha256
from plansguard.nnunet.constants import NNUNET_PACKAGE

#: Packages of which the versions decide what is written.
COMPARED = ("plansguard", NNUNET_PACKAGE, "blosc2")

#: A process preprocesses one case at a time, however many threads it has: its memory is that of one case.
_one_at_a_time = Lock()


class Inputs(NamedTuple):
    """What all cases of a configuration are preprocessed with: documents with their digests, and versions."""

    plans: str
    dataset_json: str
    digests: tuple[str, ...]
    versions: tuple[str | None, ...]
    configuration: str


class CaseTask(NamedTuple):
    """One case: its files, the folder of the data, and the folder in which it is written before it is whole."""

    inputs: Inputs
    name: str
    images: Sequence[str]
    label: str
    folder: str
    unfinished: str


class WorkerView(NamedTuple):
    """What a worker has: versions of ``COMPARED`` (None: not installed), and digests of files (None: not there)."""

    versions: tuple[str | None, ...]
    digests: tuple[str | None, ...]


def view(paths: Sequence[str]) -> WorkerView:
    """What this process has; a folder that is there has an empty digest. Imports nothing of nnU-Net."""
    return WorkerView(tuple(_version(name) for name in COMPARED), tuple(_digest(path) for path in paths))


def preprocess_case(case: CaseTask) -> None:
    """Preprocess a case by nnU-Net's ``run_case_save``, and put it into the folder of the data when it is whole.

    Each attempt writes into a folder of its own: nnU-Net cannot write over a file that a killed process left, and a
    worker that only seemed to be dead still writes. When the run has ended, its folder ``unfinished`` is gone, and what
    a worker still does for it fails.
    """
    with _one_at_a_time:
        preprocessor, plans, configuration, dataset_json = pickle.loads(_pickled(case.inputs))
        attempt = Path(case.unfinished, uuid4().hex)
        attempt.mkdir()
        try:
            files = (str(attempt / case.name), [*case.images], case.label)
            preprocessor.run_case_save(*files, plans, configuration, dataset_json)
            for name in disk.entry_names(attempt):
                (attempt / name).replace(Path(case.folder, name))
        finally:
            shutil.rmtree(attempt, ignore_errors=True)


def replaced_run(inputs: Inputs) -> str:
    """The name of the preprocessor if it does not preprocess case by case as nnU-Net's own does; empty if it does."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    preprocessor, *_ = pickle.loads(_pickled(inputs))
    kind = type(preprocessor)
    return "" if getattr(kind, "run", None) is DefaultPreprocessor.run else kind.__name__


def training_cases(raw: Path, dataset_json: Mapping[str, Any]) -> dict[str, tuple[list[str], str]]:
    """Images and label of each case of ``nnUNet_raw/<dataset>``, as nnU-Net finds them; all paths are absolute.

    nnU-Net forks processes to list them, which may hang in a process that has threads.
    """
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    found = get_filenames_of_train_images_and_targets(str(raw.absolute()), json.loads(json.dumps(dataset_json)))
    # Names are of a class of numpy.
    return {
        str(name): ([str(image) for image in files["images"]], str(files["label"])) for name, files in found.items()
    }


@lru_cache(maxsize=1)
def _pickled(inputs: Inputs) -> bytes:
    """What nnU-Net gives its processes for each case, pickled: no case sees what another one changed."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    here = view((inputs.plans, inputs.dataset_json))
    if here.versions != inputs.versions:
        raise RuntimeError(f"this worker has other versions of {', '.join(COMPARED)}: {here.versions}")
    if here.digests != inputs.digests:
        raise RuntimeError(f"{inputs.plans} or {inputs.dataset_json} was changed, or is another file on this worker")
    plans, dataset_json = (json.loads(disk.content(path)) for path in (inputs.plans, inputs.dataset_json))
    manager = PlansManager(plans)
    configuration = manager.get_configuration(inputs.configuration)
    preprocessor = configuration.preprocessor_class(verbose=False)
    return pickle.dumps((preprocessor, manager, configuration, dataset_json))


def _version(package: str) -> str | None:
    if package == "plansguard":
        import plansguard

        return plansguard.__version__
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _digest(path: str) -> str | None:
    if disk.is_folder(path):
        return ""
    try:
        return sha256(disk.content(path))
    except OSError:
        return None
