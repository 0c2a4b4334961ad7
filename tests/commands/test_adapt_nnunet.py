"""`plansguard adapt` with the real networks: what is written, that nnU-Net loads it, and that it computes the same."""

from __future__ import annotations

import json
from collections import OrderedDict
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint
from plansguard.documents.validation import model_class
from plansguard.nnunet import adapted_weights
from plansguard.nnunet.inheritance import modern_architecture, resolve_configuration
from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.nnunet.network.parameters import counted_once, input_channels, segmentation_heads
from plansguard.training.stop_reasons import Refused
from tests.support import checkpoints
from tests.support.command import run
from tests.support.safetensors import save
from tests.support.variants import place

CT, MR = "Dataset002_FinetuneCT", "Dataset003_TwoChannelMR"
Document = dict[str, Any]

pytestmark = [pytest.mark.nnunet, pytest.mark.workspace(MR, CT, chdir=True)]


def edit(workspace: Path, dataset: str, **changes: Any) -> tuple[Document, Document]:
    """Change fields of a dataset.json, make the network small; return plans and dataset.json as they are then."""
    files = [place(workspace, dataset, f"preprocessed/{name}.json") for name in ("nnUNetPlans", "dataset")]
    plans, dataset_json = (json.loads(file.read_bytes()) for file in files)
    kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [4 + stage for stage in range(len(kwargs["features_per_stage"]))]
    dataset_json.update(changes)
    for file, document in zip(files, (plans, dataset_json), strict=True):
        file.write_text(json.dumps(document))
    return plans, dataset_json


def network_of(plans: Document, dataset_json: Document) -> Any:
    """The real network of 3d_fullres, with nnU-Net's initial values."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    resolved = resolve_configuration(plans["configurations"], "3d_fullres")
    built = modern_architecture(resolved)
    network = built["network_class_name"], built["arch_kwargs"], built["_kw_requires_import"]
    return get_network_from_plans(
        *network, input_channels(resolved, dataset_json), segmentation_heads(dataset_json), deep_supervision=True
    )


def trained(path: Path, plans: Document, dataset_json: Document) -> Any:
    """Save a checkpoint as nnU-Net's trainer does, with numbers of numpy in its log; return its network."""
    import numpy as np
    import torch

    network = network_of(plans, dataset_json)
    arguments = {"plans": plans, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset_json}
    content = {
        "network_weights": network.state_dict(),
        "logging": {"train_losses": [np.float32(0.5)], "lrs": [0.01]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": {**arguments, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(content, path)
    return network


def outputs(network: Any, images: Any) -> list[Any]:
    """All output maps of a forward pass, with deep supervision."""
    import torch

    network.eval()
    network.decoder.deep_supervision = True
    with torch.no_grad():
        return list(network(images))


def loaded(path: Path, plans: Document, dataset_json: Document, *, head: bool = False) -> Any:
    """The network with these weights, loaded by nnU-Net's own function; ``head`` also loads segmentation layers."""
    import torch
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    network = network_of(plans, dataset_json)
    load_pretrained_weights(network, str(path))
    if head:
        network.load_state_dict(torch.load(path, weights_only=True)["network_weights"])
    return network


def images(channels: int) -> Any:
    import torch

    return torch.randn(1, channels, 32, 32, 32, generator=torch.Generator().manual_seed(1))


def test_one_channel_and_two_classes_more(workspace: Path) -> None:
    """The first pass of the adapted network is that of the old one, on what was kept."""
    import torch

    plans, old = edit(workspace, MR, channel_names={"0": "T2"}, labels={"background": 0, "lesion": 1})
    before = trained(Path("old.pth"), plans, old)
    labels = {"background": 0, "core": 1, "lesion": 2, "oedema": 3}
    plans, new = edit(workspace, MR, channel_names={"0": "T1", "1": "T2"}, labels=labels)
    done = run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans", "-o", "adapted.pth")
    assert done.code == 0, done.err
    assert "T2       number 0 of the weights (T2)" in done.out
    training = "  plansguard gate -- nnUNetv2_train 3 3d_fullres 0 -p nnUNetPlans -tr nnUNetTrainer_250000steps_lr1en3"
    commands = f"{training} -pretrained_weights adapted.pth", f"{training}_keephead -pretrained_weights adapted.pth"
    assert [line for line in done.out.splitlines() if "plansguard gate" in line] == [*commands]
    after = loaded(Path("adapted.pth"), plans, new, head=True)
    both = images(2)
    for first, second in zip(outputs(before, both[:, 1:]), outputs(after, both), strict=True):
        assert torch.allclose(first, second[:, [0, 2]], atol=1e-5)
        assert second[:, [1, 3]].abs().max() > 0
    encoder = loaded(Path("adapted.pth"), plans, new)
    assert torch.equal(encoder.encoder.stages[0][0].convs[0].conv.weight[:, 0], torch.zeros(4, 3, 3, 3))


def trainer_of(name: str) -> Any:
    """A trainer of nnU-Net's command for the training of Dataset003, on the CPU."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    return get_trainer_from_args("3", "3d_fullres", 0, name, "nnUNetPlans", False, torch.device("cpu"))


def test_a_trainer_that_keeps_the_head(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's own command loads the weights; the first pass is that of the old network. Other classes are refused."""
    import torch
    from nnunetv2.run.run_training import maybe_load_checkpoint

    monkeypatch.setenv("nnUNet_extTrainer", str(EXTENSION))
    case = place(workspace, MR, "preprocessed/nnUNetPlans_3d_fullres/case.b2nd")
    case.parent.mkdir()
    case.touch()  # nnU-Net looks at the ending
    plans, old = edit(workspace, MR, channel_names={"0": "T2"}, labels={"background": 0, "lesion": 1})
    before = trained(Path("old.pth"), plans, old)
    edit(workspace, MR, channel_names={"0": "T1", "1": "T2"}, labels={"background": 0, "a": 1, "lesion": 2})
    assert run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans", "-o", "adapted.pth").code == 0
    trainer = trainer_of("nnUNetTrainer_9steps_keephead")
    maybe_load_checkpoint(trainer, False, False, "adapted.pth")
    both = images(2)
    for first, second in zip(outputs(before, both[:, 1:]), outputs(trainer.network, both), strict=True):
        assert torch.allclose(first, second[:, [0, 2]], atol=1e-5)
    stock = trainer_of("nnUNetTrainer_9steps")
    maybe_load_checkpoint(stock, False, False, "adapted.pth")
    name = "decoder.seg_layers.0.weight"
    assert not torch.equal(stock.network.state_dict()[name], trainer.network.state_dict()[name])
    edit(workspace, MR, labels={"background": 0, "lesion": 1, "a": 2})
    other = trainer_of("nnUNetTrainer_9steps_3per_keephead")
    with pytest.raises(Refused, match="the classes are background, lesion, a here and background, a, lesion"):
        maybe_load_checkpoint(other, False, False, "adapted.pth")
    with pytest.raises(Refused, match="and none were loaded"):
        other.run_training()


def test_one_channel_and_one_class_less_in_another_order(workspace: Path) -> None:
    """The old network sees zeros where the dataset has no channel."""
    import torch

    old_channels = {"0": "T1", "1": "T2", "2": "FLAIR"}
    plans, old = edit(workspace, MR, channel_names=old_channels, labels={"background": 0, "core": 1, "lesion": 2})
    before = trained(Path("old.pth"), plans, old)
    plans, new = edit(workspace, MR, channel_names={"0": "FLAIR", "1": "T1"}, labels={"background": 0, "lesion": 1})
    assert run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans", "-o", "adapted.pth").code == 0
    after = loaded(Path("adapted.pth"), plans, new, head=True)
    two = images(2)
    three = torch.stack([two[:, 1], torch.zeros_like(two[:, 0]), two[:, 0]], 1)
    for first, second in zip(outputs(before, three), outputs(after, two), strict=True):
        assert torch.allclose(first[:, [0, 2]], second, atol=1e-5)


def test_what_the_file_and_its_record_contain(workspace: Path) -> None:
    """The plans tell what each channel of the weights saw, so that a check judges them without false findings."""
    plans, old = edit(workspace, MR, channel_names={"0": "T2"})
    mine = plans["configurations"]["3d_fullres"]
    mine.update(normalization_schemes=["RescaleTo01Normalization"], use_mask_for_norm=[False])
    intensities = plans["foreground_intensity_properties_per_channel"]
    seen = deepcopy(intensities["0"])
    plans["foreground_intensity_properties_per_channel"] = {"0": {**seen, "mean": 0.25}}
    trained(Path("old.pth"), plans, old)
    theirs, new = edit(workspace, MR, channel_names={"0": "T1", "1": "T2"})
    assert run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans", "-o", "adapted.pth").code == 0
    adapted = read_checkpoint("adapted.pth")
    assert adapted.plans is not None
    assert adapted.dataset_json is not None
    saw, own = adapted.plans["configurations"]["3d_fullres"], theirs["configurations"]["3d_fullres"]
    assert saw["normalization_schemes"] == [own["normalization_schemes"][0], "RescaleTo01Normalization"]
    properties = adapted.plans["foreground_intensity_properties_per_channel"]
    assert [properties["0"], properties["1"]["mean"]] == [intensities["0"], 0.25]
    assert adapted.dataset_json["channel_names"] == new["channel_names"]
    assert (adapted.trainer, adapted.current_epoch, adapted.mirroring_axes) == ("nnUNetTrainer", 1000, (0, 1, 2))
    record = json.loads(Path("adapted.adaptation.json").read_bytes())
    assert adapted.adaptation == record
    model_class("AdaptationRecord").model_validate(record)
    parameters = [row["name"] for row in record["rows"]]
    assert parameters == [name for name, _ in counted_once(adapted.shapes)]
    judged = run("check", "-d", "3", "-p", "nnUNetPlans", "-pretrained_weights", "adapted.pth", "--output", "json").json
    found = [one for one in judged["findings"] if one["code"].startswith("PG6") and one["severity"] != "info"]
    assert [one["code"] for one in found] == ["PG625"]
    assert "normalization_schemes[1]" in found[0]["message"]


def test_a_folder_that_is_not_there(workspace: Path) -> None:
    trained(Path("old.pth"), *edit(workspace, MR))
    done = run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans", "-o", "absent/adapted.pth")
    assert (done.code, done.out) == (2, "")
    assert "cannot write absent/adapted.pth: No such file or directory" in done.err


@pytest.mark.parametrize("kind", ["archive", "legacy", "safetensors"])
def test_the_last_value_is_no_number(workspace: Path, kind: str) -> None:
    """The first values of a parameter are judged before; all of them when they are read."""
    import torch

    plans, dataset_json = edit(workspace, CT)
    network = trained(Path("old.pth"), plans, dataset_json)
    name = "encoder.stages.2.0.convs.0.conv.weight"
    with torch.no_grad():
        network.state_dict()[name].view(-1)[-1] = float("inf")
    if kind == "safetensors":
        once = dict(counted_once({name: tuple(value.shape) for name, value in network.state_dict().items()}))
        save(Path("old.pth"), {name: network.state_dict()[name] for name in once})
    else:
        weights = {"network_weights": network.state_dict()}
        torch.save(weights, "old.pth", _use_new_zipfile_serialization=kind == "archive")
    names = ("--old-channel", "CT", "--old-label", "background", "--old-label", "kidney", "-c", "3d_fullres")
    done = run("adapt", "old.pth", "-d", "2", "-p", "nnUNetPlans", "-o", "adapted.pth", *names)
    assert (done.code, done.out) == (2, "")
    assert f"contain NaN or infinity, such as {name}" in done.err
    assert not Path("adapted.pth").exists()


@pytest.mark.parametrize("extra", [("bytearray", 8 * 10**9), ("OrderedDict", 1), ("complex", "x")])
def test_what_else_is_in_the_file_is_not_made(workspace: Path, extra: tuple[str, Any]) -> None:
    """torch's own loader would call these constructors: they fail, or take all memory."""
    name, argument = extra
    module = "collections" if name == "OrderedDict" else "builtins"
    made = checkpoints.Called(checkpoints.Named(module, name), (argument,))
    checkpoints.write(Path("old.pth"), *edit(workspace, CT), extra=made)
    done = run("adapt", "old.pth", "-d", "2", "-p", "nnUNetPlans", "-o", "adapted.pth")
    assert (done.code, done.err) == (0, "")


def test_healthy_adapted_weights_have_no_finding(workspace: Path) -> None:
    plans, old = edit(workspace, MR, channel_names={"0": "T2"})
    for configuration in plans["configurations"].values():  # of one channel
        for key in ("normalization_schemes", "use_mask_for_norm"):
            configuration[key] = configuration.get(key, [])[1:]
    trained(Path("old.pth"), plans, old)
    edit(workspace, MR, channel_names={"0": "T1", "1": "T2"})
    assert run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans", "-o", "adapted.pth").code == 0
    judged = run("check", "-d", "3", "-p", "nnUNetPlans", "-pretrained_weights", "adapted.pth", "--output", "json").json
    grave = [f"{one['code']} {one['message']}" for one in judged["findings"] if one["severity"] != "info"]
    assert [one for one in grave if one.startswith("PG6")] == []


def test_their_plans_can_be_migrated(workspace: Path) -> None:
    """Of the channel that the weights lack they have what the dataset itself has."""
    plans, old = edit(workspace, CT, channel_names={"0": "T2"})
    for configuration in plans["configurations"].values():
        configuration.update(normalization_schemes=["ZScoreNormalization"], use_mask_for_norm=[False])
    trained(Path("checkpoint_final.pth"), plans, old)
    done = run("adapt", "checkpoint_final.pth", "-d", "3", "-o", "adapted.pth")
    assert done.code == 0, done.err
    migrate = done.out.splitlines()[-1].split()
    assert migrate == "plansguard migrate -s adapted.pth -t 3 -tp PretrainPlans".split()
    done = run(*migrate[1:], "-q")
    assert done.code == 0, done.out
    assert "PG606" not in done.out
    moved = json.loads(place(workspace, MR, "preprocessed/PretrainPlans.json").read_bytes())
    own = json.loads(place(workspace, MR, "preprocessed/nnUNetPlans.json").read_bytes())
    masks = [one["configurations"]["3d_fullres"]["use_mask_for_norm"] for one in (moved, own)]
    assert masks == [[True, False], [True, True]]
    judged = run("check", "-d", "3", "-p", "PretrainPlans", "-pretrained_weights", "adapted.pth", "-c", "3d_fullres")
    assert "PG62" not in judged.out.replace("PG628", "")
    assert "from checkpoint_final.pth by plansguard" in run("show", "adapted.pth").out


@pytest.mark.parametrize("new_channels", ["averaged", "initialised"])
def test_other_values_for_new_channels(workspace: Path, new_channels: str) -> None:
    import torch

    plans, old = edit(workspace, MR, channel_names={"0": "T2", "1": "FLAIR"})
    before = trained(Path("old.pth"), plans, old).state_dict()
    edit(workspace, MR, channel_names={"0": "T1", "1": "T2"})
    name = "encoder.stages.0.0.convs.0.conv.weight"
    options = ("-d", "3", "-p", "nnUNetPlans", "-o", "adapted.pth", "--new-channels", new_channels)
    for _ in range(2):  # the same command writes the same values
        assert run("adapt", "old.pth", *options).code == 0
        first = torch.load("adapted.pth", weights_only=True)["network_weights"][name]
        assert torch.equal(first[:, 1], before[name][:, 0])
        mean = torch.allclose(first[:, 0], before[name].mean(1))
        assert mean == (new_channels == "averaged")


def test_weights_of_another_adaptation_are_kept_as_a_backup(workspace: Path) -> None:
    """The same adaptation writes the same weights again, however the file is named."""
    plans, dataset_json = edit(workspace, CT)
    trained(Path("old.pth"), plans, dataset_json)
    words = ("-d", "2", "-p", "nnUNetPlans", "-o", "adapted.pth")
    for path in ("old.pth", Path("old.pth").absolute()):
        done = run("adapt", path, *words)
        assert (done.code, "backup" in done.err, "kept the previous" in done.out) == (0, False, False), done.err
    before = Path("adapted.pth").read_bytes()
    assert run("adapt", "old.pth", *words, "--encoder-only").code == 2
    assert Path("adapted.pth").read_bytes() == before
    done = run("adapt", "old.pth", *words, "--encoder-only", "--force")
    assert done.code == 0, done.err
    (backup,) = Path().glob("adapted.pth.*.bak")
    assert f"kept the previous content as {backup}\nwrote adapted.pth\n" in done.out
    assert backup.read_bytes() == before != Path("adapted.pth").read_bytes()


@pytest.mark.parametrize("words", [(), ("--force",)])
@pytest.mark.parametrize("name", ["adapted.pth", "adapted.adaptation.json"])
def test_a_file_that_comes_meanwhile_is_kept(
    workspace: Path, name: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked for before torch was loaded, seconds before the weights were written."""
    trained(Path("old.pth"), *edit(workspace, CT))
    adapted = adapted_weights.adapted

    def slow(*arguments: Any) -> Any:
        Path(name).write_bytes(b"of another program")
        return adapted(*arguments)

    monkeypatch.setattr(adapted_weights, "adapted", slow)
    done = run("adapt", "old.pth", "-d", "2", "-p", "nnUNetPlans", "-o", "adapted.pth", *words)
    assert (done.code, Path(name).read_bytes()) == (2, b"of another program")
    assert f"{name} exists, and is not known to be written by plansguard" in done.err
    assert Path("adapted.adaptation.json").exists() is (name != "adapted.pth")


def test_an_encoder_alone(workspace: Path) -> None:
    """As from nnssl: without names of channels, and under wrapped names."""
    import torch

    plans, dataset_json = edit(workspace, CT)
    before = trained(Path("whole.pth"), plans, dataset_json).state_dict()
    encoder = OrderedDict(("module." + name, value) for name, value in before.items() if name.startswith("encoder."))
    plan = {"key_to_encoder": "encoder.stages", "key_to_stem": "encoder.stem", "keys_to_in_proj": ("a", "b")}
    torch.save({"network_weights": encoder, "nnssl_adaptation_plan": plan}, "encoder.pth")
    words = ("encoder.pth", "-d", "2", "-p", "nnUNetPlans", "-o", "adapted.pth")
    done = run("adapt", *words)
    assert (done.code, "-c CONFIGURATION" in done.err) == (2, True)
    done = run("adapt", *words, "-c", "3d_fullres")
    assert done.code == 0, done.err
    after = loaded(Path("adapted.pth"), plans, dataset_json).state_dict()
    for name, value in before.items():
        is_encoder = name.startswith(("encoder.", "decoder.encoder."))
        is_constant = value.numel() == 0 or bool((value == value.flatten()[0]).all())
        if is_encoder or not is_constant:
            assert torch.equal(after[name], value) == is_encoder, name


def test_a_safetensors_file(workspace: Path) -> None:
    """It has each parameter once, and no names of channels and classes."""
    import torch

    plans, dataset_json = edit(workspace, CT)
    before = trained(Path("whole.pth"), plans, dataset_json).state_dict()
    once = dict(counted_once({name: tuple(value.shape) for name, value in before.items()}))
    save(Path("weights.safetensors"), {name: before[name] for name in once})
    labels = ("--old-label", "background", "--old-label", "kidney")
    words = ("weights.safetensors", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", "-o", "adapted.pth", *labels)
    done = run("adapt", *words)
    assert done.code == 0, done.err
    after = loaded(Path("adapted.pth"), plans, dataset_json, head=True).state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def version1(name: str, value: Any, lowest: int) -> str | None:
    """The name of a parameter in nnU-Net v1's network of two convolutions a stage; None where it has none."""
    kind, *parts = name.split(".")
    layer = {"conv": "conv", "norm": "instnorm"}.get(parts[-2], "")
    if kind == "encoder":
        stage, number = parts[1], parts[4]
        place = f"{number}.blocks.0" if stage == str(lowest) else f"blocks.{number}"
        return f"conv_blocks_context.{stage}.{place}.{layer}.{parts[-1]}"
    if parts[0] == "stages":
        return f"conv_blocks_localization.{parts[1]}.{parts[3]}.blocks.0.{layer}.{parts[-1]}"
    if parts[-1] == "bias":
        value.zero_()
        return None
    return f"{ {'transpconvs': 'tu', 'seg_layers': 'seg_outputs'}[parts[0]] }.{parts[1]}.weight"


def test_weights_of_version_1(workspace: Path) -> None:
    """Its network is the same, but for biases that it does not have, which are zero."""
    import torch

    plans, dataset_json = edit(workspace, CT)
    network = network_of(plans, dataset_json)
    state = network.state_dict()
    once = dict(counted_once({name: tuple(value.shape) for name, value in state.items()}))
    lowest = len(network.encoder.stages) - 1
    named = {name: version1(name, state[name], lowest) for name in once}
    stored = {old: state[name].clone() for name, old in named.items() if old is not None}
    torch.save({"state_dict": stored, "plot_stuff": ([], [], [], []), "epoch": 999}, "old.model")
    words = ("old.model", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", "-o", "adapted.pth")
    assert "2 output maps, and 1 are named" in run("adapt", *words, "--old-label", "background").err
    done = run("adapt", *words, "--old-label", "background", "--old-label", "kidney")
    assert done.code == 0, done.err
    after = loaded(Path("adapted.pth"), plans, dataset_json, head=True)
    one = images(1)
    for first, second in zip(outputs(network, one), outputs(after, one), strict=True):
        assert torch.equal(first, second)
