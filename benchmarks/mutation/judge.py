"""What the real nnU-Net does with the documents of a dataset: each of its steps, on a small case and one patch.

A step is refused if nnU-Net raises, else its result is a digest of what it did. Two sets of documents with equal
results are the same to nnU-Net. The trainer's own methods run, on an object with only the attributes that they read;
images are small, and networks are on torch's meta device, where they take no memory.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import math
import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

#: More elements in an array than this are not allocated: what happens then depends on the machine.
LARGEST = 60_000_000
_OLD_KEYS = ("UNet_class_name", "UNet_base_num_features", "unet_max_num_features", "n_conv_per_stage_encoder")
_OLD_KEYS += ("n_conv_per_stage_decoder", "num_pool_per_axis", "pool_op_kernel_sizes", "conv_kernel_sizes")


class Documents(NamedTuple):
    """The documents of one dataset; those that it does not have are None."""

    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    fingerprint: dict[str, Any] | None
    splits: list[Any] | None


class Undecided(Exception):
    """The result depends on the machine."""


class Judge:
    """nnU-Net's judgement of documents that differ in one place from ``good`` ones of a dataset."""

    def __init__(self, good: Documents, scratch: Path, raw: Path | None) -> None:
        """``raw`` is the dataset's folder in nnUNet_raw, if it has images; ``scratch`` is used for planning."""
        self.good = good
        self.raw = raw
        self.scratch = scratch
        self._results: dict[tuple[str, str], str] = {}
        self._case = _Case(good)

    def results(self, documents: Documents) -> dict[str, str]:
        """Return step -> its result, or ``refused: `` and the exception. Raises Undecided."""
        plans, dataset_json = documents.plans, documents.dataset_json
        found = {"load": self._step("load", _load, (plans,))}
        configurations = plans.get("configurations") if _is(plans) else None
        for name in configurations if _is(configurations) else self.good.plans["configurations"]:
            top = {key: value for key, value in plans.items() if key != "configurations"} if _is(plans) else plans
            resolved = _resolved(plans, name)
            if isinstance(resolved, str):
                found[f"open {name}"] = resolved
                continue
            for step, run, parts in (
                ("preprocess", self._case.preprocess, (top, _without(resolved, True), dataset_json)),
                ("network", _network, (top.get("label_manager"), _without(resolved, False), dataset_json)),
                ("train", self._case.train, (top, _with_strides(resolved), dataset_json)),
            ):
                found[f"{step} {name}"] = self._step(step, run, parts, (dataset_json, _one(top, resolved)))
            found[f"cascade {name}"] = self._step("cascade", _cascade, (name, plans))
        found["labels"] = self._step("labels", _labels, (top_level(plans, "label_manager"), dataset_json))
        found["reader"] = self._step("reader", self._read, (top_level(plans, "image_reader_writer"),))
        if documents.fingerprint is not None and self.raw is not None:
            found["planner"] = self._step("planner", self._plan, (dataset_json, documents.fingerprint))
        if documents.splits is not None:
            found["splits"] = self._step("splits", _splits, (documents.splits,))
        return found

    def _step(
        self, name: str, run: Callable[..., Any], read: tuple[Any, ...], given: tuple[Any, ...] | None = None
    ) -> str:
        """Run a step once for each value of what it reads. It is called with that, or with what is ``given``."""
        key = name, json.dumps(read, sort_keys=False, default=str)
        if key not in self._results:
            self._results[key] = _outcome(run, *copy.deepcopy(read if given is None else given))
        return self._results[key]

    def _read(self, reader: Any) -> Any:
        from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name

        found = recursive_find_reader_writer_by_name(reader)()
        image = next(iter(sorted((self.raw / "imagesTr").iterdir()))) if self.raw else None
        if image is not None and image.suffix != ".json":
            found.read_images((str(image),))
        return type(found).__name__

    def _plan(self, dataset_json: Any, fingerprint: Any) -> Any:
        """Plan the dataset, as `nnUNetv2_plan_experiment` does."""
        from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as planners

        name = self.raw.name if self.raw else ""
        raw, preprocessed = self.scratch / "nnUNet_raw" / name, self.scratch / "nnUNet_preprocessed" / name
        preprocessed.mkdir(parents=True, exist_ok=True)
        (raw / "dataset.json").write_text(json.dumps(dataset_json), encoding="utf-8")
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint), encoding="utf-8")
        (preprocessed / "nnUNetPlans.json").unlink(missing_ok=True)
        with _meta(), mock.patch("nnunetv2.utilities.utils.Pool", _InThisProcess):
            planned = planners.ExperimentPlanner(name).plan_experiment()
        # nnU-Net only copies these into the plans; the steps that read them there are steps of the plans
        properties = planned.get("foreground_intensity_properties_per_channel")
        for index, scheme in enumerate(planned["configurations"]["2d"]["normalization_schemes"]):
            _normalized(scheme, properties[str(index)])
        read = ("mean", "std", "percentile_00_5", "percentile_99_5")
        schemes = planned["configurations"]["2d"]["normalization_schemes"]
        planned["foreground_intensity_properties_per_channel"] = {
            str(index): [properties[str(index)][key] for key in read]
            for index, scheme in enumerate(schemes)
            if scheme == "CTNormalization"
        }
        planned.pop("original_median_shape_after_transp")
        planned.pop("original_median_spacing_after_transp")
        for configuration in planned["configurations"].values():
            configuration.pop("median_image_size_in_voxels", None)
        return planned


def top_level(plans: Any, key: str) -> Any:
    """Return a value of the plans; a marker where the key is absent."""
    return plans.get(key, "(absent)") if isinstance(plans, dict) else plans


def _is(value: Any) -> bool:
    return isinstance(value, dict)


class _InThisProcess:
    """In place of the pool of processes that lists the files."""

    def __init__(self, processes: int) -> None:
        pass

    def __enter__(self) -> _InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def starmap(self, function: Callable[..., Any], arguments: list[Any]) -> list[Any]:
        return [function(*each) for each in arguments]


class _Case:
    """A small case with the dataset's channels and labels, whose spacing is near the configurations'."""

    def __init__(self, good: Documents) -> None:
        import numpy as np

        order = good.plans["transpose_forward"]
        spacing = [float(value) for value in good.plans["original_median_spacing_after_transp"]]
        flat = good.plans["original_median_shape_after_transp"][0] == 1
        spacing = [spacing[0] if flat else spacing[0] * 0.8, spacing[1] * 1.2, spacing[2] * 0.9]
        shape = [1 if flat else 14, 18, 20]
        self.spacing, reader_shape = [0.0] * 3, [0] * 3
        for axis, original in enumerate(order):
            self.spacing[original], reader_shape[original] = spacing[axis], shape[axis]
        generator = np.random.default_rng(1)
        channels = good.dataset_json.get("channel_names", good.dataset_json.get("modality", {"0": "x"}))
        # beyond the percentiles of CT, and within the range of RGB
        configurations = good.plans["configurations"].values()
        schemes = next(one["normalization_schemes"] for one in configurations if "normalization_schemes" in one)
        low, high = (-4000, 4000) if "CTNormalization" in schemes else (1, 250)
        self.image = generator.uniform(low, high, (len(channels), *reader_shape)).astype(np.float32)
        self.image[:, :, :3] = 0
        self.declared = good.dataset_json["labels"]
        self.patch = _smallest_patch(good.plans["configurations"].values())
        self.reader_shape = reader_shape

    def segmentation(self, dataset_json: Any) -> Any:
        """Return a segmentation with every label that dataset.json declares: the documents are all that is known."""
        import numpy as np

        try:
            labels = {value for entry in dataset_json["labels"].values() for value in _values(entry)}
        except (TypeError, ValueError, AttributeError, KeyError):
            labels = set()
        if not labels or not all(0 <= value < 1000 for value in labels):
            labels = {value for entry in self.declared.values() for value in _values(entry)}
        chosen = np.random.default_rng(4).choice(np.array(sorted(labels)), (1, *self.reader_shape))
        return chosen.astype(np.int16)

    def preprocess(self, dataset_json: Any, plans: Any) -> Any:
        """Preprocess the case, and export a prediction of it."""
        import numpy as np
        import torch
        from nnunetv2.inference.export_prediction import (
            convert_predicted_logits_to_segmentation_with_correct_shape as export,
        )
        from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        manager = PlansManager(plans)
        configured = manager.get_configuration("one")
        preprocessor = configured.preprocessor_class(verbose=False)
        properties: dict[str, Any] = {"spacing": list(self.spacing)}
        self._guard(configured.spacing)
        data, segmentation, properties = preprocessor.run_case_npy(
            self.image, self.segmentation(dataset_json), properties, manager, configured, dataset_json
        )
        blocks = comp_blosc2_params(data.shape, tuple(configured.patch_size), 4)
        labels = manager.get_label_manager(dataset_json)
        logits = np.random.default_rng(2).normal(size=(labels.num_segmentation_heads, *data.shape[1:]))
        logits = torch.from_numpy(logits.astype(np.float32))
        exported = export(logits, manager, configured, labels, properties, num_threads_torch=1)
        Path("prediction" + dataset_json["file_ending"])
        if not np.isfinite(data).all():
            raise FloatingPointError("preprocessed images contain values that are no numbers")
        if exported.shape != self.image.shape[1:]:
            raise RuntimeError(f"the exported segmentation has the shape {exported.shape}")
        del blocks  # they only decide how fast data are read
        locations = {str(key): len(value) for key, value in properties["class_locations"].items()}
        return [data.tobytes(), data.shape, segmentation.tobytes(), locations, exported.tobytes()]

    def _guard(self, spacing: Any) -> None:
        with contextlib.suppress(Exception):
            voxels = 1.0
            for size, ours, target in zip(self.image.shape[1:][-len(spacing) :], self.spacing, spacing, strict=False):
                voxels *= size * ours / target if target else 1
            if abs(voxels) * len(self.image) > LARGEST:
                raise Undecided
        return

    def train(self, dataset_json: Any, plans: Any) -> Any:
        """Load a batch, transform a patch, and compute the loss, with the trainer's own methods."""
        import numpy as np
        import torch
        from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        trainer = _trainer(plans, dataset_json)
        configured, labels = trainer.configuration_manager, trainer.label_manager
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            if float(np.prod([float(size) for size in configured.patch_size])) * float(configured.batch_size) > LARGEST:
                raise Undecided
        folder = Path("preprocessed", plans["dataset_name"], configured.data_identifier)
        results = Path("results", plans["dataset_name"], "nnUNetTrainer__" + plans["plans_name"] + "__one")
        rotation, dummy, initial, mirror = nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size(
            trainer
        )
        scales = nnUNetTrainer._get_deep_supervision_scales(trainer)
        transforms = nnUNetTrainer.get_training_transforms(
            configured.patch_size, rotation, scales, mirror, dummy, use_mask_for_norm=configured.use_mask_for_norm,
            is_cascaded=False, foreground_labels=labels.foreground_labels,
            regions=labels.foreground_regions if labels.has_regions else None, ignore_label=labels.ignore_label,
        )  # fmt: skip
        nnUNetTrainer.get_validation_transforms(
            scales, regions=labels.foreground_regions if labels.has_regions else None
        )
        np.random.seed(0)
        loader = nnUNetDataLoader(_Data(len(self.image)), configured.batch_size, initial, configured.patch_size, labels)
        with mock.patch("nnunetv2.training.dataloading.data_loader.crop_and_pad_nd", _zeros):
            batch = loader.generate_train_batch()
        size = (self.patch.get(len(configured.patch_size), 32),) * len(configured.patch_size)
        image = torch.ones((len(self.image), *size))
        image[:, 0] = 2
        segmentation = torch.from_numpy(
            np.random.default_rng(3).choice(self.segmentation(dataset_json).ravel(), (1, *size))
        )
        segmentation[0, :2] = -1
        sample: dict[str, Any] = {"image": image, "segmentation": segmentation}
        names = {"MaskImageTransform", "RemoveLabelTransform", "ConvertSegmentationToRegionsTransform"}
        for transform in transforms.transforms:
            if type(transform).__name__ in {*names, "DownsampleSegForDSTransform"}:
                sample = transform(**sample)
        loss = nnUNetTrainer._build_loss(trainer)
        torch.manual_seed(0)
        heads = labels.num_segmentation_heads
        # samples that differ, so that batch_dice makes a difference
        targets = [torch.stack([target, torch.zeros_like(target)]) for target in sample["segmentation"]]
        outputs = [torch.randn((2, heads, *target.shape[2:])) for target in targets]
        value = float(loss(outputs, targets))
        if not np.isfinite(value):
            raise FloatingPointError("the loss is no number")
        return [folder, results, [*batch["data"].shape], sample["image"].numpy().tobytes(), round(value, 5)]


def _smallest_patch(configurations: Iterable[Any]) -> dict[int, int]:
    """Return number of axes -> the size of a patch that leaves a voxel after all strides, at least 32."""
    sizes: dict[int, int] = {}
    for configuration in configurations:
        kwargs = configuration.get("architecture", {}).get("arch_kwargs", {})
        strides = kwargs.get("strides", configuration.get("pool_op_kernel_sizes"))
        for axis in zip(*(strides or ()), strict=True):
            axes = len(strides[0])
            sizes[axes] = max(sizes.get(axes, 32), math.prod(axis))
    return sizes


def _zeros(image: Any, box: Any, *_: Any, **__: Any) -> Any:
    """Return a crop of a case, all zero and without memory of its own."""
    import numpy as np
    from acvl_utils.cropping_and_padding.bounding_boxes import int_bbox

    sizes = [upper - lower for lower, upper in int_bbox(box)]
    return np.broadcast_to(image.dtype.type(0), (*image.shape[: -len(sizes)], *sizes))


class _Data:
    """Preprocessed data, as the loader reads them."""

    identifiers = ("one",)

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.identifiers = ["one"]

    def load_case(self, _: str) -> tuple[Any, Any, None, dict[str, Any]]:
        import numpy as np

        image = np.zeros((self.channels, 4, 8, 8), np.float32)
        return image, np.zeros((1, 4, 8, 8), np.int16), None, {"class_locations": {1: []}}


def _trainer(plans: Any, dataset_json: Any) -> Any:
    """Return an object with the trainer's attributes."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    trainer = SimpleNamespace(plans_manager=manager, configuration_manager=manager.get_configuration("one"))
    trainer.label_manager = manager.get_label_manager(dataset_json)
    trainer.is_ddp, trainer.enable_deep_supervision, trainer.local_rank = False, True, 0
    trainer.print_to_log_file = lambda *_, **__: None
    trainer._do_i_compile = lambda: False
    trainer._get_deep_supervision_scales = lambda: nnUNetTrainer._get_deep_supervision_scales(trainer)
    return trainer


def _network(dataset_json: Any, plans: Any) -> Any:
    """Build the network, and pass one patch through it."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    trainer = _trainer(plans, dataset_json)
    manager, configured = trainer.plans_manager, trainer.configuration_manager
    channels = determine_num_input_channels(manager, configured, dataset_json)
    heads = trainer.label_manager.num_segmentation_heads
    patch = tuple(configured.patch_size)
    with contextlib.suppress(TypeError, ValueError):
        largest = max(_integers(configured.configuration.get("architecture")), default=0)
        if largest > 100_000:
            raise Undecided
    with torch.device("meta"), mock.patch.object(torch.Tensor, "normal_", lambda tensor, *_, **__: tensor):
        network = nnUNetTrainer.build_network_architecture(manager, configured, channels, heads, True)
        torch.optim.SGD(network.parameters(), 0.01, momentum=0.99, nesterov=True)
        outputs = network(torch.empty((2, channels, *patch)))
        if not isinstance(outputs, (list, tuple)):
            return [str(network), [*outputs.shape]]
        # as DownsampleSegForDSTransform computes the sizes of the targets
        scales = nnUNetTrainer._get_deep_supervision_scales(trainer)
        for scale, output in zip(scales, outputs, strict=True):
            assert len(scale) == len(patch)
            if [round(size * factor) for size, factor in zip(patch, scale, strict=True)] != [*output.shape[2:]]:
                raise RuntimeError(f"the output has the shape {output.shape}, the target another one")
    if tuple(outputs[0].shape[2:]) != patch:
        raise RuntimeError("the segmentation has another size than the patch")
    parameters = {name: [*value.shape] for name, value in network.state_dict().items()}
    return [str(network), parameters, [[*output.shape] for output in outputs]]


def _integers(value: Any) -> Iterator[float]:
    if isinstance(value, (int, float)):
        yield abs(value)
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _integers(item)


def _labels(label_manager: Any, dataset_json: Any) -> Any:
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = {} if label_manager == "(absent)" else {"label_manager": label_manager}
    labels = PlansManager(plans).get_label_manager(dataset_json)
    order = labels.regions_class_order if labels.has_regions else None
    channels = determine_num_input_channels(
        PlansManager(plans), SimpleNamespace(previous_stage_name=None), dataset_json
    )
    # integers of numpy and of Python, and 6 and "6", are the same label
    regions = labels.foreground_regions if labels.has_regions else labels.foreground_labels
    return [
        labels.num_segmentation_heads,
        str(labels.all_labels),
        str(regions),
        str(labels.ignore_label),
        order,
        channels,
    ]


def _cascade(name: str, plans: Any) -> Any:
    """Follow the links of a cascade, as the trainer and its final validation do."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    configuration = manager.get_configuration(name)
    previous, following = configuration.previous_stage_name, configuration.next_stage_names
    if previous is not None:
        Path("results", "trainer__plans__" + previous, "predicted_next_stage", name)
        first = manager.get_configuration(previous)
        if name not in (first.next_stage_names or ()):
            raise FileNotFoundError(f"{previous} writes no predictions for {name}")
        if previous == name:
            raise FileNotFoundError(f"{name} needs its own predictions")
    for stage in following or ():
        next_stage = manager.get_configuration(stage)
        Path("preprocessed", next_stage.data_identifier)
        Path("results", "predicted_next_stage", stage)
    return [previous, following]


def _splits(splits: Any) -> Any:
    """Select the cases of every fold, as nnUNetTrainer.do_split does, and look for their files."""
    cases = []
    for fold in range(len(splits)):
        training, validation = splits[fold]["train"], splits[fold]["val"]
        if any(case in validation for case in training):
            cases.append("some validation cases are also training cases")
        for names in (training, validation):
            names.sort()
            if not names:
                raise ValueError("'a' cannot be empty unless no samples are taken")
            for case in names:
                Path("preprocessed", case + ".b2nd")
        cases.append([training, validation])
    return cases


def _load(plans: Any) -> Any:
    """Open the plans, and read what the trainer reads at the top level."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    Path("preprocessed", manager.dataset_name)
    return [manager.dataset_name, manager.plans_name, list(manager.available_configurations)]


def _resolved(plans: Any, name: str) -> Any:
    """Return the configuration with what it inherits, or the refusal of nnU-Net's own resolution."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    try:
        resolved = PlansManager(copy.deepcopy(plans))._internal_resolve_configuration_inheritance(name)
        if not isinstance(resolved, dict):
            raise TypeError("a configuration is no object")
        return resolved
    except Exception as error:  # noqa: BLE001 - whatever nnU-Net raises
        return f"refused: {type(error).__name__}: {error}"


def _one(top: Any, resolved: dict[str, Any]) -> dict[str, Any]:
    """Return plans with one configuration."""
    resolved = {key: value for key, value in resolved.items() if key != "inherits_from"}
    return {**top, "configurations": {"one": resolved}}


def _without(resolved: dict[str, Any], architecture: bool) -> dict[str, Any]:
    """Return the part of a configuration that preprocessing reads, or that building the network reads."""
    network = {"architecture", *_OLD_KEYS}
    if architecture:
        return {key: value for key, value in resolved.items() if key not in network}
    return {key: value for key, value in resolved.items() if key in {*network, "patch_size", "previous_stage"}}


def _with_strides(resolved: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that training reads besides the network."""
    try:
        strides = resolved["architecture"]["arch_kwargs"]["strides"]
    except (KeyError, TypeError, IndexError):
        strides = resolved.get("pool_op_kernel_sizes")
    keys = ("data_identifier", "batch_size", "patch_size", "use_mask_for_norm", "batch_dice")
    return {**{key: resolved[key] for key in keys if key in resolved}, "strides": strides}


def _normalized(scheme: str, properties: Any) -> None:
    import numpy as np
    from nnunetv2.preprocessing.normalization import default_normalization_schemes as schemes

    values = getattr(schemes, scheme)(False, properties).run(np.arange(8, dtype=np.float32))
    if not np.isfinite(values).all():
        raise FloatingPointError("preprocessed images contain values that are no numbers")


def _values(entry: Any) -> list[int]:
    return [int(value) for value in entry] if isinstance(entry, list) else [int(entry)]


def _outcome(run: Callable[..., Any], *parts: Any) -> str:
    """Run a step; return a digest of its result, or the exception."""
    silent = io.StringIO()
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = run(*parts)
    except Undecided:
        raise
    except Exception as error:  # noqa: BLE001 - whatever nnU-Net raises
        return f"refused: {type(error).__name__}: {str(error)[:150]}"
    return hashlib.sha256(pickle.dumps(_plain(result))).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return a result without numpy's types, whose pickles may differ for equal values."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return (
        value
        if value is None or isinstance(value, (bool, str))
        else repr(value + 0.0)
        if _number(value)
        else str(value)
    )


def _number(value: Any) -> bool:
    with contextlib.suppress(TypeError):
        value + 0.0
        return True
    return False


#: Arguments -> memory of a planned network; most plannings estimate the same networks.
_ESTIMATES: dict[str, Any] = {}


@contextlib.contextmanager
def _meta() -> Iterator[None]:
    """Estimate the memory of planned networks on the meta device."""
    import torch
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    original = ExperimentPlanner.static_estimate_VRAM_usage

    def estimate(*arguments: Any) -> Any:
        key = repr(arguments)
        if key not in _ESTIMATES:
            with torch.device("meta"):
                _ESTIMATES[key] = original(*arguments)
        return _ESTIMATES[key]

    with mock.patch.object(ExperimentPlanner, "static_estimate_VRAM_usage", staticmethod(estimate)):
        yield


def prepare(scratch: Path, raw: Path, name: str) -> Path:
    """Copy a raw dataset with images for planning under a name, and point nnU-Net to it; return its folder."""
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (scratch / variable).mkdir(parents=True, exist_ok=True)
        os.environ[variable] = str(scratch / variable)
    os.environ["nnUNet_n_proc_DA"] = "1"
    return Path(shutil.copytree(raw, scratch / "nnUNet_raw" / name))
