"""Which document a JSON value is, by what it says and not by its name."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Kind = Literal["plans", "fingerprint", "dataset.json", "splits", "lineage", "stamp", "receipt"]


class _Signature(NamedTuple):
    """A document of this kind has two of these keys or more, among them one of the ``telling``."""

    telling: tuple[str, ...]
    others: tuple[str, ...]


# One key alone is not enough: `configurations` and `labels` stand in many files that have nothing to do with
# nnU-Net. And no key is in all real files: released models and files under repair lack some.
_SIGNATURES: dict[Kind, _Signature] = {
    "plans": _Signature(
        ("configurations", "plans_name"),
        (
            "image_reader_writer",
            "transpose_forward",
            "experiment_planner_used",
            "label_manager",
            "foreground_intensity_properties_per_channel",
            "foreground_intensity_properties_by_modality",
        ),
    ),
    "fingerprint": _Signature(
        ("spacings", "shapes_after_crop"),
        ("foreground_intensity_properties_per_channel", "median_relative_size_after_cropping"),
    ),
    "dataset.json": _Signature(
        ("numTraining", "file_ending"),
        ("labels", "channel_names", "modality", "regions_class_order", "tensorImageSize"),
    ),
}
#: Documents of our own say what they are.
_OWN: dict[str, Kind] = {
    "plansguard/lineage/": "lineage",
    "plansguard/stamp/": "stamp",
    "plansguard/receipt/": "receipt",
}
_TOKENS = (
    *(f'"{key}"'.encode() for signature in _SIGNATURES.values() for key in signature.telling),
    *(schema.encode() for schema in _OWN),
)


def recognise(value: Any) -> Kind | None:
    """The kind of document that a parsed JSON value is, or None.

    Faults do not hide a document: it may lack keys and hold wrong types, so that both can be reported.
    """
    if isinstance(value, list):
        return "splits" if any(_is_fold(entry) for entry in value) else None
    if not isinstance(value, dict):
        return None
    for schema, own in _OWN.items():
        if str(value.get("schema")).startswith(schema):
            return own
    for kind, (telling, others) in _SIGNATURES.items():
        found = sum(key in value for key in telling)
        if found and found + sum(key in value for key in others) >= 2:
            return kind
    return None


def markers(raw: bytes) -> bool:
    """Whether a file may be one of these documents; cheap, so that other JSON need not be parsed.

    True for whatever ``recognise`` knows, unless its keys are written with escapes, which no program does.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16, as redirected output on Windows: reported, not skipped
        raw = raw.replace(b"\0", b"")
    return any(token in raw for token in _TOKENS) or (b'"train"' in raw and b'"val"' in raw)


def is_v1(value: Any) -> bool:
    """Whether a parsed dataset.json is one of nnU-Net v1, as the Medical Decathlon ships them.

    There ``labels`` maps number to name. Their other keys (modality, tensorImageSize, training, ...) prove nothing:
    converted files keep them.
    """
    labels = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(labels, dict) or not labels:
        return False
    return all(number.isdecimal() and isinstance(name, str) for number, name in labels.items())


def _is_fold(entry: Any) -> bool:
    """Whether this is a fold: names of cases to train and validate on. Folds of numbers are not nnU-Net's."""
    if not isinstance(entry, dict):
        return False
    cases = entry.get("train"), entry.get("val")
    return all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in cases)
