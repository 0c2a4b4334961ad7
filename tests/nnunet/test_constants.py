"""Every table of plansguard.nnunet.constants against the sources of an installed nnU-Net."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from plansguard.documents.models import plans as models
from plansguard.nnunet import constants
from tests.support.variants import ROOTS, lay_out

# ---------------------------------------------------------------------------------------------------------------------
# Without nnU-Net
# ---------------------------------------------------------------------------------------------------------------------


def test_every_field_of_the_models_has_a_facet() -> None:
    fields = {*models.Plans.model_fields, *models.Configuration.model_fields} - {"configurations"}
    assert fields == {path for path in constants.FACET_OF_FIELD if "." not in path}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("spacing", "input"),
        ("architecture", "weights"),
        ("architecture.network_class_name", "weights"),
        ("architecture.arch_kwargs.strides", "weights"),
        ("architecture.arch_kwargs.of_a_fork", "weights"),
        ("architecture.arch_kwargs.patch_size", "weights"),
        ("architecture.arch_kwargs.deep_supervision", "training"),
        ("resampling_fn_data_kwargs.order", "input"),
        ("pretrained_checkpoint", "bookkeeping"),
        ("spacing_style", "bookkeeping"),
        ("_comment.spacing", "bookkeeping"),
        ("", "bookkeeping"),
    ],
)
def test_parts_have_the_facet_of_the_whole(path: str, expected: str) -> None:
    assert constants.facet(path) == expected


def test_the_fields_of_a_facet_are_spelt_as_in_the_models() -> None:
    assert constants.PRE_FIELDS.issubset(constants.FACET_OF_FIELD)
    assert not constants.PRE_FIELDS & constants.EXPORT_FIELDS
    required = {
        key for keys in (constants.PLANS_KEYS, constants.CONFIGURATION_KEYS) for use in keys.values() for key in use
    }
    assert required - {"configurations"} <= set(constants.FACET_OF_FIELD)
    aliases = {field.alias or name for name, field in models.Architecture.model_fields.items()}
    assert set(constants.ARCHITECTURE_KEYS) == aliases
    for network in constants.STOCK_ARCHITECTURES.values():
        assert {*network.required, *network.optional} <= set(models.ArchKwargs.model_fields)


# ---------------------------------------------------------------------------------------------------------------------
# Reading nnU-Net's sources
# ---------------------------------------------------------------------------------------------------------------------


def nnunet(module: str) -> ModuleType:
    """A module of nnU-Net, or a skipped test."""
    pytest.importorskip("nnunetv2", reason="needs nnunetv2 (plansguard[train])")
    return importlib.import_module(f"nnunetv2.{module}")


def plans_handler() -> ModuleType:
    return nnunet("utilities.plans_handling.plans_handler")


def tree(source: Any) -> ast.Module:
    """The syntax tree of a module, a class or a function."""
    return ast.parse(textwrap.dedent(inspect.getsource(source)))


def attributes(node: ast.AST, *owners: str) -> set[str]:
    """The attributes that code reads of objects with these names, with or without ``self.`` before them."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and ast.unparse(part.value).removeprefix("self.") in owners:
            found.add(part.attr)
    return found


def keys(node: ast.AST, dictionary: str) -> set[str]:
    """The keys that code requires of a dictionary: ``dictionary["key"]``, but not ``dictionary.get("key")``."""
    return {
        part.slice.value
        for part in ast.walk(node)
        if isinstance(part, ast.Subscript)
        and ast.unparse(part.value) == dictionary
        and isinstance(part.slice, ast.Constant)
        and isinstance(part.slice.value, str)
    }


def keys_behind(manager: type, dictionary: str, asked: set[str]) -> set[str]:
    """The keys that a manager's properties and methods of these names require of its dictionary, also indirectly."""
    found: set[str] = set()
    seen: set[str] = set()
    while asked:
        name = asked.pop()
        member = inspect.getattr_static(manager, name, None)
        if name in seen or member is None:
            continue
        seen.add(name)
        code = tree(getattr(member, "fget", member))
        found |= keys(code, dictionary)
        asked |= attributes(code, "self")
    return found


def required_keys(*sources: ast.AST) -> tuple[set[str], set[str]]:
    """The keys of the plans and of a configuration that code requires through nnU-Net's two managers."""
    handler = plans_handler()
    plans, configuration = set(), set()
    for source in sources:
        plans |= attributes(source, "plans_manager")
        configuration |= attributes(source, "configuration_manager", "next_stage_config_manager")
    return (
        keys_behind(handler.PlansManager, "self.plans", plans),
        keys_behind(handler.ConfigurationManager, "self.configuration", configuration),
    )


def preprocessing() -> tuple[set[str], set[str]]:
    preprocessor = nnunet("preprocessing.preprocessors.default_preprocessor").DefaultPreprocessor
    return required_keys(
        tree(preprocessor), tree(nnunet("experiment_planning.plan_and_preprocess_api").preprocess_dataset)
    )


def training() -> tuple[set[str], set[str]]:
    trainer = tree(nnunet("training.nnUNetTrainer.nnUNetTrainer").nnUNetTrainer)
    body = trainer.body[0]
    assert isinstance(body, ast.ClassDef)
    body.body = [part for part in body.body if getattr(part, "name", "") != "perform_actual_validation"]
    return required_keys(trainer)


def export() -> tuple[set[str], set[str]]:
    return required_keys(tree(nnunet("inference.export_prediction")))


def validation() -> tuple[set[str], set[str]]:
    trainer = nnunet("training.nnUNetTrainer.nnUNetTrainer").nnUNetTrainer
    own = required_keys(tree(trainer.perform_actual_validation))
    plans, configuration = (ours | exports for ours, exports in zip(own, export(), strict=True))
    earlier_plans, earlier_configuration = training()
    return plans - earlier_plans, configuration - earlier_configuration


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(info.name)


def classes(module: ModuleType) -> dict[str, type]:
    """The classes that a module defines itself."""
    return {name: one for name, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == module.__name__}


def planners() -> dict[str, type]:
    """All planner classes by name."""
    package = nnunet("experiment_planning.experiment_planners")
    base = nnunet("experiment_planning.experiment_planners.default_experiment_planner").ExperimentPlanner
    found = (one for module in modules(package) for one in classes(module).values() if issubclass(one, base))
    return {one.__name__: one for one in found}


def real_planner(name: str, workspace: Path, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Any:
    """A planner for a dataset of one channel and three labels in ``workspace``."""
    for variable, folder in ROOTS.items():
        monkeypatch.setenv(f"nnUNet_{variable}", str(workspace / folder))
    if not any(workspace.iterdir()):
        lay_out(workspace, "Dataset001_PretrainCT")
    return planners()[name]("Dataset001_PretrainCT", **arguments)


# ---------------------------------------------------------------------------------------------------------------------
# The tables
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.nnunet
def test_version() -> None:
    nnunet("paths")
    assert version("nnunetv2") == constants.NNUNET_VERSION


@pytest.mark.nnunet
@pytest.mark.parametrize(
    ("use", "source"), [("preprocessing", preprocessing), ("training", training), ("validation", validation)]
)
def test_required_keys(use: constants.Use, source: Callable[[], tuple[set[str], set[str]]]) -> None:
    plans, configuration = source()
    opened = {"architecture"} if use != "validation" else set()  # by ConfigurationManager.__init__
    assert set(constants.PLANS_KEYS[use]) == plans - {constants.OLD_INTENSITY_KEY}
    assert set(constants.CONFIGURATION_KEYS[use]) == configuration | opened


@pytest.mark.nnunet
def test_no_configuration_opens_without_a_network() -> None:
    with pytest.raises(KeyError, match="UNet_class_name"), pytest.warns(UserWarning, match="old nnU-Net plans format"):
        plans_handler().ConfigurationManager({})


@pytest.mark.nnunet
def test_fields_that_preprocessing_reads() -> None:
    plans, configuration = preprocessing()
    where_to = {"configurations", "data_identifier"}
    chunks = {"patch_size"}  # of the stored arrays, not their values
    with_default = {"label_manager"}
    assert (plans | configuration | with_default) - where_to - chunks == constants.PRE_FIELDS


@pytest.mark.nnunet
def test_fields_that_only_the_export_reads() -> None:
    plans, configuration = preprocessing()
    exported_plans, exported_configuration = export()
    assert (exported_plans - plans) | (exported_configuration - configuration) == constants.EXPORT_FIELDS


@pytest.mark.nnunet
def test_old_configuration_keys() -> None:
    deleted = [part for part in ast.walk(tree(plans_handler().ConfigurationManager)) if isinstance(part, ast.Delete)]
    assert len(deleted) == 1
    assert set(constants.OLD_CONFIGURATION_KEYS) == keys(deleted[0], "self.configuration")


@pytest.mark.nnunet
@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")
@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_old_keys_decide_the_arguments_of_the_network(network: str) -> None:
    handler = plans_handler()
    old = {
        "patch_size": [64, 64],
        "UNet_class_name": network,
        "UNet_base_num_features": 32,
        "unet_max_num_features": 512,
        "n_conv_per_stage_encoder": [2, 2],
        "n_conv_per_stage_decoder": [2],
        "num_pool_per_axis": [1, 1],
        "pool_op_kernel_sizes": [[1, 1], [2, 2]],
        "conv_kernel_sizes": [[3, 3], [3, 3]],
    }

    def arguments(changes: dict[str, Any]) -> dict[str, Any]:
        configuration = handler.ConfigurationManager(deepcopy({**old, **changes}))
        return configuration.network_arch_init_kwargs  # type: ignore[no-any-return]

    before = arguments({})
    decided = {argument: key for argument, key in constants.OLD_KEY_OF_KWARG.items() if argument in before}
    assert len(decided) == len(constants.OLD_KEY_OF_KWARG) - 1  # n_conv_per_stage or n_blocks_per_stage
    for argument, key in decided.items():
        value = old[key]
        after = arguments({key: [*value, value[-1]] if isinstance(value, list) else 16})
        assert after[argument] != before[argument], argument
    fixed = {name for name in before if name not in decided}
    assert fixed == {"conv_bias", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs", "nonlin", "nonlin_kwargs"}


@pytest.mark.nnunet
def test_architecture_keys() -> None:
    manager = tree(plans_handler().ConfigurationManager)
    assert set(constants.ARCHITECTURE_KEYS) == keys(manager, "self.configuration['architecture']")


@pytest.mark.nnunet
def test_stock_architectures() -> None:
    nnunet("paths")
    unet = importlib.import_module("dynamic_network_architectures.architectures.unet")
    given_by_nnunet = {"input_channels", "num_classes"}
    found = {}
    for name, network in classes(unet).items():
        parameters = [one for one in inspect.signature(network).parameters.values() if one.name not in given_by_nnunet]
        required = {one.name for one in parameters if one.default is one.empty}
        found[name] = (unet.__name__, required, {one.name for one in parameters} - required)
    assert found == {
        name: (stock.module, set(stock.required), set(stock.optional))
        for name, stock in constants.STOCK_ARCHITECTURES.items()
    }


@pytest.mark.nnunet
def test_arguments_that_are_false_where_absent() -> None:
    nnunet("paths")
    unet = importlib.import_module("dynamic_network_architectures.architectures.unet")
    arguments = [one for network in classes(unet).values() for one in inspect.signature(network).parameters.values()]
    found = {f"architecture.arch_kwargs.{one.name}" for one in arguments if one.default is False}
    assert found == constants.FALSE_WHERE_ABSENT


@pytest.mark.nnunet
def test_default_plans() -> None:
    defaults = {inspect.signature(one).parameters["plans_name"].default: name for name, one in planners().items()}
    assert defaults == constants.PLANNER_OF_IDENTIFIER


@pytest.mark.nnunet
@pytest.mark.parametrize("name", constants.YARDSTICKS)
def test_yardsticks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planners().keys() == constants.YARDSTICKS.keys()
    planner = real_planner(name, tmp_path, monkeypatch)
    references = ("corresp_GB", "2d", "3d", "corresp_bs_2d", "corresp_bs_3d")
    known = [getattr(planner, f"UNet_reference_val_{reference}") for reference in references]
    assert constants.YARDSTICKS[name] == (planner.UNet_class.__name__, *known)
    assert planner.UNet_vram_target_GB == planner.UNet_reference_val_corresp_GB
    assert (
        constants.YARDSTICKS[constants.YARDSTICK_OF_NETWORK[planner.UNet_class.__name__]].network
        == planner.UNet_class.__name__
    )


@pytest.mark.nnunet
def test_normalizations() -> None:
    schemes = classes(nnunet("preprocessing.normalization.default_normalization_schemes"))
    schemes.pop("ImageNormalization")
    assert set(schemes) == set(constants.NORMALIZATIONS)
    by_name = nnunet("preprocessing.normalization.map_channel_name_to_normalization")
    mapping = {name: scheme.__name__ for name, scheme in by_name.channel_name_to_normalization_mapping.items()}
    assert mapping == constants.NORMALIZATION_OF_CHANNEL
    for name in ("CT", "ct", "noNorm", "ZScore", "MRI", "rgb_to_0_1", ""):
        assert constants.normalization_of(name) == by_name.get_normalization_scheme(name).__name__
    masked = {
        name
        for name, one in schemes.items()
        if vars(one)["leaves_pixels_outside_mask_at_zero_if_use_mask_for_norm_is_true"]
    }
    assert masked == {constants.DEFAULT_NORMALIZATION}
    readers_of_statistics = {name for name, one in schemes.items() if keys(tree(one), "self.intensityproperties")}
    assert readers_of_statistics == {constants.CT}


@pytest.mark.nnunet
def test_intensity_keys() -> None:
    read = keys_behind(plans_handler().PlansManager, "self.plans", {constants.INTENSITY_KEY})
    assert read == {constants.INTENSITY_KEY, constants.OLD_INTENSITY_KEY}


@pytest.mark.nnunet
def test_preprocessors() -> None:
    package = nnunet("preprocessing.preprocessors")
    assert {name for module in modules(package) for name in classes(module)} == set(constants.PREPROCESSORS)


@pytest.mark.nnunet
def test_resampling_functions() -> None:
    found = set()
    for module in modules(nnunet("preprocessing.resampling")):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if [*inspect.signature(function).parameters][1:4] == ["new_shape", "current_spacing", "new_spacing"]:
                found.add(name)
    assert found == set(constants.RESAMPLING_FUNCTIONS)


# ---------------------------------------------------------------------------------------------------------------------
# Readers, with real images
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.nnunet
def test_readers_and_their_endings() -> None:
    readers = nnunet("imageio.reader_writer_registry").LIST_OF_IO_CLASSES
    assert [(one.__name__, tuple(one.supported_file_endings)) for one in readers] == [*constants.READERS.items()]


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    """One image per file ending that nnU-Net supports: 2D for the endings without volumes, else 3D."""
    nnunet("paths")
    sitk = pytest.importorskip("SimpleITK")
    paths = {}
    for ending in {ending for endings in constants.READERS.values() for ending in endings}:
        flat = constants.CERTAIN_READERS.get(ending) in constants.READERS_OF_2D_IMAGES
        image = sitk.Image([48, 32] if flat else [8, 7, 6], sitk.sitkUInt8)
        paths[ending] = tmp_path / f"case_0000{ending}"
        sitk.WriteImage(image, str(paths[ending]))
    return paths


def opens(reader: Any, image: Path) -> bool:
    try:
        reader().read_images((str(image),))
    except Exception:  # noqa: BLE001 - every reader has its own
        return False
    return True


@pytest.mark.nnunet
def test_endings_that_a_reader_cannot_open(images: dict[str, Path]) -> None:
    for reader in nnunet("imageio.reader_writer_registry").LIST_OF_IO_CLASSES:
        refused = {ending for ending, image in images.items() if not opens(reader, image)}
        if reader.__name__ in constants.READERS_OF_2D_IMAGES:
            assert refused >= set(constants.TIFF_ENDINGS)  # these TIFFs are volumes
            refused -= set(constants.TIFF_ENDINGS)
        assert refused == set(constants.UNREADABLE_ENDINGS.get(reader.__name__, ())), reader.__name__


@pytest.mark.nnunet
def test_readers_that_the_move_selects(images: dict[str, Path]) -> None:
    choose = nnunet("imageio.reader_writer_registry").determine_reader_writer_from_dataset_json
    chosen = {
        ending: choose({"file_ending": ending}, str(image), allow_nonmatching_filename=True, verbose=False).__name__
        for ending, image in images.items()
        if ending not in constants.TIFF_ENDINGS
    }
    assert chosen == constants.CERTAIN_READERS


@pytest.mark.nnunet
def test_tiffs_are_read_by_their_content(images: dict[str, Path]) -> None:
    """This is why CERTAIN_READERS omits them."""
    choose = nnunet("imageio.reader_writer_registry").determine_reader_writer_from_dataset_json
    sitk = pytest.importorskip("SimpleITK")
    found = set()
    for size in ([8, 7, 6], [48, 32]):
        sitk.WriteImage(sitk.Image(size, sitk.sitkUInt8), str(images[".tif"]))
        reader = choose({"file_ending": ".tif"}, str(images[".tif"]), allow_nonmatching_filename=True, verbose=False)
        found.add(reader.__name__)
    assert found == {"SimpleITKIO", "NaturalImage2DIO"}


# ---------------------------------------------------------------------------------------------------------------------
# Trainers, from their sources: importing them all would import torchvision and more
# ---------------------------------------------------------------------------------------------------------------------


def trainer_sources() -> dict[str, ast.ClassDef]:
    folder = Path(nnunet("training.nnUNetTrainer").__path__[0])
    return {
        node.name: node
        for path in folder.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }


def base_classes(sources: dict[str, ast.ClassDef], name: str) -> Iterator[str]:
    """The class and its base classes within these sources."""
    if name in sources:
        yield name
        for base in sources[name].bases:
            yield from base_classes(sources, ast.unparse(base))


@pytest.mark.nnunet
def test_trainers() -> None:
    sources = trainer_sources()
    trainers = {name for name in sources if constants.DEFAULT_TRAINER in base_classes(sources, name)}
    # a class that only others inherit from is no trainer
    trainable = {name for name in trainers if not name.startswith(("_", "Abstract"))}
    assert trainable == constants.STOCK_TRAINERS


@pytest.mark.nnunet
def test_trainers_with_their_own_network() -> None:
    sources = trainer_sources()
    own = {
        name
        for name in constants.STOCK_TRAINERS
        for ancestor in base_classes(sources, name)
        if ancestor != constants.DEFAULT_TRAINER
        and any(getattr(part, "name", "") == "build_network_architecture" for part in sources[ancestor].body)
    }
    assert own == constants.TRAINERS_WITH_OWN_NETWORK


@pytest.mark.nnunet
def test_default_epochs() -> None:
    trainer = trainer_sources()[constants.DEFAULT_TRAINER]
    (init,) = (part for part in trainer.body if getattr(part, "name", "") == "__init__")
    assigned = {ast.unparse(part.targets[0]): part.value for part in ast.walk(init) if isinstance(part, ast.Assign)}
    assert ast.literal_eval(assigned["self.num_epochs"]) == constants.DEFAULT_EPOCHS


@pytest.mark.nnunet
def test_names_of_checkpoints() -> None:
    from nnunetv2.run.run_training import maybe_load_checkpoint

    source = inspect.getsource(maybe_load_checkpoint).partition("elif validation_only")[0]
    assert tuple(re.findall(r"checkpoint_\w+\.pth", source)) == constants.CHECKPOINTS
