"""Real files from public repositories: no error on a healthy file, and every fault that can be found.

The files are copied into a temporary folder, with the layout of their repositories. None is part of the project.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Finding, Report, Severity
from plansguard.rules.engine.settings import ActiveSettings
from tests.support.command import start
from tests.support.variants import ROOTS

pytestmark = pytest.mark.slow

Row = Mapping[str, str]

PWAVER = "pwaver__nnUNet-Adjustment/data__nnUNet_preprocessed__Dataset330_Angiography__"


class Fault(NamedTuple):
    """A real fault of the corpus: its file and place, and what the message must contain."""

    code: str
    file: str
    pointer: str
    message: str


#: The faults in the corpus' README, without three that no rule reports:
#: - pwaver: three plans share one data_identifier. They preprocess in the same way, so PG501 rightly does not report
#:   it. PG112 reports that they also share one plans_name.
#: - MIC-DKFZ, Dataset250: splits of 80 of 90 cases (SL-02). Splits are compared with preprocessed cases, which are not
#:   in the corpus.
#: - IM-Fuse, MaM: plans of one BraTS edition beside the dataset.json of another. Both have the same four channels,
#:   plans have no labels, and there is no fingerprint for PG311.
FAULTS = {
    "the first stage downsamples": Fault(
        "PG115", f"{PWAVER}nnUNetPlans-6Stages.json", "/configurations/2d/architecture/arch_kwargs/strides/0", "[2, 2]"
    ),
    "three plans, one plans_name: the second": Fault(
        "PG112", f"{PWAVER}nnUNetPlans-6Stages.json", "/plans_name", "plans_name is nnUNetPlans"
    ),
    "three plans, one plans_name: the third": Fault(
        "PG112", f"{PWAVER}nnUNetPlans-8Stages.json", "/plans_name", "plans_name is nnUNetPlans"
    ),
    "a fingerprint of fewer cases": Fault(
        "PG303", f"{PWAVER}dataset_fingerprint.json", "/spacings", "6900 cases, but numTraining in dataset.json is 9630"
    ),
    "a fingerprint of one case more": Fault(
        "PG303",
        "MIC-DKFZ__nnUNet/nnUNet_preprocessed__Dataset350_LymphNodes__dataset_fingerprint__at_af3e563.json",
        "/spacings",
        "81 cases, but numTraining in dataset.json is 80",
    ),
    "plans for one channel, images with two": Fault(
        "PG304",
        "HuiLin0220__StenUNet/nnUNetPlans.json",
        "/configurations/2d/normalization_schemes",
        "for 1 channel, but dataset.json names 2",
    ),
    "a dataset.json of nnU-Net v1": Fault(
        "PG204", "MIC-DKFZ__nnUNet/Task05_Prostate__dataset__at_4e41b35.json", "/labels", '"0": "background"'
    ),
}

#: Other findings: rule and severity -> file -> count. All other files have none.
OTHER_FINDINGS = {
    # Plans as nnU-Net wrote them until 2024, which it still translates. IM-Fuse's fork adds four networks of its own.
    "PG110 warning": {
        "AImageLab-zip__IM-Fuse/MaM__nnUNetPlans.json": 5,
        "AImageLab-zip__IM-Fuse/nnUNet__nnUNetPlans__at_45ccc7a.json": 5,
        "HuiLin0220__StenUNet/model_folder__plans.json": 1,
        "HuiLin0220__StenUNet/nnNet_training__nnUNet_preprocessed__Dataset_Train_val__nnUNetPlans.json": 1,
        "HuiLin0220__StenUNet/nnUNetPlans.json": 1,
        "MIC-DKFZ__nnUNet/imagesTs_deletme__plans__at_938171c.json": 1,
        "MIC-DKFZ__nnUNet/pred__output_COR_segmentation__plans__at_bf8d064.json": 1,
        "PengchengShi1220__NexToU/nnUNetPlans.json": 1,
        "PengchengShi1220__NexToU/nnUNetPlans__at_0e9f558.json": 1,
        "PengchengShi1220__NexToU/nnUNetPlans__at_33f0018.json": 1,
        "PengchengShi1220__NexToU/nnUNetPlans__at_51dadc2.json": 1,
        "PengchengShi1220__NexToU/nnUNetPlans__at_8d7517a.json": 1,
        "PengchengShi1220__NexToU/nnUNetPlans__at_a58c4c8.json": 1,
        "PengchengShi1220__NexToU/nnUNetPlans__at_aa02cf4.json": 1,
        "StarRailPro__nnUnet-NexToU/nnUNet_Data__nnUNet_results__Dataset501_BrainVessels__nnUNetTrainer_NexToU_BTI_ICA_"
        "NoMirroring__nnUNetPlans__3d_fullres_nextou__plans.json": 1,
    },
    # The order is that of another edition of BraTS: the tumor core, whose labels are 1 and 3, gets 2.
    "PG207 warning": {"AImageLab-zip__IM-Fuse/MaM__dataset.json": 3},
}


@dataclass(frozen=True)
class Layout:
    """The corpus in the layout of its repositories: one tree per repository and commit below ``root``.

    ``names`` are the names of files in the corpus, by their paths.
    """

    root: Path
    names: Mapping[Path, str]

    @property
    def trees(self) -> list[Path]:
        """The trees, sorted."""
        return sorted(self.root.iterdir())

    def name(self, finding: Finding) -> str:
        """Return the name of the finding's file in the corpus, or the path of a folder."""
        path = Path(finding.location.path)
        return self.names.get(path, str(path))


@pytest.fixture(scope="module")
def layout(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("corpus")
    names: dict[Path, str] = {}
    for row in table(corpus, "manifest"):
        tree = root / f"{row['repo'].replace('/', '__')}@{row['commit'][:7]}"
        put_file(corpus, row["local path"], tree / row["original path"], names)
    plans_at = {name: path for path, name in names.items()}
    for row in table(corpus, "pairs"):
        for canonical in ("dataset.json", "dataset_fingerprint.json"):
            place = plans_at[row["plans"]].with_name(canonical)
            if row[canonical] and place not in names:  # else the commit itself has one beside the plans
                put_file(corpus, row[canonical], place, names)
    return Layout(root, names)


def table(corpus: Path, name: str) -> list[Row]:
    with (corpus / f"{name}.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def put_file(corpus: Path, name: str, place: Path, names: dict[Path, str]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(corpus / name, place)
    names[place] = name


@pytest.fixture(scope="module")
def reports(layout: Layout) -> Iterator[list[Report]]:
    """Check each tree, independent of the settings and the workspace of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in ROOTS.values():
            patch.delenv(folder, raising=False)
        yield [check([tree], settings=ActiveSettings()) for tree in layout.trees]


@pytest.fixture(scope="module")
def findings(reports: list[Report]) -> list[Finding]:
    return [finding for report in reports for finding in report.findings]


def test_every_file_is_judged(layout: Layout, reports: list[Report]) -> None:
    # One file, an adaptation plan of nnssl, is none of nnU-Net's documents.
    assert sum(report.documents for report in reports) == len(layout.names) - 1


def test_no_rule_crashes(findings: list[Finding]) -> None:
    assert [finding.message for finding in findings if finding.code in ("PG000", "PG001")] == []


def test_no_error_on_a_healthy_file(layout: Layout, findings: list[Finding]) -> None:
    errors = {(one.code, layout.name(one), one.location.pointer) for one in findings if one.severity is Severity.ERROR}
    real = {(fault.code, fault.file, fault.pointer) for fault in FAULTS.values()}
    assert errors == real


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_real_fault_is_found(fault: Fault, layout: Layout, findings: list[Finding]) -> None:
    place = fault.file, fault.pointer
    [finding] = [
        one for one in findings if one.code == fault.code and (layout.name(one), one.location.pointer) == place
    ]
    assert fault.message in finding.message
    assert finding.fix


def test_what_else_is_found(layout: Layout, findings: list[Finding]) -> None:
    counts: dict[str, Counter[str]] = {}
    for one in findings:
        if one.severity is not Severity.ERROR:
            counts.setdefault(f"{one.code} {one.severity}", Counter())[layout.name(one)] += 1
    assert counts == OTHER_FINDINGS


def test_counts_by_rule_and_severity(findings: list[Finding]) -> None:
    assert Counter(f"{one.code} {one.severity}" for one in findings) == {
        "PG110 warning": 23,
        "PG112 error": 2,
        "PG115 error": 1,
        "PG204 error": 1,
        "PG207 warning": 3,
        "PG303 error": 2,
        "PG304 error": 1,
    }


def test_a_released_model_with_checks_that_were_not_possible(layout: Layout) -> None:
    # VoxTell's plans lack seven keys at the top, and everything about resampling.
    [path] = [place for place, name in layout.names.items() if name == "zhaoyue111-zz__VoxTell/model__plans.json"]
    report = check([path], settings=ActiveSettings())
    assert report.findings == ()
    reasons = {(skipped.code, skipped.reason) for skipped in report.not_checked}
    assert ("PG105", "plans.json has no transpose_forward") in reasons
    assert ("PG304", "there is no dataset.json beside the plans: put it there") in reasons


def test_plans_of_several_commits_in_one_folder(corpus: Path, tmp_path: Path) -> None:
    """As in a later checkout of pwaver's repository: all three write into the same results folder."""
    folder = tmp_path / "nnUNet_preprocessed" / "Dataset330_Angiography"
    names: dict[Path, str] = {}
    for stem in ("nnUNetPlans__at_47fd7c8", "nnUNetPlans-6Stages", "nnUNetPlans-8Stages", "plans_unet_edge16"):
        put_file(corpus, f"{PWAVER}{stem}.json", folder / f"{stem.partition('__at_')[0]}.json", names)
    put_file(corpus, f"{PWAVER}dataset__at_a9a2be9.json", folder / "dataset.json", names)
    put_file(corpus, f"{PWAVER}dataset_fingerprint.json", folder / "dataset_fingerprint.json", names)
    report = check([folder], settings=ActiveSettings())
    assert [finding.code for finding in report.findings] == ["PG112", "PG115", "PG112"]
    shared = {
        Path(finding.location.path).name: [Path(place.location.path).name for place in finding.related]
        for finding in report.findings
        if finding.code == "PG112"
    }
    assert shared == {
        "nnUNetPlans-6Stages.json": ["nnUNetPlans.json"],
        "nnUNetPlans-8Stages.json": ["nnUNetPlans.json"],
    }


def test_healthy_plans_are_healthy_where_training_reads_them(corpus: Path, tmp_path: Path) -> None:
    """More rules apply in a folder of nnUNet_preprocessed, with dataset.json and fingerprint."""
    names: dict[Path, str] = {}
    pairs = {row["plans"]: row for row in table(corpus, "pairs")}
    for number, row in enumerate(table(corpus, "manifest")):
        plans = json.loads((corpus / row["local path"]).read_bytes())
        if row["kind"] == "plans" and "plans_name" in plans:
            folder = tmp_path / str(number) / "nnUNet_preprocessed" / plans["dataset_name"]
            put_file(corpus, row["local path"], folder / f"{plans['plans_name']}.json", names)
            for canonical in ("dataset.json", "dataset_fingerprint.json"):
                if name := pairs.get(row["local path"], {}).get(canonical):
                    put_file(corpus, name, folder / canonical, names)
    findings = check([tmp_path], settings=ActiveSettings()).findings
    errors = {
        (one.code, names[Path(one.location.path)], one.location.pointer)
        for one in findings
        if one.severity is Severity.ERROR
    }
    # Under its own plans_name no name is shared; the dataset.json of v1 belongs to no plans.
    real = {fault[:3] for fault in FAULTS.values() if fault.code not in ("PG112", "PG204")}
    assert errors == real


def test_the_corpus_on_the_command_line(layout: Layout, tmp_path: Path) -> None:
    report, annotations = tmp_path / "report.json", tmp_path / "annotations.txt"
    outputs = (f"--output={output}" for output in ("text", f"json={report}", f"github={annotations}"))
    done = start("check", layout.root, *outputs)
    assert (done.returncode, done.stderr) == (1, "")
    for text in (done.stdout, report.read_text(encoding="utf-8"), annotations.read_text(encoding="utf-8")):
        assert all(fault.code in text for fault in FAULTS.values())
