"""``plansguard finetune`` with the real nnU-Net, from raw images to fine-tuned folds."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.support import roads
from tests.support.stepping import CONFIGURATION, PLANS
from tests.support.variants import ROOTS

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="processes are killed"),
]
SCHEDULE = ("--steps", "6", "--per-epoch", "3", "--validation", "1", "--save-every", "1", "-device", "cpu", "-np", "1")
WORDS = (
    *("-s", "3", "-t", "13", "-sp", PLANS, "-tp", "Moved", "-c", CONFIGURATION, "-tr", roads.TRAINER),
    *("--pretrain-steps", "6", *SCHEDULE),
)
MODEL = f"{roads.TRAINER}_6steps_3per_1val"
KILLS = 10
#: Seconds after which a road is killed; one that is not killed needs about a minute.
EARLIEST, LATEST = 0.5, 12.0


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the road ran to its end."""
    root = roads.make_workspace(tmp_path_factory.mktemp("unbroken"))
    code, output = roads.finish(root, *WORDS)
    assert code == 0, output
    assert output.endswith("plansguard: every step is done\n")
    return root


def weights_of(root: Path, dataset: str, model: str) -> dict[str, dict[str, object]]:
    """Return the final weights of each fold of a model."""
    import torch

    folder = root / ROOTS["results"] / dataset / f"{model}__{CONFIGURATION}"
    files = sorted(folder.glob("fold_*/checkpoint_final.pth"))
    return {file.parent.name: torch.load(file, weights_only=False)["network_weights"] for file in files}


def test_from_raw_images_to_five_folds(unbroken: Path) -> None:
    folder = unbroken / ROOTS["results"] / roads.TARGET / f"{MODEL}_lr1en3__Moved__{CONFIGURATION}"
    assert [(folder / f"fold_{fold}/validation/summary.json").is_file() for fold in range(5)] == [True] * 5
    assert (folder / "crossval_results_folds_0_1_2_3_4/postprocessing.pkl").is_file()


def test_typed_once_more_nothing_runs(unbroken: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*") if path.is_file()}
    code, output = roads.finish(unbroken, *WORDS, "-q")
    assert code == 0, output
    assert "14 steps: 14 done; no findings" in output
    assert "step 1 of" not in output
    now = {path: path.stat().st_mtime_ns for path in unbroken.rglob("*") if path.is_file()}
    assert {path for path in before if now.get(path) != before[path]} == set()


def test_killed_at_ten_random_moments(unbroken: Path, tmp_path: Path) -> None:
    """Everything is killed, as by a reboot; the final weights are those of the road that was not, bit by bit."""
    import torch

    root, moments = roads.make_workspace(tmp_path / "killed"), random.Random()
    waited = []
    for _ in range(KILLS):
        waited.append(moments.uniform(EARLIEST, LATEST))
        process = roads.begin(root, *WORDS)
        try:
            process.wait(waited[-1])
        except subprocess.TimeoutExpired:
            roads.kill(process)
        else:
            assert process.returncode == 0, (waited, process.communicate()[0])
    code, output = roads.finish(root, *WORDS)
    assert code == 0, (waited, output)
    for dataset, model in ((roads.SOURCE, f"{MODEL}__{PLANS}"), (roads.TARGET, f"{MODEL}_lr1en3__Moved")):
        expected, found = (weights_of(workspace, dataset, model) for workspace in (unbroken, root))
        assert list(found) == list(expected) != []
        for fold, weights in expected.items():
            for name, tensor in weights.items():
                assert torch.equal(found[fold][name], tensor), (waited, fold, name)
