"""Builders of printed commands: what a shell and the programs' own parsers read is what was given."""

from __future__ import annotations

import inspect
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plansguard.nnunet import printed_commands
from plansguard.nnunet.command_line import parse
from plansguard.nnunet.constants import PREDICT, TRAIN
from plansguard.nnunet.printed_commands import CHECKPOINT, DATASET, ShellText, below, chain, shell
from tests.support.printed import obstacle

DATASET_NAME = "Dataset002_FinetuneCT"
#: Text that a shell would change or run if it were not quoted.
HOSTILE = st.text(st.sampled_from("ab $`\"';&|*?~<>(){}[]#!\\=é"), min_size=1, max_size=12)
PLACE = (DATASET_NAME, "3d_fullres", "0")
#: Builder -> values of its parameters, in order; {} for values that the property chooses.
BUILDERS: Mapping[Callable[..., ShellText], tuple[Sequence[str], Mapping[str, str]]] = {
    printed_commands.check: ([DATASET_NAME], {"plans": "{}", "configuration": "{}", "weights": "{}", "dask": "{}"}),
    printed_commands.check_file: (["{}"], {}),
    printed_commands.check_with_baseline: (["{}"], {}),
    printed_commands.baseline: (["write"], {"file": "{}"}),
    printed_commands.preprocess: ([DATASET_NAME, "{}", "{}"], {"dask": "{}"}),
    printed_commands.migrate: (["{}", DATASET_NAME, "{}"], {"plans": "{}", "workflow": "graft"}),
    printed_commands.derive: ([DATASET_NAME, "{}", "{}"], {}),
    printed_commands.undo_derivation: ([DATASET_NAME, "{}"], {}),
    printed_commands.undo: ([DATASET_NAME, "{}"], {}),
    printed_commands.extract: (["{}", "{}"], {}),
    printed_commands.show: (["{}"], {}),
    printed_commands.diff: (["{}", "{}"], {}),
    printed_commands.adapt: (["{}", DATASET_NAME], {"to": "{}", "plans": "{}", "configuration": "{}"}),
    printed_commands.fit_everywhere: (["{}"], {}),
    printed_commands.steps: ([DATASET_NAME, "{}", "{}", "0", "500"], {}),
    printed_commands.explain: (["{}"], {}),
    printed_commands.verify_receipt: (["{}"], {"weights": "{}"}),
    printed_commands.train: ([DATASET_NAME, "{}", "0"], {"plans": "{}", "trainer": "{}", "weights": "{}"}),
    printed_commands.predict: ([DATASET_NAME, "{}", "0"], {"plans": "{}", "trainer": "{}", "to": "{}"}),
    printed_commands.find_best: ([DATASET_NAME, "{}", "{}", "{}", "0", "1"], {}),
    printed_commands.extract_fingerprint: ([DATASET_NAME], {}),
    printed_commands.plan_experiment: ([DATASET_NAME, "{}"], {"memory": "24", "name": "{}"}),
    printed_commands.plan_and_preprocess: ([DATASET_NAME], {}),
    printed_commands.install_zip: (["{}"], {}),
    printed_commands.convert_old_dataset: (["{}", "{}"], {}),
    printed_commands.train_pretrained: ([DATASET_NAME, "{}", "0"], {"plans": "{}", "trainer": "{}"}),
}
#: Functions that build no command of their own, and the gate, whose words are those of another program.
OTHERS = (below, chain, shell, printed_commands.gate, printed_commands.number, printed_commands.source)


def test_every_builder_is_tested() -> None:
    public: set[object] = {
        function
        for name, function in inspect.getmembers(printed_commands, inspect.isfunction)
        if function.__module__ == printed_commands.__name__ and not name.startswith("_")
    }
    assert public == {*BUILDERS, *OTHERS}


@pytest.mark.parametrize("builder", BUILDERS, ids=lambda builder: builder.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_values_arrive(builder: Callable[..., ShellText], data: st.DataObject) -> None:
    """A command has an accepted number for its dataset, and every value as one word."""
    positional, named = BUILDERS[builder]
    chosen: list[str] = []

    def value(given: str) -> str:
        if given != "{}":
            return given
        chosen.append(data.draw(HOSTILE))
        return chosen[-1]

    words = shlex.split(builder(*map(value, positional), **{name: value(one) for name, one in named.items()}))
    assert DATASET_NAME not in words
    assert set(chosen) <= set(words)
    plain = builder(*(one.format("A1") for one in positional), **{key: one.format("A1") for key, one in named.items()})
    assert obstacle(shlex.split(plain)) is None
    assert len(shlex.split(plain)) == len(words)


def test_a_shell_reads_the_words() -> None:
    words = ["a b", "$HOME", "`id`", "it's", "*", "~", "a;b", ""]
    assert _read_by_shell(shell(*words)) == words
    assert _read_by_shell(below("nnUNet_results", "my model")) == ["/a b/my model"]


def _read_by_shell(text: str) -> list[str]:
    command, variables = ["sh", "-c", f"printf '%s\\n' {text}"], {"nnUNet_results": "/a b"}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("name", "own", "number"),
    [
        ("Dataset002_FinetuneCT", "2", "2"),
        ("Dataset1234_Large", "1234", "1234"),
        ("DatasetOfMine", "DatasetOfMine", "DATASET"),
        ("a folder", "DATASET", "DATASET"),
        ("7", "7", "7"),
        (DATASET, "DATASET", "DATASET"),
    ],
)
def test_datasets(name: str, own: str, number: str) -> None:
    """plansguard's commands, training and prediction take a whole name, planning and fingerprints only a number."""
    assert printed_commands.check(name) == f"plansguard check -d {own}"
    assert printed_commands.train(name, "2d", "0") == f"plansguard gate -- nnUNetv2_train {own} 2d 0"
    assert printed_commands.extract_fingerprint(name) == f"nnUNetv2_extract_fingerprint -d {number}"


def test_a_training_as_nnunet_reads_it() -> None:
    options: dict[str, Any] = {"plans": "my plans", "trainer": "Mine", "device": "cpu", "gpus": 2, "weights": "a b.pth"}
    command = printed_commands.train(
        *PLACE, flags=["--c"], options=["--gpu-memory", "24"], launcher=["srun", TRAIN], **options
    )
    own, _, typed = command.partition(" -- ")
    assert own == "plansguard gate --gpu-memory 24"
    launcher, program, *words = shlex.split(typed)
    assert (launcher, program) == ("srun", TRAIN)
    parsed = parse(TRAIN, words)
    assert parsed is not None
    values = parsed.values
    assert (values.dataset_name_or_id, values.configuration, values.fold) == ("2", "3d_fullres", "0")
    assert (values.p, values.tr, values.device, values.num_gpus, values.c) == ("my plans", "Mine", "cpu", 2, True)
    assert values.pretrained_weights == "a b.pth"


def test_a_training_in_steps() -> None:
    command = printed_commands.train(*PLACE, schedule=["--steps", "500"], options=["--from-scratch"], device="cpu")
    assert command == "plansguard train --from-scratch 2 3d_fullres 0 --steps 500 -device cpu"


def test_a_prediction_as_nnunet_reads_it() -> None:
    command = printed_commands.predict(*PLACE, plans="P", trainer="T", to=ShellText("OUT"), previous="first stage")
    parsed = parse(PREDICT, shlex.split(command)[4:])
    assert parsed is not None
    assert (parsed.values.d, parsed.values.c, parsed.values.f) == ("2", "3d_fullres", ["0"])
    assert (parsed.values.o, parsed.values.prev_stage_predictions) == ("OUT", "first stage")


def test_defaults_are_left_out() -> None:
    assert (
        printed_commands.migrate(CHECKPOINT, DATASET_NAME, "Mine") == "plansguard migrate -s CHECKPOINT -t 2 -tp Mine"
    )
    assert chain("", "a", "b") == "a && b"
