"""PG808 to PG814, of `plansguard doctor`: nnU-Net's environment variables, and the folders that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations

from plansguard.core import disk
from plansguard.core.errors import Absent
from plansguard.core.free_space import free_space
from plansguard.core.report import Location, Severity
from plansguard.core.text import listed, quoted
from plansguard.nnunet.workspace import ROOTS
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.subjects.setup import Setup

#: The folders that nnU-Net writes to.
_WRITTEN = ROOTS[1:]
#: The two checkpoints of a fold of nnU-Net's largest preset have 1.7 GB: 102 million parameters, each with a momentum.
LEAST_SPACE = 2.0
_GB = 10**9


@rule(
    "PG808",
    Severity.ERROR,
    message="{variable} is {state}: nnU-Net does not know {what}",
    fix="export {variable}=FOLDER",
)
def variable_not_set(setup: Setup) -> Iterator[Found]:
    """An environment variable of nnU-Net is not set.

    What it checks: `nnUNet_raw`, `nnUNet_preprocessed` and `nnUNet_results` are set and not empty.

    Why it matters: nnU-Net stops some seconds after the start, or takes the current folder in place of an empty name.
    It stops with `RuntimeError: nnUNet_preprocessed is not defined`; without `nnUNet_results` with `TypeError: expected
    str, bytes or os.PathLike object, not NoneType`.

    How to fix: set the variable in the shell's profile, or in the script of the job, with `export`.

    Example: `nnUNet_results=/data/results` without `export`, which only the shell itself sees.

    Evidence: DS-04; nnU-Net issues 1787, 2594; measured with nnU-Net 2.8.1.
    """
    uses = dict(zip(ROOTS, ("raw images", "preprocessed data", "trained models"), strict=True))
    for folder in setup.folders:
        if not folder.value.strip():
            state = "empty" if folder.variable in setup.environment else "not set"
            yield found(folder.at, variable=folder.variable, state=state, what=f"the folder of {uses[folder.variable]}")


@rule(
    "PG809",
    Severity.ERROR,
    message="{variable} is {value}: {what}",
    fix="export {variable}={meant}",
)
def variable_malformed(setup: Setup) -> Iterator[Found]:
    """The value of an environment variable is not the folder that is meant.

    What it checks: the three variables contain no quotes, no blanks at an end, no `~` and no `$`, unless a folder of
    that very name exists. A relative path is a warning.

    Why it matters: nnU-Net takes the value as it is, below the folder in which it is started. `Could not find a dataset
    with the ID`, and results go into a new folder called `~` or `"`. A relative path is another folder after `cd`.

    How to fix: write the absolute path. Quotes belong around it in a shell, and not into a file such as `.env` or
    `docker --env-file`, which keeps them.

    Example: `nnUNet_raw="/data/nnUNet_raw"` in a file for `docker run --env-file`.

    Evidence: DS-04; nnU-Net issues 1525, 1787; utilities/dataset_name_id_conversion.py.
    """
    for folder in setup.folders:
        value = folder.value
        if not value.strip() or (disk.is_there(folder.path) and folder.path.is_absolute()):
            continue
        odd = {"quotes": value[0] in "\"'", "blanks at an end": value != value.strip(), "a ~": value[0] == "~"}
        odd["a $"] = "$" in value
        parts = [name for name, is_in in odd.items() if is_in and not disk.is_there(folder.path)]
        if parts or not folder.path.is_absolute():
            what = (
                f"nnU-Net takes {listed(parts)} as part of the name"
                if parts
                else "it is relative to the current folder"
            )
            severity = None if parts else Severity.WARNING
            meant = quoted(folder.meant)
            yield found(
                folder.at,
                severity=severity,
                variable=folder.variable,
                value=json.dumps(value, ensure_ascii=False),
                what=what,
                meant=meant,
            )


@rule("PG810", Severity.WARNING, message="{variable} names {path}, which {what}", fix="{remedy}")
def variable_leads_nowhere(setup: Setup) -> Iterator[Found]:
    """An environment variable names a folder that does not exist.

    What it checks: each of the three variables names a folder. A file in its place is an error. PG809 reports values
    with quotes, blanks, `~` or `$`.

    Why it matters: nnU-Net makes missing folders for what it writes: data and results go elsewhere without a message. A
    misspelt path is not noticed before they are missing. Raw images are not found.

    How to fix: correct the path, mount the disk, or make the folder.

    Example: a disk that is not mounted on this node of a cluster.

    Evidence: DS-04; utilities/dataset_name_id_conversion.py.
    """
    for folder in setup.folders:
        if not folder.value.strip() or disk.is_folder(folder.path) or folder.meant != folder.path:
            continue
        path = quoted(folder.path)
        if disk.is_there(folder.path):
            remedy = f"name a folder: export {folder.variable}=FOLDER"
            yield found(
                folder.at,
                severity=Severity.ERROR,
                variable=folder.variable,
                path=path,
                what="is no folder",
                remedy=remedy,
            )
        else:
            remedy = f"correct it, or make the folder: mkdir -p {quoted(path)}"
            yield found(folder.at, variable=folder.variable, path=path, what="does not exist", remedy=remedy)


@rule(
    "PG811",
    Severity.WARNING,
    message="{what}",
    fix="give each a folder of its own: export {other}=FOLDER",
)
def variables_share_a_folder(setup: Setup) -> Iterator[Found]:
    """Two environment variables of nnU-Net name one folder, or one a folder in the other.

    What it checks: `nnUNet_raw`, `nnUNet_preprocessed` and `nnUNet_results` name three folders, none of them in a
    dataset's folder in another. The same folder for raw images and preprocessed data is an error.

    Why it matters: files of one dataset mix with those of another, or the planner stops with `SameFileError`. It copies
    `dataset.json` from the one folder to the other. Results among preprocessed data, or a folder in a dataset's folder,
    mix files.

    How to fix: one folder for each.

    Example: `export nnUNet_preprocessed=$nnUNet_raw`.

    Evidence: DS-04; measured with nnU-Net 2.8.1.
    """
    for one, other in combinations(setup.present, 2):
        first, second = disk.real(one.path), disk.real(other.path)
        outer, inner = (first, second) if len(first.parts) <= len(second.parts) else (second, first)
        nested = outer in inner.parents and inner.relative_to(outer).parts[0].startswith("Dataset")
        if first == second or nested:
            fatal = first == second and (one.variable, other.variable) == ROOTS[:2]
            yield found(
                other.at,
                severity=Severity.ERROR if fatal else None,
                related=[(Location(str(inner)), "the folder")],
                other=other.variable,
                what=_shared(one.variable, other.variable, nested=nested, swapped=inner == first),
            )


def _shared(one: str, other: str, *, nested: bool, swapped: bool) -> str:
    """Say how two variables share a folder."""
    if not nested:
        return f"{one} and {other} name the same folder"
    inner, outer = (one, other) if swapped else (other, one)
    return f"{inner} names a folder of a dataset in {outer}"


@rule(
    "PG812",
    Severity.ERROR,
    message="{count} datasets have the id {number}: {names}",
    fix="rename or remove all but one, in all three folders of nnU-Net",
)
def several_datasets_of_one_id(setup: Setup) -> Iterator[Found]:
    """Two datasets have the same id.

    What it checks: folders of datasets in `nnUNet_raw`, `nnUNet_preprocessed` and `nnUNet_results` with one id have one
    name. nnU-Net compares the beginning of names: Dataset100_A and Dataset1000_B both begin with Dataset100.

    Why it matters: every command that is given the id stops with `More than one dataset name found for dataset id`. The
    whole name of a dataset still works.

    How to fix: rename one of them; also `dataset_name` in its plans.

    Example: a dataset was renamed in `nnUNet_raw` only.

    Evidence: DS-03; nnU-Net issues 1266, 2076; utilities/dataset_name_id_conversion.py.
    """
    for start, datasets in setup.datasets().items():
        if len(datasets) > 1:
            first, *others = datasets.items()
            yield found(
                Location(str(first[1])),
                related=[(Location(str(path)), "the same id") for _, path in others],
                number=int(start.removeprefix("Dataset")),
                count=len(datasets),
                names=listed([*datasets]),
            )


@rule(
    "PG813",
    Severity.ERROR,
    message="{variable} names {path}, which this user cannot {verb}",
    fix="take the permission, or another folder: export {variable}=FOLDER",
)
def folder_without_permission(setup: Setup) -> Iterator[Found]:
    """A folder of nnU-Net cannot be read, or not be written.

    What it checks: raw images can be read; preprocessed data and results can be read and written.

    Why it matters: nnU-Net stops with `PermissionError`, minutes after the start. It writes its first file after the
    images were loaded, or after the network was built.

    How to fix: ask the folder's owner, or name a folder of your own.

    Example: results on a disk that a node of a cluster mounts read-only.

    Evidence: RT-05; nnUNetTrainer.__init__ makes the folder of results.
    """
    for folder in setup.present:
        writes = folder.variable in _WRITTEN
        if not disk.is_accessible(folder.path, write=writes):
            verb = "write" if writes and disk.is_accessible(folder.path) else "read"
            yield found(folder.at, variable=folder.variable, path=quoted(folder.path), verb=verb)


@rule(
    "PG814",
    Severity.WARNING,
    message="{free:.1f} GB are free{by_quota} in {path} ({variable})",
    fix="free some space, or name a folder on another disk: export {variable}=FOLDER",
)
def disk_nearly_full(setup: Setup) -> Iterator[Found]:
    """There is little space where nnU-Net writes.

    What it checks: 2 GB are free in the folders of preprocessed data and of results, as PG715 counts them. Two
    checkpoints of the largest preset have 1.7 GB. Before a training, PG715 and PG716 calculate what it takes.

    Why it matters: the checkpoints of one fold take up to 1.7 GB; one that cannot be written ends the training. The
    last one may be damaged.

    How to fix: free space.

    Example: a home directory with a quota.

    Evidence: RT-05; nnU-Net issue 1768.
    """
    for folder in setup.present:
        if folder.variable in _WRITTEN:
            try:
                space = free_space(folder.path)
            except OSError as error:
                raise Absent(f"the free space in {folder.variable} is not known: {error.strerror}") from error
            free, path = space.amount / _GB, quoted(folder.path)
            if free < LEAST_SPACE:
                yield found(folder.at, variable=folder.variable, path=path, free=free, by_quota=space.by_quota)
