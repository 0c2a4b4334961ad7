"""Fields of nnU-Net's documents: the step that reads each of them, and what it takes.

The types are those of the models in plansguard/documents/models/; tests/nnunet/test_fields.py holds both together,
and benchmarks/mutation compares the steps with what nnU-Net does. Sources: utilities/plans_handling/plans_handler.py,
label_handling/label_handling.py, preprocessing/preprocessors/default_preprocessor.py, inference/export_prediction.py,
training/nnUNetTrainer/nnUNetTrainer.py, experiment_planning/experiment_planners/default_experiment_planner.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from plansguard.core.text import listed
from plansguard.nnunet.constants import CT, INTENSITY_KEY, NO_RESAMPLING, OLD_INTENSITY_KEY, normalization_of

Step = Literal["load", "labels", "planner", "preprocess", "network", "training", "cascade", "prediction"]
Tokens = Sequence[str | int]

#: Step -> its name in messages.
STEPS: Final[Mapping[Step, str]] = {
    "load": "opening the plans",
    "labels": "reading the labels",
    "planner": "planning",
    "preprocess": "preprocessing",
    "network": "building the network",
    "training": "training",
    "cascade": "the cascade",
    "prediction": "prediction",
}


class FieldUse(NamedTuple):
    """The steps that read a field, none if nothing reads it.

    ``needed``: a step fails without the key. ``truth``: any value is taken as true or false. ``names``: the kind of
    name that it holds, in plansguard/nnunet/signatures.py.
    """

    steps: tuple[Step, ...] = ()
    needed: bool = False
    truth: bool = False
    names: str = ""


def _read(*steps: Step, needed: bool = False, truth: bool = False, names: str = "") -> FieldUse:
    return FieldUse(steps, needed, truth, names)


_UNREAD: Final = FieldUse()
_PLANS: Final[Mapping[str, FieldUse]] = {
    "dataset_name": _read("training", needed=True),
    "plans_name": _read("training", needed=True),
    "original_median_spacing_after_transp": _UNREAD,
    "original_median_shape_after_transp": _UNREAD,
    "image_reader_writer": _read("preprocess", "prediction", needed=True, names="readers"),
    "transpose_forward": _read("preprocess", "prediction", needed=True),
    "transpose_backward": _read("prediction", needed=True),
    "configurations": _read("load", needed=True),
    "experiment_planner_used": _UNREAD,
    "label_manager": _read("labels", names="label_managers"),
    INTENSITY_KEY: _read("preprocess", needed=True),
    OLD_INTENSITY_KEY: _read("preprocess"),
    "pretrain_info": _read("network"),  # by nnssl's fork
}
_CONFIGURATION: Final[Mapping[str, FieldUse]] = {
    "inherits_from": _read("load"),
    "data_identifier": _read("preprocess", "training", needed=True),
    "preprocessor_name": _read("preprocess", needed=True, names="preprocessors"),
    "batch_size": _read("training", needed=True),
    "patch_size": _read("preprocess", "network", "training", "prediction", needed=True),
    "median_image_size_in_voxels": _UNREAD,
    "spacing": _read("preprocess", "prediction", needed=True),
    "normalization_schemes": _read("preprocess", "prediction", needed=True),
    "use_mask_for_norm": _read("preprocess", "training", needed=True),
    "resampling_fn_data": _read("preprocess", needed=True, names="resampling"),
    "resampling_fn_data_kwargs": _read("preprocess", needed=True),
    "resampling_fn_seg": _read("preprocess", needed=True, names="resampling"),
    "resampling_fn_seg_kwargs": _read("preprocess", needed=True),
    "resampling_fn_probabilities": _read("prediction", needed=True, names="resampling"),
    "resampling_fn_probabilities_kwargs": _read("prediction", needed=True),
    "architecture": _read("load", "network", needed=True),
    "batch_dice": _read("training", needed=True, truth=True),
    "previous_stage": _read("network", "cascade"),
    "next_stage": _read("cascade"),
    "UNet_class_name": _read("load", "network", needed=True),
    "UNet_base_num_features": _read("load", "network", needed=True),
    "unet_max_num_features": _read("load", "network", needed=True),
    "n_conv_per_stage_encoder": _read("load", "network", needed=True),
    "n_conv_per_stage_decoder": _read("load", "network", needed=True),
    "num_pool_per_axis": FieldUse(needed=True),
    "pool_op_kernel_sizes": _read("load", "network", "training", needed=True),
    "conv_kernel_sizes": _read("load", "network", needed=True),
}
_ARCHITECTURE: Final[Mapping[str, FieldUse]] = {
    "network_class_name": _read("network", needed=True),
    "arch_kwargs": _read("network", needed=True),
    "_kw_requires_import": _read("network", needed=True),
}
_ARCH_KWARGS: Final[Mapping[str, FieldUse]] = {
    **dict.fromkeys(
        ("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "n_conv_per_stage_decoder"),
        _read("network", needed=True),
    ),
    "strides": _read("network", "training", needed=True),
    **dict.fromkeys(("n_conv_per_stage", "n_blocks_per_stage"), _read("network", needed=True)),
    **dict.fromkeys(("conv_bias", "nonlin_first"), _read("network", truth=True)),
    **dict.fromkeys(("norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs"), _read("network")),
    **dict.fromkeys(("nonlin", "nonlin_kwargs"), _read("network")),
    **dict.fromkeys(("block", "bottleneck_channels", "stem_channels"), _read("network")),
    "deep_supervision": _UNREAD,  # the trainer replaces it
}
_DATASET_JSON: Final[Mapping[str, FieldUse]] = {
    "channel_names": _read("planner", "network", needed=True),
    "modality": _read("planner", "network"),
    "labels": _read("labels", "planner", "preprocess", "training", "prediction", needed=True),
    "regions_class_order": _read("labels", "prediction"),
    "numTraining": _read("planner", needed=True),
    "file_ending": _read("planner", "preprocess", "prediction", needed=True),
    "overwrite_image_reader_writer": _read("planner"),
    "dataset": _read("planner", "preprocess"),
    **dict.fromkeys(("name", "description", "reference", "licence", "release"), _UNREAD),
}
_FINGERPRINT: Final[Mapping[str, FieldUse]] = {
    "spacings": _read("planner", needed=True),
    "shapes_after_crop": _read("planner", needed=True),
    INTENSITY_KEY: _read("planner", needed=True),
    "median_relative_size_after_cropping": _read("planner", needed=True),
}
#: Of the statistics only CTNormalization reads these.
_INTENSITY: Final[Mapping[str, FieldUse]] = {
    **dict.fromkeys(("mean", "std", "percentile_00_5", "percentile_99_5"), _read("preprocess", needed=True)),
    **dict.fromkeys(("max", "median", "min"), _UNREAD),
}
FIELDS: Final[Mapping[str, Mapping[str, FieldUse]]] = {
    "Plans": _PLANS,
    "Configuration": _CONFIGURATION,
    "Architecture": _ARCHITECTURE,
    "ArchKwargs": _ARCH_KWARGS,
    "DatasetJson": _DATASET_JSON,
    "Fingerprint": _FINGERPRINT,
    "IntensityProperties": _INTENSITY,
    "Fold": dict.fromkeys(("train", "val"), _read("training", needed=True)),
}
"""Model -> its fields."""
_SPLINES: Final[Mapping[str, Any]] = {"order_z": 0, "force_separate_z": None}
_TORCH: Final[Mapping[str, Any]] = {"force_separate_z": False, "memefficient_seg_resampling": False}
RESAMPLING_ARGUMENTS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "resample_data_or_seg_to_shape": {
        "resampling_fn_data": {"is_seg": False, "order": 3, **_SPLINES},
        "resampling_fn_seg": {"is_seg": True, "order": 1, **_SPLINES},
        "resampling_fn_probabilities": {"is_seg": False, "order": 1, **_SPLINES},
    },
    "resample_torch_fornnunet": {
        "resampling_fn_data": {"is_seg": False, **_TORCH},
        "resampling_fn_seg": {"is_seg": True, **_TORCH},
        "resampling_fn_probabilities": {"is_seg": False, **_TORCH},
    },
    NO_RESAMPLING: {"resampling_fn_data": {}, "resampling_fn_seg": {}, "resampling_fn_probabilities": {}},
}
"""Function -> field -> the arguments that planners write. experiment_planning/experiment_planners/"""
_INTENSITY_KEYS: Final = (INTENSITY_KEY, OLD_INTENSITY_KEY)
#: Statistics that CTNormalization gives to numpy, which takes a list of one number as that number.
_BROADCAST: Final = ("mean", "percentile_00_5", "percentile_99_5")
#: Texts that are true to Python and false to readers.
_FALSE_TEXTS: Final = ("false", "no", "off", "0", "none", "null", "")


def field_at(model: str, tokens: Tokens, ct_channels: Sequence[str] | None = None) -> FieldUse:
    """The innermost field that contains a place of a document.

    ``ct_channels`` are the channels with CTNormalization, which alone reads the statistics; None if they are unknown.
    """
    key = str(tokens[0]) if tokens else ""
    if key in _INTENSITY_KEYS and len(tokens) > 2:
        read = ct_channels is None or str(tokens[1]) in ct_channels
        return _INTENSITY.get(str(tokens[2]), _UNREAD) if read else _UNREAD
    if key == "architecture" and len(tokens) > 1:
        if tokens[1] == "arch_kwargs" and len(tokens) > 2:
            return _ARCH_KWARGS.get(str(tokens[2]), _ARCHITECTURE["arch_kwargs"])
        return _ARCHITECTURE.get(str(tokens[1]), _UNREAD)
    if model == "Splits":
        return FIELDS["Fold"]["train"]
    return FIELDS[model].get(key, _UNREAD)


def effect(
    model: str, tokens: Tokens, value: Any, channels: Sequence[str] | None = None, document: Any = None
) -> tuple[bool, str]:
    """Whether a value of a wrong type matters to nnU-Net, and a clause about it.

    It does not where nothing reads the field, and where it is taken as what it seems to mean: any value is a flag, and
    ``int`` converts labels. ``channels`` as in field_at; ``document`` is the whole of a dataset.json.
    """
    field = field_at(model, tokens, channels)
    if not field.steps:
        return False, "; nnU-Net does not read it"
    if meaning := _taken_as(field, model, tokens, value, document):
        return False, f"; nnU-Net takes it as {meaning}"
    return True, f"; it is read by {listed([STEPS[step] for step in field.steps], shown=2)}"


def ct_channels(dataset_json: Any) -> list[str] | None:
    """The channels that the planner normalizes as CT; None where dataset.json names no channels."""
    names = dataset_json.get("channel_names", dataset_json.get("modality")) if isinstance(dataset_json, dict) else None
    if not isinstance(names, dict):
        return None
    return [str(index) for index, name in enumerate(names.values()) if normalization_of(str(name)) == CT]


def _taken_as(field: FieldUse, model: str, tokens: Tokens, value: Any, document: Any) -> str | None:
    """What nnU-Net makes of a value, if that is what it seems to mean."""
    if field.truth:
        meant = value[0] if isinstance(value, list) and len(value) == 1 else value
        same = not isinstance(meant, (list, dict)) and bool(meant) == bool(value) and not is_false_text(meant)
        return str(bool(value)).lower() if same else None
    if model == "DatasetJson" and len(tokens) == 2 and tokens[0] == "labels" and tokens[1] != "ignore":
        labels = document["labels"] if isinstance(document, dict) else {}
        others = [label for name, label in labels.items() if name != tokens[1]]
        return None if any(isinstance(label, list) for label in (value, *others)) else _whole_label(value, others)
    counted = len(tokens) == 3 and tokens[0] in ("shapes_after_crop", "spacings")
    if (counted or tuple(tokens) == ("numTraining",)) and isinstance(value, (int, float)) and value > 0:
        return "a number"
    key = tokens[-1] if tokens and isinstance(tokens[-1], str) else tokens[0] if tokens else ""
    if key == "transpose_forward" and isinstance(value, bool):
        return str(int(value))
    if key == "use_mask_for_norm" and value is None and len(tokens) > 1:
        return "false"
    if key in _BROADCAST and isinstance(value, list) and len(value) == 1 and _is_number(value[0]):
        return str(value[0])
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_false_text(value: Any) -> bool:
    """Whether a value is a text such as ``"False"``, which is true to Python."""
    return isinstance(value, str) and bool(value) and value.strip().casefold() in _FALSE_TEXTS


def _whole_label(value: Any, others: Sequence[Any]) -> str | None:
    """The label that ``int`` makes of a value, unless it is another label too."""
    try:
        label = int(value) if isinstance(value, (str, bool, float)) else None
    except (ValueError, OverflowError):
        return None
    return None if label is None or label in others else str(label)


def misspelt(lacking: Sequence[str], written: Iterable[str], model: str) -> tuple[()] | tuple[str, str]:
    """A key that nnU-Net does not know, and the missing one that it is a misspelling of, if there is such a key."""
    pairs = ((key, near(key, lacking)) for key in written if key not in FIELDS[model])
    return next(((key, meant) for key, meant in pairs if meant), ())


def near(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` is a typing error of: another case, or one or two characters that differ."""
    folded = _folded(word)
    close = [(distance, one) for one in known if (distance := _distance(folded, _folded(one))) is not None]
    return min(close)[1] if close else None


def _folded(word: str) -> str:
    return word.strip().casefold().replace("_", "").replace("-", "").replace(" ", "")


def _distance(one: str, other: str) -> int | None:
    """The number of edits between two words; None if it is large: above 0 up to 4 letters, 1 up to 8, or 2."""
    most = min((len(other) - 1) // 4, 2)
    if abs(len(one) - len(other)) > most:
        return None
    if one == other:
        return 0
    if most < 1:
        return None
    # the rows of the optimal string alignment: an exchange of two neighbours is one edit
    before: list[int] = []
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, 1):
        before, above, row = row, before, [index]
        for place, theirs in enumerate(other, 1):
            cost = min(before[place] + 1, row[place - 1] + 1, before[place - 1] + (letter != theirs))
            if place > 1 and above and letter == other[place - 2] and one[index - 2] == theirs:
                cost = min(cost, above[place - 2] + 1)
            row.append(cost)
    return row[-1] if row[-1] <= most else None
