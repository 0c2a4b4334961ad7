"""Type commands that were printed, in the state of a variant that printed them.

nnU-Net is replaced: its preprocessing by standin.py, its planning by the fixtures, which it wrote; trainings and
predictions are judged, but not started.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from plansguard.core.report import Finding, Report, Severity
from plansguard.nnunet import constants, runtime
from plansguard.nnunet.command_line import parse
from tests.support import graphics, standin
from tests.support.command import Done, run
from tests.support.printed import PLACEHOLDERS, commands, filled, without_env
from tests.support.variant_runs import laid_out, prepare, report_of
from tests.support.variants import FIXTURES, Variant, place, put
from tests.support.weights import weights

#: Variants in which a command is refused for a fault that is not the command's, and which.
REFUSED = {
    "moved-to-other-channels": "PG304",  # the datasets have other channels
    "own-plans-of-other-data": "PG412",  # these plans were not moved
    "other-strides": "PG101",  # of the plans in the weights
    "other-transpose": "PG105",  # of the plans in the weights
    "cascade-with-missing-data-of-its-own": "has no imagesTr",  # the fixture has no images
    "cascade-with-data-of-its-own": "has no imagesTr",
    "data-folder-is-empty-and-so-is-all-else": "has no imagesTr",
    "second-stage-fine-tuned-at-the-stock-rate": "PG518",  # the first stage is to be trained on every fold
    "predictions-of-the-first-stage-deleted": "PG726",  # the checkpoint of the fixture is empty
}
#: Rules about what was done, which no command changes.
PAST = ("PG405",)
#: Rules about a command in whose place another is printed: test_machine.py judges that one.
REPLACED = ("PG825", "PG826")
#: Rules about values that only nnU-Net computes: stand-ins for its commands leave them as they are.
COMPUTED = ("PG304", "PG305", "PG309", "PG311", "PG507", "PG509", "PG512", "PG525", "PG711")

TRAINED = FIXTURES / (
    "workspace/nnUNet_results/Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
)
#: Rules that find that nothing was preprocessed; what they print is done before a training is judged.
NO_DATA = ("PG504", "PG741")
#: An edit of plans, to be made before the command behind it.
OWN_FOLDER = re.compile(r'give (?P<name>\S+)(?: of (?P<plans>\S+))? its own "data_identifier": "(?P<folder>[^"]+)"')
#: What the fixtures are, whatever was done before.
OF_THE_FIXTURES = {
    "PG308": "the patches are larger than the small images",
    "PG606": "the checkpoint was trained for one epoch",
}


@contextmanager
def state_of(variant: Variant, root: Path) -> Iterator[tuple[Path, Report, pytest.MonkeyPatch]]:
    """The workspace of a variant in a new folder, its report, and what restores the environment."""
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        workspace = laid_out(variant, root, patch)
        prepare(workspace, variant, patch)
        (root / "current").mkdir()
        shutil.copy(TRAINED, root / "current" / PLACEHOLDERS["CHECKPOINT"])
        patch.chdir(root / "current")
        yield workspace, report_of(workspace, variant), patch


def with_plans(words: Sequence[str], name: str) -> tuple[str, ...]:
    """The options with these plans."""
    at = words.index("-p") if "-p" in words else len(words)
    return (*words[:at], *words[at + 2 :], "-p", name)


class Typed:
    """Commands typed in the state of a variant."""

    def __init__(self, variant: Variant, workspace: Path, report: Report, patch: pytest.MonkeyPatch) -> None:
        self.variant, self.workspace, self.before, self.patch = variant, workspace, report, patch
        program = str(standin.install(workspace))
        patch.setattr(runtime, "command", lambda name: program)
        patch.setenv(standin.LOG, str(workspace / "log"))
        if not variant.environment(workspace) and not (workspace / "bin/nvidia-smi").exists():
            graphics.install(workspace, graphics.ADA)
            patch.setenv("CUDA_VISIBLE_DEVICES", "0")

    def problems(self, finding: Finding, chain: Sequence[Sequence[str]]) -> list[str]:
        """What is wrong after the commands of one chain; empty where they do what they are printed for."""
        self._edit(finding)
        changes = False
        for words in chain:
            command = self._behind_env(words)
            found = self._run(command, finding)
            if found:
                expected = REFUSED.get(self.variant.name)
                refused = expected is not None and expected in found
                return [] if refused else [f"{finding.code}: {shlex.join(words)}: {found}"]
            changes = self._changes(command)
        if changes and self.variant.command[0] != "migrate" and finding.code not in (*COMPUTED, *REPLACED):
            after = report_of(self.workspace, self._with_new_plans(chain))
            same = [one for one in after.active if (one.code, one.location) == (finding.code, finding.location)]
            if same:
                typed = " && ".join(map(shlex.join, chain))
                return [f"{finding.code} is still found after {typed}: {same[0].message}"]
        return []

    def failure(self, words: Sequence[str]) -> str:
        """Type one command; return why it failed, or an empty text."""
        return self._run(self._behind_env(words), None)

    def _behind_env(self, words: Sequence[str]) -> list[str]:
        command, variables = without_env(filled(words))
        for name, value in variables.items():
            self.patch.delenv(name, raising=False) if value is None else self.patch.setenv(name, value)
        return command

    def _edit(self, finding: Finding) -> None:
        """Make the edit of the plans that is to be made before the commands."""
        told = OWN_FOLDER.search(finding.fix)
        if told is not None:
            plans = Path(finding.location.path) if told["plans"] is None else Path(f"{told['plans']}.json")
            edit = put(f"preprocessed/{plans.name}", f"/configurations/{told['name']}/data_identifier", told["folder"])
            edit(self.workspace, self.variant.dataset)

    def _with_new_plans(self, chain: Sequence[Sequence[str]]) -> Variant:
        """The variant with the plans that a migration wrote in place of its own."""
        names = [
            words[words.index("-tp") + 1] for words in map(filled, chain) if words[1] == "migrate" and "-tp" in words
        ]
        if not names:
            return self.variant
        if self.variant.training:
            return replace(self.variant, training=with_plans(self.variant.training, names[0]))
        return replace(self.variant, options=with_plans(self.variant.options, names[0]))

    def _changes(self, command: Sequence[str]) -> bool:
        if command[0] == "plansguard":
            return command[1] in ("preprocess", "migrate")
        return command[0] in ("mv", "cp", "nnUNetv2_plan_experiment", "nnUNetv2_extract_fingerprint")

    def _run(self, command: Sequence[str], finding: Finding | None) -> str:
        """Run a command; return why it failed, or an empty text."""
        program, *arguments = command
        if program == "plansguard":
            return self._own(arguments, finding)
        if program in ("mv", "cp", "mkdir", "rm"):
            paths = [
                path
                for word in arguments
                for path in (Path("/").glob(word[1:]) if "*" in word and program == "cp" else [word])
            ]
            there = shutil.which(program, path=os.defpath) or program  # PATH of the variant may have no programs
            return subprocess.run([there, *paths], check=False, capture_output=True, text=True).stderr
        if program == "nnUNetv2_install_pretrained_model_from_zip":
            zipfile.ZipFile(arguments[0]).extractall(self.workspace / "nnUNet_results")
        if program == "unzip":
            archive, member, _, folder = arguments
            zipfile.ZipFile(archive).extract(member, folder)
        if program == "nnUNetv2_plan_experiment":
            return self._plan(arguments)
        if program == "nnUNetv2_extract_fingerprint":
            return self._copy_fixture(arguments, "dataset_fingerprint.json")
        return ""

    def _own(self, arguments: Sequence[str], finding: Finding | None) -> str:
        name, *rest = arguments
        if name in ("gate", "train"):
            judging = (name, "--dry-run", "--output", "json", "--data", "headers", *rest)
            done = run(*judging)
            for one in done.json["findings"] if done.code == 1 else ():
                if one["code"] in NO_DATA:
                    for command in commands(one["fix"])[0]:
                        self._run(command, finding)
            failure = self._judged(run(*judging), finding)
            if not failure and "nnUNetv2_train" in rest:
                self._train(rest[rest.index("nnUNetv2_train") + 1 :])
            return failure
        done = run(name, *rest, *(["--yes"] if name == "preprocess" else []))
        if done.code and not (name in ("check", "fit") and done.code == 1):
            return f"exit code {done.code}\n{done.out}{done.err}"
        again = finding is not None and f"[{finding.code}]" in done.out and name == self.variant.command[0] == "migrate"
        return done.out if again else ""

    def _train(self, arguments: Sequence[str]) -> None:
        """Leave a checkpoint, as the training does."""
        parsed = parse("nnUNetv2_train", arguments)
        assert parsed is not None
        values = parsed.values
        dataset = self._dataset(["-d", values.dataset_name_or_id])
        model = f"{values.tr}__{values.p}__{values.configuration}"
        final = f"{model}/fold_{values.fold}/{constants.CHECKPOINT_FINAL}"
        if not place(self.workspace, dataset, f"results/{final}").exists():
            edit = weights(values.configuration, of=f"preprocessed/{values.p}.json", to=f"results/{final}")
            edit(self.workspace, dataset)

    def _judged(self, done: Done, finding: Finding | None) -> str:
        if done.code not in (0, 1):
            return done.err
        codes = {one["code"] for one in done.json["findings"] if one["severity"] != "info" and one["ignored"] is None}
        before = {one.code for one in self.before.active if one.severity is not Severity.INFO}
        new = codes - before - set(OF_THE_FIXTURES) - set(COMPUTED) | codes & (
            {finding.code} if finding else set()
        ) - set(PAST)
        return ", ".join(f"{one['code']} {one['message']}" for one in done.json["findings"] if one["code"] in new)

    def _dataset(self, arguments: Sequence[str]) -> str:
        number = int(arguments[arguments.index("-d") + 1])
        return next(path.name for path in (self.workspace / "nnUNet_raw").iterdir() if int(path.name[7:10]) == number)

    def _copy_fixture(self, arguments: Sequence[str], *names: str) -> str:
        dataset = self._dataset(arguments)
        for name in names:
            source = FIXTURES / "workspace/nnUNet_preprocessed" / dataset / name
            shutil.copy(source, place(self.workspace, dataset, f"preprocessed/{name}"))
        return ""

    def _plan(self, arguments: Sequence[str]) -> str:
        """nnU-Net copies dataset.json beside the plans that it writes."""
        dataset = self._dataset(arguments)
        preprocessed = place(self.workspace, dataset, "preprocessed/dataset.json")
        shutil.copy(place(self.workspace, dataset, "raw/dataset.json"), preprocessed)
        planner = arguments[arguments.index("-pl") + 1] if "-pl" in arguments else "ExperimentPlanner"
        identifier = next(name for name, one in constants.PLANNER_OF_IDENTIFIER.items() if one == planner)
        self._copy_fixture(arguments, f"{identifier}.json")
        if "-overwrite_plans_name" in arguments:
            name = arguments[arguments.index("-overwrite_plans_name") + 1]
            written = place(self.workspace, dataset, f"preprocessed/{identifier}.json")
            plans = json.loads(written.read_bytes()) | {"plans_name": name}
            written.with_name(f"{name}.json").write_text(json.dumps(plans))
        return ""
