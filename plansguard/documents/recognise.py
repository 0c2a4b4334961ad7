"""Recognise the kind of a document by its content, whatever its file name."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple

Kind = Literal["plans", "fingerprint", "dataset.json", "splits", "lineage", "stamp", "receipt"]


class _Signature(NamedTuple):
    """A document of this kind has at least two of these keys, and at least one of the ``characteristic`` keys."""

    characteristic: frozenset[str]
    others: frozenset[str]

    def fits(self, keys: AbstractSet[str]) -> bool:
        """Whether a document with these keys is of this kind."""
        count = len(keys & self.characteristic)
        return count > 1 or (count == 1 and not self.others.isdisjoint(keys))


# One key is not enough: many files that have nothing to do with nnU-Net contain `configurations` or `labels`. And no
# key is in all real files: released models and files under repair lack some.
_SIGNATURES: dict[Kind, _Signature] = {
    "plans": _Signature(
        frozenset(("configurations", "plans_name")),
        frozenset(
            (
                "image_reader_writer",
                "transpose_forward",
                "experiment_planner_used",
                "label_manager",
                "foreground_intensity_properties_per_channel",
                "foreground_intensity_properties_by_modality",
            )
        ),
    ),
    "fingerprint": _Signature(
        frozenset(("spacings", "shapes_after_crop")),
        frozenset(("foreground_intensity_properties_per_channel", "median_relative_size_after_cropping")),
    ),
    "dataset.json": _Signature(
        frozenset(("numTraining", "file_ending")),
        frozenset(("labels", "channel_names", "modality", "regions_class_order", "tensorImageSize")),
    ),
}
#: Start of ``schema`` in plansguard's own documents -> their kind.
_OWN: dict[str, Kind] = {
    "plansguard/lineage/": "lineage",
    "plansguard/stamp/": "stamp",
    "plansguard/receipt/": "receipt",
}
_BASELINE = b'{\n  "schema": "plansguard/baseline/'
_ADAPTATION = b'{\n    "schema": "plansguard/adaptation/'
_TOKENS = (
    *(f'"{key}"'.encode() for signature in _SIGNATURES.values() for key in signature.characteristic),
    *(schema.encode() for schema in _OWN),
)
_TOKENS_OF_CASES = (b'"spacings"', b'"numTraining"', b'"val"', b"plansguard/stamp/", b"plansguard/receipt/")
#: The kinds of document whose length grows with the number of cases.
WITH_CASES: tuple[Kind, ...] = ("fingerprint", "dataset.json", "splits", "stamp", "receipt")


def recognise(value: Any) -> Kind | None:
    """The kind of document that a parsed JSON value is, or None.

    A faulty document is recognised too: it may lack keys and contain wrong types, so that both can be reported.
    """
    if isinstance(value, list):
        return "splits" if any(_is_fold(entry) for entry in value) else None
    if not isinstance(value, dict):
        return None
    if "schema" in value:
        for schema, own in _OWN.items():
            if str(value["schema"]).startswith(schema):
                return own
    return next((kind for kind, signature in _SIGNATURES.items() if signature.fits(value.keys())), None)


def is_baseline(raw: bytes) -> bool:
    """Whether a file is a baseline of plansguard, by its first key."""
    return raw.startswith(_BASELINE)


def is_adaptation_record(raw: bytes) -> bool:
    """Whether a file is an adaptation record, by its first key."""
    return raw.startswith(_ADAPTATION)


def may_be_document(raw: bytes) -> bool:
    """Whether a file may be one of these documents. A cheap test, so that other JSON need not be parsed.

    True for all that ``recognise`` knows, unless keys are written with escapes, which no program does.
    """
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16, as redirected output on Windows: reported, not skipped
        raw = raw.replace(b"\0", b"")
    return any(token in raw for token in _TOKENS) or (b'"train"' in raw and b'"val"' in raw)


def resembles_document(raw: bytes) -> bool:
    """Whether a file that cannot be parsed has the keys by which ``recognise`` knows a document."""
    keys = {key for one in _SIGNATURES.values() for key in one.characteristic | one.others if _quoted(key) in raw}
    return any(one.fits(keys) for one in _SIGNATURES.values()) or any(key.encode() in raw for key in _OWN)


def _quoted(key: str) -> bytes:
    return f'"{key}"'.encode()


def may_list_cases(raw: bytes) -> bool:
    """Whether a file may be a document whose length grows with the number of cases."""
    return any(token in raw for token in _TOKENS_OF_CASES)


def is_v1(value: Any) -> bool:
    """Whether a parsed dataset.json is of nnU-Net v1, as in the Medical Decathlon: ``labels`` maps number to name.

    The other keys of v1 (modality, tensorImageSize, training, ...) prove nothing, since converted files keep them.
    """
    labels = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(labels, dict) or not labels:
        return False
    return all(number.isdecimal() and isinstance(name, str) for number, name in labels.items())


def _is_fold(entry: Any) -> bool:
    """Whether this is a fold: names of the cases to train and to validate on. nnU-Net has no folds of numbers."""
    if not isinstance(entry, dict):
        return False
    cases = entry.get("train"), entry.get("val")
    return all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in cases)
