"""What a checkpoint says, held against torch; and what every other file is."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, Tensor, read_checkpoint
from plansguard.artefacts.checkpoint.safe_zip import open_zip
from plansguard.core.errors import UnreadableDocument
from tests.support.models import CHECKPOINT, FIXTURE, pack
from tests.support.torchlike import Raw, T, dumps, save, save_legacy

WEIGHTS = {
    "encoder.stages.0.0.convs.0.conv.weight": T("0", (32, 1, 3, 3, 3)),
    "encoder.stages.0.0.convs.0.conv.bias": T("1", (32,)),
    "decoder.seg_layers.0.weight": T("2", (2, 32, 1, 1, 1), "HalfStorage", "cuda:0"),
}
PARAMETERS = {
    "encoder.stages.0.0.convs.0.conv.weight": Tensor("float32", (32, 1, 3, 3, 3), "cpu"),
    "encoder.stages.0.0.convs.0.conv.bias": Tensor("float32", (32,), "cpu"),
    "decoder.seg_layers.0.weight": Tensor("float16", (2, 32, 1, 1, 1), "cuda:0"),
}
PLANS = {"plans_name": "myPlans", "configurations": {"3d_fullres": {"spacing": [1.0, 2.5]}}, "transpose": (0, 1, 2)}
NNUNET = {
    "network_weights": WEIGHTS,
    "optimizer_state": {
        "state": {0: {"momentum_buffer": T("3", (4,))}},
        "param_groups": [{"lr": 0.005, "params": [0]}],
    },
    "logging": {"train_losses": [1.5, 0.5], "dice_per_class_or_region": [[0.1], [0.2]]},
    "current_epoch": 2,
    "init_args": {"plans": PLANS, "configuration": "3d_fullres", "fold": "all", "dataset_json": {"labels": {"a": 1}}},
    "trainer_name": "nnUNetTrainerMine",
    "inference_allowed_mirroring_axes": (0, 1),
}
VERSION1 = {
    "epoch": 7,
    "state_dict": WEIGHTS,
    "optimizer_state_dict": None,
    "plot_stuff": ([1.0, 0.5], [2.0], [], [0.25]),
}
VERSION1_PICKLE = {
    "name": "nnUNetTrainerV2",
    "init": ("/data/nnUNet_preprocessed/Task1/plans.pkl", 3, "/data/nnUNet/3d_lowres/Task001_A/tr", None, True, 0),
    "plans": {"plans_per_stage": {0: {"patch_size": (1, 2)}}, "num_modalities": 1},
}


def refused(path: Path) -> UnreadableDocument:
    with pytest.raises(UnreadableDocument) as caught:
        read_checkpoint(path)
    assert caught.value.path == str(path)
    assert caught.value.hint
    return caught.value


# --- nnU-Net's own


def test_the_fixture_agrees_with_the_files_beside_it() -> None:
    found = read_checkpoint(CHECKPOINT)
    assert found.kind == "nnunet-v2"
    assert (found.damage, found.suspicious) == ((), ())
    assert found.plans == json.loads((FIXTURE / "plans.json").read_bytes())
    assert found.dataset_json == json.loads((FIXTURE / "dataset.json").read_bytes())
    assert (found.configuration, found.fold, found.trainer, found.current_epoch) == (
        "3d_fullres",
        0,
        "nnUNetTrainer",
        1,
    )
    assert (found.learning_rate, found.mirroring_axes, found.prefix, found.adaptation_plan) == (
        0.01,
        (0, 1, 2),
        "",
        None,
    )
    assert {len(values) for values in found.logging.values()} == {1}
    assert {"train_losses", "val_losses", "lrs", "ema_fg_dice"} <= set(found.logging)
    assert found.parameters["encoder.stages.0.0.convs.0.conv.weight"] == Tensor("float32", (32, 1, 1, 3, 3), "cpu")
    assert not found.on_cuda
    assert [str(name) for name in found.globals[:2]] == ["collections.OrderedDict", "torch._utils._rebuild_tensor_v2"]
    for part in ("nnU-Net v2", "nnUNetTrainer", "nnUNetPlans", "3d_fullres", "fold 0", "1 epoch"):
        assert part in found.sentence


@pytest.mark.parametrize("write", [save, save_legacy])
def test_all_that_it_says_is_read(write: Callable[[Path, Any], Path], tmp_path: Path) -> None:
    found = read_checkpoint(write(tmp_path / "checkpoint.pth", NNUNET))
    assert (found.kind, found.damage) == ("nnunet-v2", ())
    assert found.parameters == PARAMETERS
    assert list(found.parameters) == list(PARAMETERS)
    assert found.plans == {**PLANS, "transpose": [0, 1, 2]}
    assert found.dataset_json == {"labels": {"a": 1}}
    assert (found.fold, found.trainer, found.current_epoch, found.learning_rate) == (
        "all",
        "nnUNetTrainerMine",
        2,
        0.005,
    )
    assert (found.mirroring_axes, found.logging) == ((0, 1), {"train_losses": [1.5, 0.5]})
    assert found.locations == ("cpu", "cuda:0")
    assert found.on_cuda
    assert "after 2 epochs" in found.sentence


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_are_taken_off_and_reported(prefix: str, tmp_path: Path) -> None:
    weights = {prefix + name: tensor for name, tensor in WEIGHTS.items()}
    found = read_checkpoint(save(tmp_path / "checkpoint.pth", {**NNUNET, "network_weights": weights}))
    assert (found.parameters, found.prefix) == (PARAMETERS, prefix)
    assert prefix in found.sentence


def test_a_prefix_that_only_some_names_have_is_none(tmp_path: Path) -> None:
    weights = {"module.a": T("0", (1,)), "b": T("1", (1,))}
    found = read_checkpoint(save(tmp_path / "checkpoint.pth", {"network_weights": weights}))
    assert (list(found.parameters), found.prefix) == (["module.a", "b"], "")


@pytest.mark.parametrize(
    ("stored", "expected"), [(None, ()), ((), ()), ((0, 1), (0, 1)), ("01", None), ((0, "x"), None)]
)
def test_mirroring_axes(stored: Any, expected: Any, tmp_path: Path) -> None:
    value = {"network_weights": WEIGHTS, "inference_allowed_mirroring_axes": stored}
    assert read_checkpoint(save(tmp_path / "checkpoint.pth", value)).mirroring_axes == expected
    del value["inference_allowed_mirroring_axes"]
    assert read_checkpoint(save(tmp_path / "checkpoint.pth", value)).mirroring_axes is None


def test_parts_of_other_types_are_left_out(tmp_path: Path) -> None:
    value = {
        "network_weights": WEIGHTS,
        "init_args": {"plans": "nnUNetPlans", "configuration": 3, "fold": 1.5, "dataset_json": [1]},
        "trainer_name": 7,
        "current_epoch": "two",
        "optimizer_state": {"param_groups": [{"lr": "fast"}]},
        "logging": [1],
    }
    found = read_checkpoint(save(tmp_path / "checkpoint.pth", value))
    assert found.kind == "nnunet-v2"
    assert [found.plans, found.dataset_json, found.configuration, found.fold, found.trainer] == [None] * 5
    assert [found.current_epoch, found.learning_rate, found.logging] == [None, None, {}]
    assert "weights alone" in found.sentence


def test_nnssl(tmp_path: Path) -> None:
    adaptation = {"key_to_encoder": "encoder.stages", "pretrain_num_input_channels": 1, "keys_to_in_proj": ("a", "b")}
    value = {"network_weights": WEIGHTS, "nnssl_adaptation_plan": adaptation, "citations": ["x"]}
    found = read_checkpoint(save(tmp_path / "checkpoint.pth", value))
    assert (found.kind, found.parameters) == ("nnssl", PARAMETERS)
    assert found.adaptation_plan == {**adaptation, "keys_to_in_proj": ["a", "b"]}
    assert "nnssl" in found.sentence


@pytest.mark.parametrize("write", [save, save_legacy])
def test_version_1(write: Callable[[Path, Any], Path], tmp_path: Path) -> None:
    path = write(tmp_path / "model_best.model", VERSION1)
    (tmp_path / "model_best.model.pkl").write_bytes(pickle.dumps(VERSION1_PICKLE))
    found = read_checkpoint(path)
    assert (found.kind, found.parameters) == ("nnunet-v1", PARAMETERS)
    assert found.plans == {"plans_per_stage": {"0": {"patch_size": [1, 2]}}, "num_modalities": 1}
    assert (found.trainer, found.fold, found.configuration, found.current_epoch) == (
        "nnUNetTrainerV2",
        3,
        "3d_lowres",
        7,
    )
    assert found.logging == {
        "train_losses": [1.0, 0.5],
        "val_losses": [2.0],
        "val_losses_train_mode": [],
        "val_eval_metrics": [0.25],
    }
    assert "nnU-Net v1" in found.sentence
    assert "beside it" in found.sentence


def test_version_1_without_its_pickle(tmp_path: Path) -> None:
    found = read_checkpoint(save(tmp_path / "model_best.model", VERSION1))
    assert (found.kind, found.plans) == ("nnunet-v1", None)
    assert "is not beside it" in found.sentence


def test_version_1_with_a_pickle_that_is_none(tmp_path: Path) -> None:
    path = save(tmp_path / "model_best.model", VERSION1)
    (tmp_path / "model_best.model.pkl").write_bytes(b"cut")
    with pytest.raises(UnreadableDocument, match="cut short") as caught:
        read_checkpoint(path)
    assert caught.value.path == f"{path}.pkl"


def test_globals_of_both_files_are_reported(tmp_path: Path) -> None:
    path = save(tmp_path / "model_best.model", VERSION1)
    (tmp_path / "model_best.model.pkl").write_bytes(dumps({**VERSION1_PICKLE, "class": Raw(b"cos\nsystem\n")}))
    assert [str(name) for name in read_checkpoint(path).suspicious] == ["os.system"]


@pytest.mark.parametrize(
    ("value", "where"),
    [(WEIGHTS, ""), ({"state_dict": WEIGHTS, "epoch": 3}, "state_dict"), ({"other": WEIGHTS, "x": 1}, "other")],
)
def test_bare_weights(value: Any, where: str, tmp_path: Path) -> None:
    found = read_checkpoint(save(tmp_path / "weights.pth", value))
    assert (found.kind, found.parameters) == ("state-dict", PARAMETERS)
    assert where in found.sentence
    assert "3 tensors" in found.sentence


# --- What torch writes


@pytest.mark.nnunet
@pytest.mark.parametrize("legacy", [False, True])
def test_every_tensor_of_torch_is_described_as_torch_loads_it(legacy: bool, tmp_path: Path) -> None:
    import torch

    shared = torch.arange(24.0)
    module = torch.nn.Sequential(torch.nn.Conv3d(2, 4, 3), torch.nn.BatchNorm3d(4))
    dtypes = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128".split()
    weights: dict[str, Any] = {
        **module.state_dict(),
        **dict(module.named_parameters(prefix="parameter")),
        **{dtype: torch.zeros(2, 3, dtype=getattr(torch, dtype)) for dtype in dtypes},
        "view": shared[4:12].view(2, 4),
        "same storage": shared,
        "transposed": torch.zeros(3, 5).T,
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 3),
        "expanded": torch.zeros(1, 3).expand(7, 3),
    }
    if not legacy:
        weights["float8"] = torch.zeros(4, dtype=torch.float8_e4m3fn)
        weights["uint16"] = torch.zeros(4, dtype=torch.uint16)
        weights["meta"] = torch.zeros(4, 5, device="meta")
    path = tmp_path / "checkpoint.pth"
    torch.save({"network_weights": weights}, path, _use_new_zipfile_serialization=not legacy)
    expected = torch.load(path, weights_only=False)["network_weights"]
    found = read_checkpoint(path)
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in found.parameters.items()} == {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in expected.items()
    }
    assert list(found.parameters) == list(expected)
    assert (found.damage, found.suspicious) == ((), ())


@pytest.mark.nnunet
@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_protocol_of_torch_is_read(protocol: int, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "checkpoint.pth"
    torch.save({"network_weights": {"a": torch.zeros(2, 3)}}, path, pickle_protocol=protocol)
    assert read_checkpoint(path).parameters == {"a": Tensor("float32", (2, 3), "cpu")}


@pytest.mark.nnunet
def test_checkpoints_saved_from_a_gpu_are_known(tmp_path: Path) -> None:
    import torch

    path, moved = tmp_path / "cpu.pth", tmp_path / "cuda.pth"
    torch.save({"network_weights": {"a": torch.zeros(2, 3)}}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(moved, "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            other.writestr(name, data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    found = read_checkpoint(moved)
    assert found.parameters == {"a": Tensor("float32", (2, 3), "cuda:0")}
    assert found.on_cuda
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(moved, weights_only=False)


@pytest.mark.nnunet
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_whole_modules_and_odd_objects_are_said_to_be_such(tmp_path: Path) -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))
    torch.save(module, tmp_path / "module.pth")
    found = read_checkpoint(tmp_path / "module.pth")
    assert found.kind == "foreign"
    assert "Sequential" in found.sentence
    torch.jit.trace(module, torch.zeros(1, 1, 5, 5)).save(tmp_path / "script.pt")
    assert "TorchScript" in read_checkpoint(tmp_path / "script.pt").sentence


@pytest.mark.nnunet
def test_torch_loads_the_fixture() -> None:
    import torch

    real, found = torch.load(CHECKPOINT, weights_only=False), read_checkpoint(CHECKPOINT)
    assert {name: tensor.shape for name, tensor in found.parameters.items()} == {
        name: tuple(tensor.shape) for name, tensor in real["network_weights"].items()
    }
    assert found.plans == real["init_args"]["plans"]
    lists = {name: list(map(float, values)) for name, values in real["logging"].items() if isinstance(values[0], float)}
    assert lists.items() <= found.logging.items()


@pytest.mark.nnunet
@pytest.mark.slow
def test_what_the_trainer_saves_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("nnUNet_compile", "f")
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans = json.loads((FIXTURE / "plans.json").read_bytes())
    dataset_json = json.loads((FIXTURE / "dataset.json").read_bytes())
    kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    kwargs["features_per_stage"] = [2] * kwargs["n_stages"]
    data = tmp_path / "nnUNet_preprocessed" / plans["dataset_name"] / "nnUNetPlans_3d_fullres"
    data.mkdir(parents=True)
    (data / "case.b2nd").touch()
    given = {**plans, "continue_training": False}
    trainer = nnUNetTrainer(given, "3d_fullres", 2, dataset_json, device=torch.device("cpu"))
    trainer.initialize()
    trainer.inference_allowed_mirroring_axes = (0, 2)
    trainer.current_epoch = 4
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    found = read_checkpoint(tmp_path / "checkpoint.pth")
    state = trainer.network.state_dict()
    assert {name: tensor.shape for name, tensor in found.parameters.items()} == {
        name: tuple(tensor.shape) for name, tensor in state.items()
    }
    assert list(found.parameters) == list(state)
    assert (found.plans, found.dataset_json) == (plans, dataset_json)
    assert (found.configuration, found.fold, found.trainer) == ("3d_fullres", 2, "nnUNetTrainer")
    assert (found.current_epoch, found.learning_rate, found.mirroring_axes) == (5, 0.01, (0, 2))
    assert (found.damage, found.suspicious) == ((), ())


# --- Damage


@pytest.mark.parametrize(("name", "expected"), [("archive/data/1", "storage 1 is missing (128 bytes)")])
def test_a_missing_storage_is_reported(name: str, expected: str, tmp_path: Path) -> None:
    whole, broken = save(tmp_path / "whole.pth", NNUNET), tmp_path / "broken.pth"
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(broken, "w") as other:
        for entry in archive.infolist():
            if entry.filename != name:
                other.writestr(entry, archive.read(entry))
    assert read_checkpoint(broken).damage == (expected,)


def test_a_storage_of_another_size_is_reported(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoint.pth", {"network_weights": {"a": T("0", (4,))}}, pickled=None)
    pickled = dumps({"network_weights": {"a": T("0", (5,))}})
    save(path, {"network_weights": {"a": T("0", (4,))}}, pickled=pickled)
    assert read_checkpoint(path).damage == ("storage 0 has 16 bytes, its tensors need 20",)


def test_many_damaged_storages_are_counted(tmp_path: Path) -> None:
    pickled = dumps({"network_weights": {str(number): T(str(number), (4,)) for number in range(30)}})
    damage = read_checkpoint(save(tmp_path / "checkpoint.pth", {}, pickled=pickled)).damage
    assert len(damage) == 6
    assert damage[-1] == "and 25 more of the same kind"


def test_a_tensor_beyond_its_storage_is_reported(tmp_path: Path) -> None:
    pickled = dumps({"network_weights": {"a": T("0", (4,))}}).replace(b"(I4\nt", b"(I9\nt")
    damage = read_checkpoint(save(tmp_path / "checkpoint.pth", {"a": T("0", (4,))}, pickled=pickled)).damage
    assert damage == ("1 of its tensors reach beyond the end of their storage",)


def test_an_old_file_that_is_cut_is_reported(tmp_path: Path) -> None:
    path = save_legacy(tmp_path / "checkpoint.pth", NNUNET)
    whole = path.read_bytes()
    end_of_pickles = len(whole) - sum(8 + size for size in (3456, 128, 128, 16))
    end_of_object = end_of_pickles - len(dumps(list("0123")))
    for length in (*range(end_of_object, end_of_pickles, 7), *range(end_of_pickles, len(whole), 97)):
        path.write_bytes(whole[:length])
        (expected,) = read_checkpoint(path).damage
        assert "cut short" in expected
    for length in range(15, end_of_object, 41):
        path.write_bytes(whole[:length])
        assert "cut short" in refused(path).reason


def test_a_zip_that_is_cut_is_reported(tmp_path: Path) -> None:
    whole = CHECKPOINT.read_bytes()
    path = tmp_path / "checkpoint.pth"
    for length in (5, 100, 5_000, len(whole) // 2, len(whole) - 100, len(whole) - 22, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "cut short" in refused(path).reason


def test_a_pickle_with_flipped_bits_is_told_by_its_checksum(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoint.pth", NNUNET)
    path.write_bytes(path.read_bytes().replace(b"nnUNetTrainerMine", b"nnUNetTrainerNine"))
    assert "data.pkl in it cannot be read: Bad CRC-32" in refused(path).reason


def test_a_zip_that_someone_packed_again_without_its_folder_is_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(save(tmp_path / "a.pth", NNUNET)) as old, zipfile.ZipFile(tmp_path / "b.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name.removeprefix("archive/"), old.read(name))
    (expected,) = read_checkpoint(tmp_path / "b.pth").damage
    assert "in no folder" in expected


# --- Unpacked ones


def test_an_unpacked_checkpoint_is_read_and_reported(tmp_path: Path) -> None:
    with zipfile.ZipFile(save(tmp_path / "checkpoint.pth", NNUNET, root="checkpoint_final")) as archive:
        archive.extractall(tmp_path / "out")
    folder = tmp_path / "out" / "checkpoint_final"
    for path in (folder, tmp_path / "out"):
        found = read_checkpoint(path)
        assert (found.kind, found.parameters, len(found.damage)) == ("nnunet-v2", PARAMETERS, 1)
        assert "unpacked" in found.damage[0]
    (folder / "data" / "0").unlink()
    assert len(read_checkpoint(folder).damage) == 2
    alone = read_checkpoint(folder / "data.pkl")
    assert (alone.kind, alone.plans) == ("nnunet-v2", {**PLANS, "transpose": [0, 1, 2]})
    assert "without the rest" in alone.damage[0]


def test_a_model_folder_names_its_checkpoints() -> None:
    assert "fold_0/checkpoint_final.pth" in refused(FIXTURE).hint


# --- In place


def test_a_checkpoint_in_a_zip_is_read_where_it_lies(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "stored.zip", "w") as archive:
        archive.write(CHECKPOINT, "a/checkpoint_final.pth")
    pack(tmp_path / "deflated.zip", FIXTURE)
    expected = read_checkpoint(CHECKPOINT)
    for file in ("stored.zip", "deflated.zip"):
        with open_zip(tmp_path / file, file) as archive:
            (name,) = (name for name in archive.names if name.endswith(".pth"))
            with archive.open(name) as stream:
                found = read_checkpoint(tmp_path / name, stream)
        assert vars(found) == {**vars(expected), "path": str(tmp_path / name)}


def test_tensors_are_never_read(tmp_path: Path) -> None:
    class Watched(io.FileIO):
        total = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(-1 if size is None else size)
            self.total += len(data)
            return data

    weights = {"a": T("0", (4, 2**20)), "b": T("1", (2**20,))}
    with Watched(save(tmp_path / "checkpoint.pth", {"network_weights": weights})) as stream:
        found = read_checkpoint(tmp_path / "checkpoint.pth", stream)
        assert found.parameters["a"] == Tensor("float32", (4, 2**20), "cpu")
        assert found.damage == ()
        assert stream.total < 200_000


# --- Something else


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(CHECKPOINT, "pickle")


def _monai(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("configs/metadata.json", "models/model.pt"):
            archive.writestr("wholeBody/" + name, "{}")


def _script(path: Path, name: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for entry in ("data.pkl", "constants.pkl", name):
            archive.writestr("model/" + entry, b"N.")


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x")), "gzip"),
    "git-lfs": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"),
        "git-lfs",
    ),
    "page": (lambda path: path.write_text("\n<!DOCTYPE html><html><body>Log in</body></html>"), "web page"),
    "xml": (lambda path: path.write_text("<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"), "XML"),
    "json": (lambda path: path.write_text('{"message": "Not found"}'), "JSON"),
    "safetensors": (
        lambda path: path.write_bytes(struct.pack("<Q", 8) + b'{"a":{}}' + bytes(99)),
        "safetensors",
    ),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "onnx": (lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:" + bytes(99)), "ONNX"),
    "tar": (_tar, "tar archive"),
    "image": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99)), "89 50 4e 47"),
    "text": (lambda path: path.write_text("looked for it on my drive\n"), "text"),
    "zip": (lambda path: zipfile.ZipFile(path, "w").close(), "without files"),
    "export": (lambda path: pack(path, FIXTURE), "with 1 checkpoint in it"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_checkpoint_is_said_in_one_sentence(other: str, tmp_path: Path) -> None:
    make, expected = OTHERS[other]
    make(tmp_path / "download.pth")
    error = refused(tmp_path / "download.pth")
    assert expected in error.reason
    assert "\n" not in error.reason + error.hint


def test_missing_files_and_folders_are_reported(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.pth").reason == "the file does not exist"
    assert refused(tmp_path).reason == "this is a folder"


FOREIGN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "monai": (_monai, "monai", "MONAI bundle"),
    "monai script": (lambda path: _script(path, "extra/metadata.json"), "monai", "MONAI bundle"),
    "script": (lambda path: _script(path, "code/main.py"), "foreign", "TorchScript"),
    "list": (lambda path: path.write_bytes(pickle.dumps([1])), "foreign", "a list"),
    "case": (lambda path: path.write_bytes(pickle.dumps({"class_locations": {}})), "foreign", "preprocessed case"),
    "v1 plans": (
        lambda path: path.write_bytes(pickle.dumps({"plans_per_stage": {}})),
        "foreign",
        "plans of nnU-Net v1",
    ),
    "dictionary": (lambda path: save(path, {"a": 1, "b": 2}), "foreign", "a dictionary with a, b"),
    "weights without tensors": (lambda path: save(path, {"network_weights": {"a": 1}}), "foreign", "network_weights"),
}


@pytest.mark.parametrize("other", FOREIGN)
def test_what_torch_may_load_and_nnunet_cannot_is_reported(other: str, tmp_path: Path) -> None:
    make, kind, expected = FOREIGN[other]
    make(tmp_path / "download.pth")
    found = read_checkpoint(tmp_path / "download.pth")
    assert (found.kind, found.parameters, found.plans) == (kind, {}, None)
    assert expected in found.sentence
    assert found.sentence.endswith(".")
    assert "\n" not in found.sentence


def test_a_checkpoint_can_go_to_another_process(tmp_path: Path) -> None:
    found = read_checkpoint(Path(shutil.copy(CHECKPOINT, tmp_path / "a b.pth")))
    copy: Checkpoint = pickle.loads(pickle.dumps(found))
    assert copy == found
