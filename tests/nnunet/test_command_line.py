"""Parsers of nnU-Net's command lines, compared with nnU-Net's own."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plansguard.core.errors import UsageError
from plansguard.nnunet import constants
from plansguard.nnunet.command_line import GRAMMARS, CommandLine, command_line, parse
from tests.support.training_records import training_values

#: Command -> module and function of nnU-Net. Source: its entry_points.txt.
ENTRIES = {
    constants.TRAIN: ("nnunetv2.run.run_training", "run_training_entry"),
    constants.PREPROCESS: ("nnunetv2.experiment_planning.plan_and_preprocess_entrypoints", "preprocess_entry"),
    constants.FINGERPRINT: (
        "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints",
        "extract_fingerprint_entry",
    ),
    constants.PLAN: ("nnunetv2.experiment_planning.plan_and_preprocess_entrypoints", "plan_experiment_entry"),
    constants.PLAN_AND_PREPROCESS: (
        "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints",
        "plan_and_preprocess_entry",
    ),
    constants.MOVE: (
        "nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets",
        "entry_point_move_plans_between_datasets",
    ),
    constants.PREDICT: ("nnunetv2.inference.predict_from_raw_data", "predict_entry_point"),
    constants.PREDICT_FROM_FOLDER: ("nnunetv2.inference.predict_from_raw_data", "predict_entry_point_modelfolder"),
}
#: Complete calls, which hypothesis varies.
CALLS = {
    constants.TRAIN: "2 3d_fullres 0 -tr T -p P -pretrained_weights w.pth -num_gpus 2 --npz --c --val -device cpu",
    constants.PREPROCESS: "-d 1 2 -plans_name P -c 2d 3d_fullres -np 2 4 --verbose --no_pbar",
    constants.FINGERPRINT: "-d 1 -fpe F -np 3 --verify_dataset_integrity --clean",
    constants.PLAN: "-d 1 -pl X -gpu_memory_target 24 -preprocessor_name N -overwrite_target_spacing 1 1 1",
    constants.PLAN_AND_PREPROCESS: "-d 1 2 -npfp 4 --no_pp --clean -pl X -overwrite_plans_name P -c 2d -np 2",
    constants.MOVE: "-s 1 -t 2 -sp nnUNetPlans -tp P",
    constants.PREDICT: "-i in -o out -d 1 -c 2d -p P -tr T -f 0 all -chk c.pth -npp 1 -nps 1 -num_parts 2 -part_id 1",
    constants.PREDICT_FROM_FOLDER: "-i in -o out -m model -f 0 1 --c --disable_tta -step_size 0.3 -device mps",
}
every_command = pytest.mark.parametrize("name", GRAMMARS)


# ---------------------------------------------------------------------------------------------------------------------
# Compared with the real parsers
# ---------------------------------------------------------------------------------------------------------------------


def ours(name: str, words: list[str]) -> Any:
    """The arguments by name, "help", or "refused", which is also the result of a strict parser for unknown ones."""
    try:
        found = parse(name, words)
    except UsageError:
        return "refused"
    if found is None:
        return "help"
    lenient = name in (constants.PREPROCESS, constants.FINGERPRINT, constants.PLAN)
    return vars(found.values) if lenient or not found.unknown else "refused"


class _Reached(Exception):
    """nnU-Net has parsed its arguments."""


def theirs(name: str, words: list[str]) -> Any:
    """The same for nnU-Net's own entry function, which is stopped after it has parsed its arguments."""
    module, function = ENTRIES[name]
    entry = getattr(importlib.import_module(module), function)
    read: list[argparse.Namespace] = []

    def stop(method: Any) -> Any:
        def wrapped(parser: argparse.ArgumentParser, *arguments: Any, **options: Any) -> Any:
            found = method(parser, *arguments, **options)
            read.append(found[0] if isinstance(found, tuple) else found)
            raise _Reached

        return wrapped

    which = (
        "parse_known_args" if name in (constants.PREPROCESS, constants.FINGERPRINT, constants.PLAN) else "parse_args"
    )
    silent = io.StringIO()
    with (
        patch.object(argparse.ArgumentParser, which, stop(getattr(argparse.ArgumentParser, which))),
        patch.object(sys, "argv", [name, *words]),
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
    ):
        try:
            entry()
        except _Reached:
            return vars(read[0])
        except SystemExit as end:
            return "refused" if end.code else "help"
    raise AssertionError("nnU-Net did not parse its arguments")


def assert_equal_results(name: str, words: list[str]) -> None:
    mine, real = ours(name, words), theirs(name, words)
    if isinstance(mine, dict) and isinstance(real, dict) and mine.get("np", 1) is None:
        real["np"] = None if name == constants.FINGERPRINT else real["np"]  # nnU-Net's default depends on the machine
    if "npp" in mine:
        for word in ("npp", "nps"):
            mine[word], real[word] = (value if value != 3 else "default" for value in (mine[word], real[word]))
    assert mine == real, words


def shortened(word: str, length: int) -> str:
    return word[: max(2, len(word) - length)] if word.startswith("-") else word


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A command with words of its complete call omitted, abbreviated, joined by =, reordered, or mixed with others."""
    name = draw(st.sampled_from(sorted(GRAMMARS)))
    words = CALLS[name].split()
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("-") or not groups or not groups[-1][0].startswith("-"):
            groups.append([word])
        else:
            groups[-1].append(word)
    groups = draw(st.permutations([group for group in groups if draw(st.integers(0, 9))]))
    result: list[str] = []
    for head, *rest in groups:
        head = shortened(head, draw(st.sampled_from([0, 0, 0, 1, 3, 8])))
        if len(rest) == 1 and draw(st.booleans()):
            result.append(f"{head}={rest[0]}")
        else:
            result += [head, *rest]
    odd = st.sampled_from(["-5", "--", "-1.5", "x", "", "-h", "--hel", "-unknown", "--unknown=3", "-d", "a b", "-é"])
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        result.insert(draw(st.integers(0, len(result))), draw(odd))
    return name, result


@pytest.mark.nnunet
@every_command
def test_a_complete_call_is_parsed_as_by_nnunet(name: str) -> None:
    words = CALLS[name].split()
    assert isinstance(theirs(name, words), dict)
    assert_equal_results(name, words)


@pytest.mark.nnunet
@given(lines())
@example((constants.TRAIN, ["2", "3d_fullres", "0", "--disable", "-pretrained", "w", "-n=2"]))
@example((constants.TRAIN, ["2", "3d_fullres", "0", "-p=X", "--va"]))
@example((constants.TRAIN, ["2", "3d_fullres", "-1"]))
@example((constants.TRAIN, []))
@example((constants.PREPROCESS, ["-d", "-5", "3"]))
@example((constants.PREPROCESS, []))
@example((constants.PREDICT, ["-h"]))
@example((constants.PREDICT, ["-i", "-h"]))
def test_any_call_is_parsed_as_by_nnunet(line: tuple[str, list[str]]) -> None:
    assert_equal_results(*line)


@pytest.mark.nnunet
@every_command
def test_every_option_of_nnunet_is_known(name: str) -> None:
    """Options that CALLS omit, too."""
    flags: set[str] = set()
    add = argparse.ArgumentParser.add_argument

    def record(parser: argparse.ArgumentParser, *names: str, **options: Any) -> Any:
        flags.update(names)
        return add(parser, *names, **options)

    with patch.object(argparse.ArgumentParser, "add_argument", record):
        theirs(name, ["-h"])
        wanted = set(flags)
        flags.clear()
        ours(name, ["-h"])
    assert flags == wanted


# ---------------------------------------------------------------------------------------------------------------------
# Which words are the command
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [
        ("nnUNetv2_train 2 3d_fullres 0", constants.TRAIN, "2 3d_fullres 0"),
        ("/opt/env/bin/nnUNetv2_predict -i a", constants.PREDICT, "-i a"),
        ("python -m nnunetv2.run.run_training 2 2d 0", constants.TRAIN, "2 2d 0"),
        ("python /x/nnunetv2/run/run_training.py 2 2d 0", constants.TRAIN, "2 2d 0"),
        ("torchrun --nproc-per-node 2 -m nnunetv2.run.run_training 2 2d 0", constants.TRAIN, "2 2d 0"),
        ("torchrun --nproc-per-node=2 /x/bin/nnUNetv2_train 2 2d 0", constants.TRAIN, "2 2d 0"),
        ("srun -u nnUNetv2_train 2 2d 0", constants.TRAIN, "2 2d 0"),
        ("srun --job-name nnUNetv2_train nnUNetv2_predict -i a", constants.PREDICT, "-i a"),
        ("env CUDA_VISIBLE_DEVICES=0 nnUNetv2_train 2 2d 0", constants.TRAIN, "2 2d 0"),
        ("python -m nnunetv2.experiment_planning.plan_and_preprocess_entrypoints", constants.PLAN_AND_PREPROCESS, ""),
        ("nnUNetv2_find_best_configuration 2", "nnUNetv2_find_best_configuration", "2"),
        ("nnUNetv2_train 2 2d 0 -p nnUNetv2_predict", constants.TRAIN, "2 2d 0 -p nnUNetv2_predict"),
    ],
)
def test_the_command_is_found(line: str, name: str, arguments: str) -> None:
    found = command_line(line.split())
    assert (found.name, list(found.arguments)) == (name, arguments.split())
    assert found.words == tuple(line.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "no command is named"),
        ([""], "no command of nnU-Net"),
        (["python", "train.py"], "no command of nnU-Net in: python train.py"),
        (["python", "-m", "nnunetv2.inference.predict_from_raw_data"], "no command of nnU-Net"),
        (["nnUNet_train", "2"], "no command of nnU-Net"),
        (["CUDA_VISIBLE_DEVICES=0", "nnUNetv2_train"], "for a shell"),
        (["nnUNetv2_train", "2\0"], "NUL"),
    ],
)
def test_other_commands_are_refused(line: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        command_line(line)
    assert message in caught.value.reason


def test_the_right_spelling_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        command_line(["nnUNet_train", "2"])
    assert caught.value.hint == "did you mean nnUNetv2_train?"


def test_variables_that_env_sets() -> None:
    line = command_line("srun A=1 env -i nnUNet_raw=/a=b CUDA_VISIBLE_DEVICES= nnUNetv2_train 2 2d 0 -p X=1".split())
    assert line.assignments == {"nnUNet_raw": "/a=b", "CUDA_VISIBLE_DEVICES": ""}
    assert CommandLine(("nnUNetv2_train", "A=1"), 0, constants.TRAIN).assignments == {}


# ---------------------------------------------------------------------------------------------------------------------
# Arguments of other versions
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "2 2d 0 --new 5",
        "--new 2 2d 0",
        "--new 5 2 2d 0",
        "2 --new=5 2d 0",
        "2 2d 0 5",
        "-new 5 2 -p nnUNetPlans 2d 0",
        "-a 2 -b 2d 0 x",
    ],
)
def test_unknown_words_do_not_hide_the_known_ones(words: str) -> None:
    found = parse(constants.TRAIN, words.split())
    assert found is not None
    assert (found.values.dataset_name_or_id, found.values.configuration, found.values.fold) == ("2", "2d", "0")
    assert found.unknown


def test_errors_have_the_words_of_nnunet() -> None:
    for words, message in (
        (["2", "2d"], "nnUNetv2_train: the following arguments are required: fold"),
        (["2", "2d", "0", "-num_gpus", "two"], "nnUNetv2_train: argument -num_gpus: invalid int value: 'two'"),
        (["2", "2d", "0", "-p"], "nnUNetv2_train: argument -p: expected one argument"),
    ):
        with pytest.raises(UsageError) as caught:
            training_values(words)
        assert caught.value.reason == message


def test_help_is_no_training() -> None:
    assert parse(constants.TRAIN, ["-h"]) is None
    assert parse(constants.TRAIN, ["2", "2d", "0", "--help"]) is None


def test_arguments_of_a_training() -> None:
    values = training_values(
        "2 3d_fullres all -tr T -p=X -pretrained_weights w.pth --c --disable -device cpu -num 2".split()
    )
    assert (values.dataset_name_or_id, values.configuration, values.fold, values.tr) == ("2", "3d_fullres", "all", "T")
    assert (values.p, values.pretrained_weights, values.c, values.num_gpus) == ("X", "w.pth", True, 2)
    assert (values.disable_checkpointing, values.val, values.device) == (True, False, "cpu")
