"""PG803, PG807 to PG818: `plansguard doctor`, with variables and packages that are not those of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.rules.pg8_environment.variants import metadata
from tests.support.nnunets import HEAD, installed
from tests.support.variants import ROOTS, Edit, Variant, finding, written

CT = "Dataset002_FinetuneCT"
RAW, PREPROCESSED, RESULTS = ROOTS.values()
TRAINERS = "nnUNet_extTrainer"
PACKAGE = "site/nnunetv2"
TORCHVISION = "site/torchvision/__init__.py"
#: An nnU-Net with what it needs.
READY = (
    installed(nnunetv2="2.8.1", torch="2.8.0+cpu", torchvision="0.23.0", numpy="2.1.0"),
    written(TORCHVISION, ""),
)


def variable(name: str, value: str) -> Callable[[Path], Mapping[str, str]]:
    """Set a variable; ``{workspace}`` in the value is the workspace."""
    return lambda workspace: {name: value.format(workspace=workspace)}


def doctored(
    name: str,
    expect: tuple[str, str],
    edits: tuple[Edit, ...] = (),
    environment: tuple[str, str] | None = None,
    twin: tuple[str, str] | None = None,
    twin_edits: tuple[Edit, ...] = (),
) -> Variant:
    """A fault of the machine: the edits and one variable, and those of the healthy twin."""
    given = {} if environment is None else {"environment": variable(*environment)}
    healthy = twin or (environment[0], f"{{workspace}}/{environment[0]}") if environment else None
    if healthy is not None:
        given["twin_environment"] = variable(*healthy)
    return Variant(
        name,
        CT,
        (*READY, *edits),
        finding(*expect),
        twin=(*READY, *twin_edits),
        command=("doctor",),
        site=True,
        **given,  # type: ignore[arg-type]
    )


MINE = (written("trainers/mine.py", f"{HEAD}class nnUNetTrainerMine(nnUNetTrainer):\n    pass\n"),)

VARIANTS: tuple[Variant, ...] = (
    doctored("doctor-finds-a-second-nnunet", ("PG803", PACKAGE), (written("clone/nnunetv2/__init__.py", ""),)),
    doctored(
        "torchvision-for-another-torch", ("PG807", PACKAGE), (written(TORCHVISION, "raise RuntimeError('nms')\n"),)
    ),
    doctored("empty-variable", ("PG808", RESULTS), environment=(RESULTS, "")),
    doctored("quoted-variable", ("PG809", RAW), environment=(RAW, '"{workspace}/nnUNet_raw"')),
    doctored("variable-with-a-blank", ("PG809", RESULTS), environment=(RESULTS, "{workspace}/nnUNet_results ")),
    doctored("variable-with-a-tilde", ("PG809", RESULTS), environment=(RESULTS, "~/no such folder/results")),
    doctored("variable-of-variables", ("PG809", RESULTS), environment=(RESULTS, "$SCRATCH/results")),
    doctored("relative-variable", ("PG809", RESULTS), environment=(RESULTS, "results of today")),
    doctored("variable-without-a-folder", ("PG810", RESULTS), environment=(RESULTS, "{workspace}/gone")),
    doctored(
        "variable-of-a-file", ("PG810", RESULTS), (written("file", ""),), environment=(RESULTS, "{workspace}/file")
    ),
    doctored(
        "raw-and-preprocessed-in-one", ("PG811", PREPROCESSED), environment=(PREPROCESSED, "{workspace}/nnUNet_raw")
    ),
    doctored(
        "results-in-a-dataset",
        ("PG811", RESULTS),
        environment=(RESULTS, f"{{workspace}}/nnUNet_raw/{CT}/imagesTr"),
    ),
    doctored("two-datasets-of-one-id", ("PG812", "raw"), (written(f"{RESULTS}/Dataset002_Other/note", ""),)),
    doctored(
        "ids-with-one-beginning",
        ("PG812", f"{RAW}/Dataset1000_Long"),
        (written(f"{RAW}/Dataset1000_Long/note", ""), written(f"{PREPROCESSED}/Dataset100_Short/note", "")),
        twin_edits=(written(f"{RAW}/Dataset1000_Long/note", ""), written(f"{PREPROCESSED}/Dataset101_Short/note", "")),
    ),
    doctored(
        "folder-of-trainers-missing",
        ("PG815", TRAINERS),
        MINE,
        environment=(TRAINERS, "{workspace}/trainer"),
        twin=(TRAINERS, "{workspace}/trainers"),
        twin_edits=MINE,
    ),
    doctored(
        "trainer-that-cannot-be-imported",
        ("PG815", "trainers/broken.py"),
        (*MINE, written("trainers/broken.py", "import no_such_package\n")),
        environment=(TRAINERS, "{workspace}/trainers"),
        twin=(TRAINERS, "{workspace}/trainers"),
        twin_edits=MINE,
    ),
    doctored(
        "package-too-old-for-nnunet",
        ("PG816", PACKAGE),
        (metadata("nnunetv2", "2.8.1", "Requires-Dist: numpy>=2.2\nRequires-Dist: numpy<2; extra == 'x'\n"),),
        twin_edits=(metadata("nnunetv2", "2.8.1", "Requires-Dist: numpy>=1.24\nRequires-Python: >=3.10\n"),),
    ),
    doctored(
        "python-too-old-for-nnunet",
        ("PG816", PACKAGE),
        (metadata("nnunetv2", "2.8.1", "Requires-Python: >=4\n"),),
    ),
    doctored(
        "trainer-named-as-one-of-nnunet",
        ("PG817", "trainers/mine.py"),
        (written("trainers/mine.py", f"{HEAD}class nnUNetTrainer_5epochs(nnUNetTrainer):\n    pass\n"),),
        environment=(TRAINERS, "{workspace}/trainers"),
        twin=(TRAINERS, "{workspace}/trainers"),
        twin_edits=MINE,
    ),
    doctored("nnunet-that-reads-variables-at-its-import", ("PG818", PACKAGE), (metadata("nnunetv2", "2.7.0", ""),)),
)
