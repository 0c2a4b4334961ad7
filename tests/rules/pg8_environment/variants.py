"""PG8xx: versions as pip notes them, and an nnU-Net in a few lines."""

from __future__ import annotations

import json
from pathlib import Path

from tests.nnunet.test_plans_diff import in_the_old_format
from tests.rules.pg7_run.trainings import READY, TRAIN
from tests.support.nnunets import installed, noted
from tests.support.variants import PLANS, RESENC, Edit, Variant, finding, remove, rewrite, written
from tests.support.weights import WITH, weights

CT = "Dataset002_FinetuneCT"
FULLRES = "/configurations/3d_fullres"
OLD_WARNING = ("PG110", RESENC, "/configurations/2d/UNet_class_name")
NETWORKS = "site/dynamic_network_architectures/architectures"
ASKING = "Requires-Dist: torch!=2.9.*,>=2.1.2\n"


def in_old_format(file: str) -> Edit:
    """Rewrite plans in the format of nnU-Net before 2.5."""
    return rewrite(file, lambda text: json.dumps(in_the_old_format(json.loads(text))))


def metadata(name: str, version: str, more: str = "") -> Edit:
    """Write what pip notes of a package, with more lines of its metadata."""

    def edit(workspace: Path, dataset: str) -> None:
        noted(workspace / "site", name, version, more)

    return edit


def networks(text: str) -> tuple[Edit, ...]:
    """Install dynamic_network_architectures with this module of U-Nets."""
    package = (written(f"{NETWORKS}/__init__.py", ""), written(f"{NETWORKS}/../__init__.py", ""))
    return (*package, written(f"{NETWORKS}/unet.py", text), metadata("dynamic_network_architectures", "0.4.2"))


def ready(nnunetv2: str = "2.8.1") -> tuple[Edit, ...]:
    """A dataset that is ready to be trained by this nnU-Net."""
    return (*READY, installed(nnunetv2=nnunetv2, torch="2.8.0"))


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "old-residual-plans-under-2.4",
        CT,
        (remove(PLANS), in_old_format(RESENC), installed(package=False, nnunetv2="2.4.2")),
        frozenset(
            {
                OLD_WARNING,
                ("PG801", RESENC, "/configurations/2d/UNet_class_name"),
                ("PG801", RESENC, f"{FULLRES}/UNet_class_name"),
            }
        ),
        twin=(installed(package=False, nnunetv2="2.4.2"),),
        site=True,
    ),
    Variant(
        "torch-refuses-checkpoints-of-2.5",
        CT,
        (weights(), installed(package=False, nnunetv2="2.5.2", torch="2.6.0")),
        finding("PG802", WITH[1]),
        twin=(weights(), installed(package=False, nnunetv2="2.6.0", torch="2.6.0")),
        options=WITH,
        site=True,
    ),
    Variant(
        "second-copy-of-nnunet",
        CT,
        (*ready(), written("clone/nnunetv2/__init__.py", "")),
        finding("PG803", PLANS, FULLRES),
        twin=ready(),
        training=TRAIN,
        site=True,
    ),
    Variant(
        "torch-that-nnunet-excludes",
        CT,
        (*READY, installed(torch="2.9.1"), metadata("nnunetv2", "2.8.1", ASKING)),
        finding("PG804", PLANS, FULLRES),
        twin=(*READY, installed(torch="2.8.0"), metadata("nnunetv2", "2.8.1", ASKING)),
        training=TRAIN,
        site=True,
    ),
    Variant(
        "plans-newer-than-nnunet",
        CT,
        (remove(RESENC), installed(package=False, nnunetv2="2.3")),
        finding("PG819", PLANS, f"{FULLRES}/architecture"),
        twin=(remove(RESENC), installed(package=False, nnunetv2="2.3.1")),
        options=("-c", "3d_fullres"),
        site=True,
    ),
    Variant(
        "network-that-is-not-installed",
        CT,
        (*ready(), *networks("class OtherUNet:\n    pass\n")),
        finding("PG805", PLANS, f"{FULLRES}/architecture/network_class_name"),
        twin=(*ready(), *networks("class PlainConvUNet:\n    pass\n")),
        training=TRAIN,
        site=True,
    ),
    Variant(
        "steps-under-2.7",
        CT,
        ready(nnunetv2="2.7.0"),
        finding("PG806", PLANS, FULLRES),
        twin=ready(),
        training=(*TRAIN, "-tr", "nnUNetTrainer_500steps"),
        site=True,
    ),
)
