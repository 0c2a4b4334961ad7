"""PG803, PG804, PG807, PG815 to PG818: the installed packages, before a training and in `plansguard doctor`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from plansguard.core.report import Location, Severity
from plansguard.core.text import listed, quoted
from plansguard.nnunet.constants import NNUNET_PACKAGE
from plansguard.nnunet.install import packages
from plansguard.nnunet.install.python_sources import folder_of
from plansguard.nnunet.install.trainer_folder import REMEDY, VARIABLE
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.subjects.setup import Setup

# The first nnU-Net whose learning rate scheduler works with torch 2.7.
_SCHEDULES_WITH_NEW_TORCH = (2, 6)
_TORCH_OF_OTHER_SCHEDULERS = (2, 7)
#: Several times slower in 3D than the releases before and after it; newer nnU-Nets exclude it.
_SLOW_TORCH = (2, 9)
#: The first nnU-Net that reads the variables of its folders when it uses them, and not when it is imported.
_READS_VARIABLES_LATE = (2, 8)
_WHEELS = "https://download.pytorch.org/whl/"
#: No trainer has this name: the search for it reads every module.
_NO_TRAINER = "plansguard_searches_all_modules"


@rule(
    "PG803",
    Severity.WARNING,
    message="{what}",
    fix="uninstall the one that is not meant: {program} -m pip uninstall nnunetv2; or activate one environment only",
)
def several_nnunet_installations(installation: Setup) -> Iterator[Found]:
    """Two copies of nnU-Net are installed, and the command may run the other one.

    What it checks: the `nnUNetv2_train` that a shell finds is run by the Python that plansguard runs with, and this
    Python finds no second `nnunetv2` after the one that it imports.

    Why it matters: edits and trainers may be in one copy while the command runs the other. The imported one is checked.

    How to fix: keep one copy in each environment.

    Example: a clone of nnU-Net in `PYTHONPATH`, and another in site-packages.

    Evidence: VR-05; nnU-Net issues 1618, 1925, 2080, 2081, 2345, 2501, 2830, STU-Net issue 8.
    """
    installed = packages.nnunet_installations()
    if installed.imported is None:
        return
    imported = [(Location(str(installed.imported)), "the nnU-Net that is checked")]
    if installed.shadowed:
        what = f"nnU-Net is installed twice: there is another copy in {installed.shadowed[0]}"
        yield found(installation.at, related=imported, what=what, program=quoted(sys.executable))
    elif installed.is_ours is False:
        what = f"{installed.command} is run by another Python, {installed.interpreter}"
        yield found(installation.at, related=imported, what=what, program=quoted(str(installed.interpreter)))


@rule(
    "PG804",
    Severity.ERROR,
    message="nnunetv2 {nnunet} and torch {torch} do not go together: {why}",
    fix="{remedy}",
)
def torch_does_not_suit_nnunet(installation: Setup) -> Iterator[Found]:
    """The installed nnU-Net does not work with the installed torch.

    What it checks: the version of torch fulfils the metadata of the installed nnU-Net. Two more cases are warnings,
    because metadata of older releases do not exclude them: nnU-Net below 2.6 with torch 2.7, and the slow torch 2.9.

    Why it matters: nnU-Net stops or is several times slower; pip allows such a pair when torch is updated later. Before
    2.6, nnU-Net's learning rate scheduler passes one argument too many to torch 2.7: `TypeError: __init__() takes from
    2 to 3 positional arguments but 4 were given`. In torch 2.9, 3D convolutions in half precision take several times as
    long.

    How to fix: install a torch that fits, or update nnU-Net.

    Example: nnunetv2 2.5.2, and a torch that was updated to 2.7 for a new GPU.

    Evidence: VR-07; nnU-Net issues 2983, 3002, 3003, nnssl issue 3, pytorch issue 166122.
    """
    nnunet, torch = packages.nnunet_version(), packages.torch_version()
    if nnunet is None or torch is None:
        return
    asked, severity = packages.requirement("torch"), Severity.WARNING
    if asked is not None and not packages.fulfils(torch, asked):
        severity, why, remedy = Severity.ERROR, f"this nnU-Net asks for torch{asked}", f"pip install 'torch{asked}'"
    elif nnunet < _SCHEDULES_WITH_NEW_TORCH and torch >= _TORCH_OF_OTHER_SCHEDULERS:
        why, remedy = "it cannot set learning rates with it", "update: pip install --upgrade nnunetv2"
    elif torch[:2] == _SLOW_TORCH:
        why, remedy = "3D convolutions in half precision are several times slower", "take torch 2.8 or 2.10"
    else:
        return
    versions = packages.dotted(nnunet), packages.dotted(torch)
    yield found(installation.at, severity=severity, nnunet=versions[0], torch=versions[1], why=why, remedy=remedy)


@rule(
    "PG807",
    Severity.ERROR,
    message="torchvision {torchvision} cannot be loaded with torch {torch}: {error}",
    fix="install both from one place: {command}",
)
def torchvision_cannot_load(setup: Setup) -> Iterator[Found]:
    """The installed torchvision does not fit the installed torch.

    What it checks: whether another process of this Python can import torchvision. plansguard itself loads neither.

    Why it matters: nnU-Net imports torchvision when it looks for any trainer other than `nnUNetTrainer`, and stops. It
    imports all of its modules then; one of them needs timm, and so torchvision. `RuntimeError: operator
    torchvision::nms does not exist` ends every training and prediction with such a trainer, also the step trainers of
    plansguard.

    How to fix: torch and torchvision are built for each other; take both from one index.

    Example: torch for the CPU from pytorch.org, and torchvision from PyPI, which is built for CUDA.

    Evidence: VR-07; measured with nnU-Net 2.8.1.
    """
    if folder_of("torchvision") is None or folder_of(NNUNET_PACKAGE) is None:
        return
    error = packages.import_error("torchvision")
    if error is not None:
        torch = packages.version("torch") or "(not installed)"
        build = torch.partition("+")[2]
        version = torch.partition("+")[0]
        index = f" --index-url {_WHEELS}{build}" if build.isalnum() else ""
        yield found(
            setup.at,
            torchvision=packages.version("torchvision") or "(unknown)",
            torch=torch,
            error=error,
            command=f"pip install --force-reinstall torch=={version} torchvision{index}",
        )


@rule("PG815", Severity.ERROR, message="{what}", fix="{remedy}")
def trainer_folder_unusable(setup: Setup) -> Iterator[Found]:
    """A folder of trainers does not exist, or a module in it cannot be imported.

    What it checks: the folders in `nnUNet_extTrainer`, and every module that nnU-Net imports when it looks for a
    trainer: none fails. A folder that does not exist, a relative one, and an nnU-Net that does not read the variable
    are warnings. Before a training, PG705 judges the modules before its own trainer.

    Why it matters: one file that cannot be imported ends the search for every trainer behind it. Missing folders are
    skipped silently.

    How to fix: correct the file or the path. `eval "$(plansguard env)"` sets the variable for the step trainers.

    Example: `export nnUNet_extTrainer=~/trainers:./mine`, where nnU-Net is started from another folder.

    Evidence: TR-01; nnU-Net issues 1545, 2150; utilities/find_objects.py.
    """
    from plansguard.nnunet.install.trainer_search import folders, search

    named = folders(setup.environment)
    result = search(_NO_TRAINER, environment=setup.environment)
    if not result.installed:
        return
    if named and not result.reads_variable:
        what, remedy = f"this nnU-Net does not read {VARIABLE}", f"update: {REMEDY}"
        yield found(Location(VARIABLE), severity=Severity.WARNING, what=what, remedy=remedy)
        return
    if result.fault is not None:
        what = f"nnU-Net imports {result.fault.path.name} when it looks for a trainer, and fails: {result.fault.what}"
        remedy = f"correct the file, or move it out of {quoted(result.fault.path.parent)}"
        yield found(Location(str(result.fault.path), line=result.fault.line), what=what, remedy=remedy)
    for folder in named:
        is_relative = not folder.startswith(("/", "~")) and folder not in result.missing
        if folder in result.missing or is_relative:
            trouble = "is relative to the current folder" if is_relative else "does not exist"
            what = f"{VARIABLE} names {json.dumps(folder, ensure_ascii=False)}, which {trouble}"
            remedy = f"correct it: export {VARIABLE}=FOLDER"
            yield found(Location(VARIABLE), severity=Severity.WARNING, what=what, remedy=remedy)


@rule("PG816", Severity.ERROR, message="{what}", fix="{remedy}")
def installation_incomplete(setup: Setup) -> Iterator[Found]:
    """There is no nnU-Net, or a package that it needs is missing or too old.

    What it checks: nnunetv2 is installed in this environment (else for information), Python is one that it supports,
    torch is there, and every other package fulfils nnU-Net's metadata (else a warning).

    Why it matters: nnU-Net cannot be imported, or fails where it uses the package. Without torch nothing of nnU-Net can
    be imported. With an older package than it asks for, nnU-Net fails where it uses it: with numpy below 1.24 no reader
    can stack channels.

    How to fix: install what is missing. Everything of plansguard except `preprocess` and `train` works without it.

    Example: an environment that was made from an old list of versions.

    Evidence: VR-07, IO-03; nnU-Net issue 2424.
    """
    nnunet = packages.version(NNUNET_PACKAGE)
    if nnunet is None:
        what = f"nnU-Net is not installed for {sys.executable}"
        yield found(setup.at, severity=Severity.INFO, what=what, remedy=f"to train here: {REMEDY}")
        return
    python = packages.python_required(NNUNET_PACKAGE)
    if python is not None and not packages.fulfils(sys.version_info[:3], python):
        what = f"nnunetv2 {nnunet} asks for Python{python}, and this is {packages.dotted(sys.version_info[:3])}"
        yield found(setup.at, what=what, remedy="make an environment with such a Python, or update nnU-Net")
    if packages.version("torch") is None:
        yield found(setup.at, what=f"nnunetv2 {nnunet} is installed, and torch is not", remedy="pip install torch")
    if wrong := [*packages.unfulfilled(NNUNET_PACKAGE, besides=("torch",))]:
        what = f"nnunetv2 {nnunet} asks for " + listed([f"{each.asked} ({each.present})" for each in wrong])
        remedy = "pip install " + " ".join(quoted(each.asked) for each in wrong)
        yield found(setup.at, severity=Severity.WARNING, what=what, remedy=remedy)


@rule(
    "PG817",
    Severity.WARNING,
    message="nnU-Net never finds the {name} in {file}: that in {first} comes before",
    fix="give the class another name, and train with -tr and that name",
)
def trainer_hidden_by_another(setup: Setup) -> Iterator[Found]:
    """A trainer has the name of another that nnU-Net finds before it.

    What it checks: classes called a Trainer in the folders of `nnUNet_extTrainer`, against those of nnU-Net and of the
    folders before.

    Why it matters: a training runs without the changes of this class, and its results carry the same name. The first
    class of a name counts, and nnU-Net's own come first.

    How to fix: rename the class.

    Example: a copy of nnUNetTrainer.py with other epochs in a folder of trainers.

    Evidence: TR-02, TR-04; nnU-Net issues 1384, 2195; utilities/find_objects.py.
    """
    from plansguard.nnunet.install.trainer_search import hidden_trainers

    for name, path, first in hidden_trainers(setup.environment):
        yield found(
            Location(str(path)),
            related=[(Location(str(first)), "found before")],
            name=name,
            file=path.name,
            first=first.name,
        )


@rule(
    "PG818",
    Severity.INFO,
    message="nnunetv2 {version} reads nnUNet_raw, nnUNet_preprocessed and nnUNet_results when it is imported",
    fix="export them before Python starts, or update: pip install --upgrade nnunetv2",
)
def variables_read_at_import(setup: Setup) -> Iterator[Found]:
    """A program that sets nnU-Net's variables after its import has no effect.

    What it checks: the installed nnU-Net is 2.8 or newer.

    Why it matters: a program that sets `os.environ` later trains on, and writes into, the folders of before. Older
    releases than 2.8 read the variables once; such a program is a notebook or a wrapper.

    How to fix: set the variables in the shell, or before the first import of nnunetv2.

    Example: `os.environ["nnUNet_results"] = ...` in the second cell of a notebook.

    Evidence: RT-03; MONAI pull request 9108; paths.py of nnU-Net.
    """
    version = packages.nnunet_version()
    if version is not None and version < _READS_VARIABLES_LATE:
        yield found(setup.at, version=packages.dotted(version))
