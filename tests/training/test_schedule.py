"""Schedules in steps, the names that contain them, and the commands that print them. No torch, no nnU-Net."""

from __future__ import annotations

import json
import keyword
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.core.errors import UsageError
from plansguard.nnunet.install import packages
from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.render.steps import HEIGHT, plot
from plansguard.training.options import Options, read_options, seconds
from plansguard.training.progress import Pace, duration
from plansguard.training.resume import Split, TrainingState, check_same_split
from plansguard.training.schedule import StepSchedule
from plansguard.training.signals import StopSignals
from plansguard.training.stop_reasons import Refused
from plansguard.training.trainer_name import is_step_name, read_name, trainer_name
from tests.support.command import run
from tests.support.variants import place, put, remove

MR = "Dataset003_TwoChannelMR"
pytestmark = pytest.mark.workspace(MR)

rates = st.floats(1e-12, 10.0)


@st.composite
def schedules(draw: st.DrawFn) -> StepSchedule:
    total = draw(st.integers(1, 10**9) | st.integers(1, 50))
    extends = draw(st.just(0) | st.integers(0, total - 1))
    return StepSchedule(
        total=total,
        per_window=draw(st.integers(1, 100_000) | st.integers(1, 20)),
        validation=draw(st.none() | st.integers(1, 1000)),
        rate=draw(st.none() | rates),
        by_window=draw(st.booleans()),
        warmup=draw(st.integers(0, min((extends or total) - 1, 1000))),
        keep_head=draw(st.booleans()),
        extends=extends,
    )


small = schedules().filter(lambda one: one.windows <= 1000)
bases = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,12}(_[A-Za-z0-9]{1,8}){0,2}", fullmatch=True).filter(
    lambda name: not is_step_name(name)
)


def lengths_of(schedule: StepSchedule) -> list[int]:
    """The number of steps of each window."""
    return [schedule.length_of(window) for window in range(schedule.windows)]


# --- The schedule


@given(small)
def test_windows_add_up_to_exactly_all_steps(schedule: StepSchedule) -> None:
    lengths = lengths_of(schedule)
    assert sum(lengths) == schedule.total
    assert len(lengths) == schedule.windows
    before = [] if schedule.extended is None else lengths_of(schedule.extended)
    assert lengths[: len(before)] == before
    for some in (before, lengths[len(before) :]):
        assert set(some[:-1]) <= {schedule.per_window}
        assert all(1 <= length <= schedule.per_window for length in some)
    assert schedule.first_step(schedule.windows) == schedule.total


@given(small, st.data())
def test_every_step_is_in_its_window(schedule: StepSchedule, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, schedule.total - 1))
    window = schedule.window_of(step)
    assert schedule.first_step(window) <= step < schedule.first_step(window + 1)


@given(schedules().filter(lambda one: not one.extends), st.data())
def test_the_rate_rises_then_falls_and_never_leaves_its_bounds(schedule: StepSchedule, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, schedule.total - 1))
    now, then = schedule.rate_at(step, 1.0), schedule.rate_at(step + 1, 1.0)
    assert 0 < now <= 1 + 1e-9
    assert then >= now or step >= schedule.warmup - 1
    assert then <= now or step < schedule.warmup
    assert schedule.rate_at(max(schedule.warmup, 0), 1.0) == pytest.approx(1.0) or schedule.by_window


@given(st.integers(1, 1000), st.integers(1, 500), st.data())
def test_by_window_the_rate_is_that_of_nnunet(windows: int, per: int, data: st.DataObject) -> None:
    """Bit for bit, as training/lr_scheduler/polylr.py computes it for epochs."""
    epoch = data.draw(st.integers(0, windows - 1))
    schedule = StepSchedule(windows * per, per, by_window=True)
    step = epoch * per + data.draw(st.integers(0, per - 1))
    assert schedule.rate_at(step, 0.01) == 0.01 * (1 - epoch / windows) ** 0.9


def test_beyond_its_end_the_rate_is_zero() -> None:
    """nnU-Net's own polynomial is a complex number there."""
    for by_window in (False, True):
        assert StepSchedule(10, 5, by_window=by_window).rate_at(10, 0.01) == 0
        assert StepSchedule(10, 5, by_window=by_window).rate_at(11, 0.01) == 0


def test_a_warm_up() -> None:
    schedule = StepSchedule(14, warmup=4)
    assert [schedule.rate_at(step, 1.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.rate_at(9, 1.0) == 0.5**0.9


@given(schedules().filter(lambda one: one.extends > 0), st.data())
def test_the_rate_of_an_extension(schedule: StepSchedule, data: st.DataObject) -> None:
    """Before it that of the training before, at last that of the whole length, and a straight line in between."""
    before = schedule.extended
    assert before is not None
    first, falls = schedule.extends, schedule.extends + schedule.restart
    step = data.draw(st.integers(0, first - 1))
    assert schedule.rate_at(step, 0.01) == before.rate_at(step, 0.01)
    whole = StepSchedule(schedule.total, warmup=schedule.warmup)
    step = data.draw(st.integers(falls, schedule.total))
    assert schedule.rate_at(step, 0.01) == whole.rate_at(step, 0.01) or schedule.by_window
    if schedule.restart:
        step = data.draw(st.integers(first, falls - 1))
        rise = schedule.rate_at(step, 0.01) - schedule.rate_at(step - 1, 0.01)
        high = whole.rate_at(falls, 0.01)
        assert rise == pytest.approx((high - before.rate_at(first - 1, 0.01)) / schedule.restart, abs=1e-12)
        assert schedule.rate_at(falls - 1, 0.01) == pytest.approx(high)


def test_an_extension() -> None:
    schedule = StepSchedule(80_000, extends=50_000)
    assert (schedule.restart, schedule.windows) == (1000, 320)
    assert schedule.rate_at(49_999, 0.01) == StepSchedule(50_000).rate_at(49_999, 0.01)
    assert schedule.rate_at(50_000, 0.01) == pytest.approx(4.6e-6, rel=0.02)
    assert schedule.rate_at(50_999, 0.01) == pytest.approx(0.01 * (29 / 80) ** 0.9)
    assert schedule.rate_at(79_999, 0.01) == StepSchedule(80_000).rate_at(79_999, 0.01)
    assert lengths_of(StepSchedule(12, 4, extends=6)) == [4, 2, 4, 2]
    assert StepSchedule(12, extends=6).restart == 0


def test_epochs_samples_and_passes() -> None:
    schedule = StepSchedule.of_epochs(1000)
    assert schedule == StepSchedule(250_000)
    assert schedule.samples(2) == 500_000
    assert schedule.passes(2, 40) == 12_500


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"total": 0}, "the number of steps must be between 1 and 1,000,000,000, not 0"),
        ({"total": -5}, "not -5"),
        ({"total": 10**10}, "not 10,000,000,000"),
        ({"total": 10**5000}, "not that many"),
        ({"total": 5, "per_window": 0}, "steps per window must be between 1 and 100,000, not 0"),
        ({"total": 5, "validation": 0}, "validation steps must be"),
        ({"total": 5, "rate": 0.0}, "a learning rate of 0 cannot be trained with"),
        ({"total": 5, "rate": -0.1}, "-0.1"),
        ({"total": 5, "rate": math.nan}, "nan"),
        ({"total": 5, "rate": math.inf}, "inf"),
        ({"total": 5, "warmup": 5}, "a warm-up of 5 steps does not fit into 5 steps"),
        ({"total": 5, "warmup": -1}, "-1"),
        ({"total": 5, "extends": 5}, "5 steps cannot be extended to 5"),
        ({"total": 5, "extends": -1}, "cannot be extended"),
        ({"total": 5, "extends": 3, "warmup": 3}, "a warm-up of 3 steps does not fit into 3 steps"),
    ],
)
def test_impossible_schedules(arguments: dict[str, int | float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        StepSchedule(**arguments)  # type: ignore[arg-type]


# --- Names


@given(bases, schedules())
def test_a_name_contains_its_schedule(base: str, schedule: StepSchedule) -> None:
    name = trainer_name(base, schedule)
    assert name.isidentifier()
    assert not keyword.iskeyword(name)
    assert "__" not in name
    assert is_step_name(name)
    assert read_name(name) == (base, schedule)


@given(st.tuples(bases, schedules()), st.tuples(bases, schedules()))
def test_different_schedules_have_different_names(
    one: tuple[str, StepSchedule], other: tuple[str, StepSchedule]
) -> None:
    assert (trainer_name(*one) == trainer_name(*other)) is (one == other)


@pytest.mark.parametrize(
    ("name", "base", "schedule"),
    [
        ("nnUNetTrainer_50000steps", "nnUNetTrainer", StepSchedule(50_000)),
        ("nnUNetTrainer_50000steps_1000per", "nnUNetTrainer", StepSchedule(50_000, 1000)),
        ("nnUNetTrainerNoMirroring_20000steps_lr1en3", "nnUNetTrainerNoMirroring", StepSchedule(20_000, rate=0.001)),
        ("nnUNetTrainer_noDummy2DDA_9steps_lr25en5", "nnUNetTrainer_noDummy2DDA", StepSchedule(9, rate=0.00025)),
        ("nnUNetTrainer_9steps_lr1e0_windowlr", "nnUNetTrainer", StepSchedule(9, rate=1.0, by_window=True)),
        ("nnUNetTrainer_9steps_keephead", "nnUNetTrainer", StepSchedule(9, keep_head=True)),
        ("nnUNetTrainer_9steps_2val_warmup3", "nnUNetTrainer", StepSchedule(9, validation=2, warmup=3)),
        ("nnUNetTrainer_9steps_from5_2per", "nnUNetTrainer", StepSchedule(9, 2, extends=5)),
    ],
)
def test_names(name: str, base: str, schedule: StepSchedule) -> None:
    assert read_name(name) == (base, schedule)
    assert trainer_name(base, schedule) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nnUNetTrainer_050steps", "another name for nnUNetTrainer_50steps"),
        ("nnUNetTrainer_50steps_250per", "another name for nnUNetTrainer_50steps"),
        ("nnUNetTrainer_50steps_lr10en4", "another name for nnUNetTrainer_50steps_lr1en3"),
        ("nnUNetTrainer_50steps_warmup0", "another name for nnUNetTrainer_50steps"),
        ("nnUNetTrainer_0steps", "between 1 and"),
        ("nnUNetTrainer_50steps_warmup50", "does not fit"),
        ("nnUNetTrainer_50steps_per1000", "cannot be read"),
        ("nnUNetTrainer_50steps_from0", "another name for nnUNetTrainer_50steps"),
        ("nnUNetTrainer_50steps_from50", "cannot be extended"),
        ("nnUNetTrainer_90steps_from80_from50", "cannot be read"),
        ("nnUNetTrainer_50steps_lr1en3_1000per", "cannot be read"),
        ("nnUNetTrainer_50steps_lr0.001", "cannot be read"),
        ("nnUNetTrainer_50steps_20steps", "has a number of steps already"),
        ("nnUNetTrainer__50steps", "is no name of a trainer"),
        ("nnUNetTrainer_" + "9" * 5000 + "steps", "cannot be read"),
    ],
)
def test_names_that_are_not_right(name: str, said: str) -> None:
    assert is_step_name(name)
    with pytest.raises(UsageError, match=said):
        read_name(name)


@pytest.mark.parametrize(
    "name", ["nnUNetTrainer", "nnUNetTrainer_250epochs", "__path__", "nnUNetTrainer_50stepsAndMore"]
)
def test_other_names_are_left_to_nnunet(name: str) -> None:
    assert not is_step_name(name)


# --- Options, state, signals


def test_options() -> None:
    assert read_options({}) == Options(2500, None, False)
    given = {"PLANSGUARD_SAVE_EVERY": "0", "PLANSGUARD_MAX_TIME": "23h30m", "PLANSGUARD_PORTABLE": "1"}
    assert read_options({**given, "PLANSGUARD_SAVE_TOTAL_LIMIT": "3"}) == Options(0, 84_600, True, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("23h30m", 84_600),
        ("1d2h", 93_600),
        ("90m", 5400),
        ("45s", 45),
        ("45", 45),
        ("", None),
        ("h", None),
        ("1x", None),
    ],
)
def test_lengths_of_time(text: str, expected: int | None) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"PLANSGUARD_SAVE_EVERY": "often"},
        {"PLANSGUARD_SAVE_TOTAL_LIMIT": "-1"},
        {"PLANSGUARD_MAX_TIME": "0"},
        {"PLANSGUARD_PORTABLE": "maybe"},
    ],
)
def test_an_option_that_cannot_be_read_is_named(given: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(given))):
        read_options(given)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"PLANSGUARD_SAVE_EVERY": "1" * 13}, "--save-every 1111111111111 is no number of steps"),
        ({"PLANSGUARD_SAVE_TOTAL_LIMIT": "1234567"}, "--save-total-limit 1234567 is no number of checkpoints"),
        ({"PLANSGUARD_MAX_TIME": "soon"}, "--max-time soon is no length of time"),
    ],
)
def test_a_message_names_what_was_typed(given: dict[str, str], shown: str) -> None:
    (name,) = given
    with pytest.raises(UsageError, match=f"^{shown}$") as raised:
        read_options({name: "5"}, given)
    option = shown.partition(" ")[0]
    assert str(raised.value.hint).startswith(f"for example {option} ")
    with pytest.raises(UsageError, match=f"^{name}={given[name]} ") as raised:
        read_options(given)
    assert str(raised.value.hint).startswith(f"for example {name}=")


def test_a_state_survives_json() -> None:
    split = Split.of(["b", "a"], ["c"])
    state = TrainingState("nnUNetTrainer_5steps", "run", "2026-01-01", 3, 1, split, {"loss": [0.5, 0.25]})
    assert TrainingState.from_json(json.loads(json.dumps(state.as_json()))) == state
    with pytest.raises(KeyError):
        TrainingState.from_json({"step": 3})


def test_pace_and_time_left() -> None:
    now = [100.0]
    pace = Pace(5000, 1000, lambda: now[0])
    assert pace.line(1000, None, 0.01) == "step 1,000 of 5,000, learning rate 1.00e-02"
    assert not pace.due(60)
    now[0] += 60
    assert pace.due(60)
    assert not pace.due(60)
    assert pace.due(30)
    line = "step 1,240 of 5,000, loss -0.5000, learning rate 5.00e-03, 4 steps/s, 15m left"
    assert pace.line(1240, -0.5, 0.005) == line
    assert pace.bar(1250) == "[#####---------------]"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0s"), (59.4, "59s"), (60, "1m"), (3600, "1h00m"), (11_100, "3h05m"), (183_600, "2d3h")]
)
def test_durations(number: float, text: str) -> None:
    assert duration(number) == text


def test_a_split_is_its_cases() -> None:
    split = Split.of(["b", "a"], ["c"])
    check_same_split(None, split)
    check_same_split(Split.of(["a", "b"], ["c"]), split)
    with pytest.raises(Refused, match="but other ones"):
        check_same_split(Split.of(["a", "d"], ["c"]), split)
    with pytest.raises(Refused, match="it had 1 training and 2 validation cases, now 2 training"):
        check_same_split(Split.of(["a"], ["b", "c"]), split)


def test_a_refusal_ends_a_program_with_its_message() -> None:
    program = "from plansguard.training.stop_reasons import Refused; raise Refused('no way', hint='go back')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "plansguard: no way\n  go back\n")


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_signals_are_noted_and_their_handlers_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGTERM"
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_a_forked_worker_is_ended_by_its_parent_alone() -> None:
    program = """
import os, signal
from plansguard.training.signals import StopSignals
with StopSignals():
    child = os.fork()
    if child == 0:
        names = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
        print(*(signal.getsignal(getattr(signal, name)).name for name in names), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SIG_DFL", "SIG_IGN", "SIG_IGN", "SIG_IGN"]


# --- plansguard steps


def test_steps() -> None:
    done = run("steps", "--total", "50000", "--per-epoch", "1000")
    assert done.code == 0
    assert "50 of 1,000 steps" in done.out
    assert "20% of its 250,000 steps" in done.out
    assert "0.01, falling with each step to 5.9e-07" in done.out
    assert "nnUNetv2_train DATASET CONFIGURATION 0 -tr nnUNetTrainer_50000steps_1000per\n" in done.out


@pytest.mark.parametrize("options", ["", "--per-epoch 1", "--window-lr --per-epoch 1", "--warmup 500 --lr 0.1"])
def test_the_longest_schedules_take_no_longer(options: str) -> None:
    """Nothing is done for each of a billion windows."""
    started = time.process_time()
    for total in (("--total", "1000000000"), ("--total", "1000", "--extend-to", "1000000000")):
        for output in ("text", "json"):
            assert run("steps", *total, "--output", output, *options.split()).code == 0
    assert time.process_time() - started < 3


def test_the_other_way_round() -> None:
    assert run("steps", "--epochs", "50", "--per-epoch", "1000") == run(
        "steps", "--total", "50000", "--per-epoch", "1000"
    )


def test_a_trainer_with_a_rate_of_its_own() -> None:
    done = run("steps", "--total", "700", "-tr", "nnUNetTrainerAdam3en4")
    assert "3 of 250 steps, the last of 200" in done.out
    assert "times that of nnUNetTrainerAdam3en4" in done.out
    assert "0.01" not in done.out.replace("0.28%", "")
    assert "such as --lr 0.001; that of nnUNetTrainerAdam3en4 is not known." in done.out


def test_everything_that_changes_the_result_is_in_the_name() -> None:
    options = "--total 9 --per-epoch 3 --validation 2 --lr 0.001 --window-lr --warmup 4 -tr nnUNetTrainerNoMirroring"
    done = run("steps", *options.split(), "--keep-head")
    assert "-tr nnUNetTrainerNoMirroring_9steps_3per_2val_lr1en3_windowlr_warmup4_keephead\n" in done.out


def test_an_extension_is_named_and_described() -> None:
    done = run("steps", "--total", "50000", "--extend-to", "80000")
    assert done.code == 0
    assert "30,000 optimiser steps after 50,000" in done.out
    assert "rising again for 1000 steps" in done.out
    assert "-tr nnUNetTrainer_80000steps_from50000 --c\n" in done.out
    assert "pretrained" not in done.out
    assert "rising again from 0.00067 to " in run("steps", "--total", "20", "--extend-to", "29", "--per-epoch", "2").out
    done = run("steps", "--total", "50000", "--extend-to", "50000")
    assert done.code == 2
    assert "50,000 steps cannot be extended to 50,000" in done.err


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ("--total 8 --per-epoch 4 --extend-to 14", "falling from 0.0054 to 0.0047, then with each window to 0.0017"),
        ("--total 100 --extend-to 140", "falling for 4 steps from 0.01 to 0.0029\n"),
        ("--total 50000 --extend-to 80000", "rising again for 1000 steps from 8.5e-05 to 0.004, falling with each "),
    ],
)
def test_the_rate_of_an_extension_does_not_always_rise(options: str, rate: str) -> None:
    """By windows, a training ends at the rate with which its last window began."""
    assert f"  {rate}" in run("steps", *options.split(), "--window-lr").out


def test_samples_and_passes(workspace: Path) -> None:
    put("preprocessed/nnUNetPlans.json", "/configurations/2d/batch_size", 12)(workspace, MR)
    done = run("steps", "--total", "1000", "-d", "3", "-c", "2d")
    assert "12,000 patches: 12 in each step" in done.out
    assert "each of 4 training cases is drawn 3,000 times" in done.out
    assert "nnUNetv2_train 3 2d 0 -tr nnUNetTrainer_1000steps\n" in done.out
    assert "each of 5 training cases is drawn 2,400 times" in run(*_steps("-f", "1")).out
    assert "each of 6 training cases is drawn 2,000 times" in run(*_steps("-f", "all")).out
    remove("preprocessed/splits_final.json")(workspace, MR)
    assert "each of 4 training cases" in run(*_steps("-f", "0")).out  # as nnU-Net will divide them
    assert "each of 5 training cases" in run(*_steps("-f", "1")).out


def _steps(*more: str) -> list[str]:
    return ["steps", "--total", "1000", "-d", "3", "-c", "2d", *more]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "name either --total or --epochs"),
        ("--total 5 --epochs 5", "name either --total or --epochs"),
        ("--total 0", "between 1 and"),
        ("--epochs 0", "the number of epochs"),
        ("--total 5 --per-epoch 0", "steps per window"),
        ("--total 5 -tr nnUNetTrainer_9steps", "has a number of steps already"),
        ("--total 5 -tr a/b", "is no name of a trainer"),
        ("--total 5 -d 3", "add -c, such as -c "),
        ("--total 5 -d 3 -c 4d", "no configuration 4d"),
        ("--total 5 -d 3 -c 2d -p Other", "has no plans named Other"),
        ("--total 5 -d 3 -c 2d -f first", "is no fold"),
        ("--total 5 -d 9 -c 2d", "no dataset has the id 9"),
    ],
)
def test_what_cannot_be_worked_out(workspace: Path, arguments: str, said: str) -> None:
    done = run("steps", *arguments.split())
    assert done.code == 2
    assert done.out == ""
    assert said in done.err


def test_plans_without_a_batch_size(workspace: Path) -> None:
    path = place(workspace, MR, "preprocessed/nnUNetPlans.json")
    plans = json.loads(path.read_bytes())
    del plans["configurations"]["2d"]["batch_size"]
    path.write_text(json.dumps(plans))
    done = run(*_steps())
    assert done.code == 2
    assert "2d of nnUNetPlans cannot be used: configuration 2d has no batch_size\n  plansguard check -d" in done.err


@given(small)
def test_the_plot_fits(schedule: StepSchedule) -> None:
    lines = list(plot(schedule, 0.01))
    assert len(lines) == HEIGHT + 2
    assert max(map(len, lines)) <= 80
    assert "#" in lines[HEIGHT - 1] or "." in lines[HEIGHT - 1]


# --- plansguard env


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "nnunet_version", lambda: None)
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    assert run("env").out == f"export nnUNet_extTrainer={shlex.quote(str(EXTENSION))}\n"
    before = os.pathsep.join(["/my trainers", "/others"])
    monkeypatch.setenv("nnUNet_extTrainer", before)
    done = run("env")
    (word,) = shlex.split(done.out.removeprefix("export "))
    assert word == f"nnUNet_extTrainer={EXTENSION}{os.pathsep}{before}"
    monkeypatch.setenv("nnUNet_extTrainer", word.partition("=")[2])
    assert run("env") == done


def test_env_with_an_nnunet_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "nnunet_version", lambda: (2, 7, 0))
    done = run("env")
    assert done.code == 2
    assert "nnunetv2 2.7.0 has no nnUNet_extTrainer; it came with 2.8" in done.err


def test_the_folder_holds_one_module_and_is_no_package() -> None:
    assert [path.name for path in EXTENSION.iterdir() if path.name != "__pycache__"] == ["plansguard_steps.py"]


def test_the_module_leaves_other_names_alone() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(EXTENSION)!r})\nimport plansguard_steps\n"
        "assert not hasattr(plansguard_steps, 'nnUNetTrainer')\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
