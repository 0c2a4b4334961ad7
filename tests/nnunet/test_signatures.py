"""The table of functions and classes against the installed packages."""

from __future__ import annotations

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from plansguard.nnunet import signatures
from tests.conftest import ROOT

CONV = "torch.nn.modules.conv.Conv3d"


@pytest.mark.parametrize("path", [CONV, "torch.nn.Conv3d", "torch.nn.modules.Conv3d"])
def test_a_layer_has_several_paths(path: str) -> None:
    found = signatures.layer(path)
    assert found is not None
    assert (found.path, found.name, found.module) == (CONV, "Conv3d", "conv")


@pytest.mark.parametrize(
    "path", ["torch.nn.modules.conv.Conv4d", "torch.nn.modules.norm.Conv3d", "Conv3d", "torch.nn", ""]
)
def test_other_paths_are_no_layers(path: str) -> None:
    assert signatures.layer(path) is None


def test_a_network_is_found_by_its_last_name() -> None:
    found = signatures.network("somewhere.else.PlainConvUNet")
    assert found is not None
    assert found.path == "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    assert signatures.network("somewhere.else.PlainConvUnet") is None


def test_only_known_packages_are_known() -> None:
    assert signatures.is_of_known_package(CONV)
    assert not signatures.is_of_known_package("torchvision.ops.Conv3dNormActivation")
    assert not signatures.is_of_known_package("mynets.Net")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"eps": 1e-05, "affine": True}, []),
        ({"eps": 0, "affine": 1}, []),
        ({"epsilon": 1e-05}, [("epsilon", "is no argument of it")]),
        ({"eps": "1e-05"}, [("eps", 'must be a number, not "1e-05"')]),
        ({"eps": None}, [("eps", "must not be null")]),
        ({"num_features": 3}, [("num_features", "is given by the caller")]),
    ],
)
def test_arguments_of_a_layer(given: dict[str, object], expected: list[tuple[str, str]]) -> None:
    norm = signatures.layer("torch.nn.InstanceNorm3d")
    assert norm is not None
    assert [(one.argument, one.trouble) for one in signatures.misfits(norm.arguments, given, 1)] == expected


def test_an_argument_that_is_missing() -> None:
    norm = signatures.layer("torch.nn.InstanceNorm3d")
    assert norm is not None
    assert [one.lacking for one in signatures.misfits(norm.arguments, {})] == [True]


def test_a_function_that_takes_everything() -> None:
    identity = signatures.layer("torch.nn.Identity")
    assert identity is not None
    assert list(signatures.misfits(identity.arguments, {"anything": 1})) == []


def test_names() -> None:
    assert "LabelManager" in signatures.names("label_managers")
    assert "BaseReaderWriter" not in signatures.names("readers")
    assert set(signatures.resampling("resample_data_or_seg_to_shape") or ()) >= {"is_seg", "order", "order_z"}
    assert signatures.resampling("resample") is None


def test_the_table_is_small() -> None:
    assert Path(signatures.__file__).with_name("signatures.json").stat().st_size < 30_000


@pytest.mark.slow
@pytest.mark.nnunet
def test_the_table_is_that_of_the_installed_packages() -> None:
    pytest.importorskip("nnunetv2", reason="needs nnunetv2 (plansguard[train])")
    tool = _tool()
    written = json.loads(tool.PLACE.read_bytes())
    installed = {package: version(package).partition("+")[0] for package in tool.PACKAGES}
    if written["versions"] != installed:
        pytest.skip(f"the table is that of {written['versions']}")
    assert tool.PLACE.read_text(encoding="utf-8") == tool.text()


def _tool() -> ModuleType:
    specification = importlib.util.spec_from_file_location("signatures_tool", ROOT / "tools" / "signatures.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
