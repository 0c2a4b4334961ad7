"""Names of a U-Net's parameters in files of other programs, and in files that store each parameter once.

The names here are those of `parameters.canonical`. Sources: nnU-Net v1, network_architecture/generic_UNet.py; nnssl's
adaptation plan; MultiTalent, run/load_pretrained_weights_MT.py, which has a stem for each dataset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plansguard.nnunet.network.parameters import canonical

_STEM = re.compile(r"encoder\.stem\.(?!convs\.)([^.]+)\.(?=convs\.)")
_V1_ENCODER = re.compile(r"conv_blocks_context\.(\d+)\.(?:([01])\.)?blocks\.(\d+)\.(conv|instnorm)\.(\w+)")
_V1_DECODER = re.compile(r"conv_blocks_localization\.(\d+)\.([01])\.blocks\.(\d+)\.(conv|instnorm)\.(\w+)")
_V1_STAGES = (_V1_ENCODER, _V1_DECODER)
_V1_OTHERS = re.compile(r"(tu|seg_outputs)\.(\d+)\.(\w+)")
_V1_NAMES = {"conv": "conv", "instnorm": "norm", "tu": "transpconvs", "seg_outputs": "seg_layers"}
_NNSSL_PLACES = (("key_to_encoder", "encoder.stages"), ("key_to_stem", "encoder.stem"))

Rename = Callable[[str], str]


def stems(stored: Iterable[str]) -> list[str]:
    """The names of the stems of a MultiTalent checkpoint, in its order; empty for a network with one stem."""
    found = (_STEM.match(canonical(name)) for name in stored)
    return list(dict.fromkeys(match[1] for match in found if match))


def is_v1(stored: Iterable[str]) -> bool:
    """Whether these are the names of nnU-Net v1's U-Net."""
    return any(_V1_ENCODER.fullmatch(name) for name in stored)


def sources(
    stored: Iterable[str], adaptation_plan: Mapping[str, Any] | None = None, stem: str | None = None
) -> dict[str, str]:
    """The parameter's canonical name here -> its name in the file.

    ``adaptation_plan`` is that of nnssl; ``stem`` is the one of `stems` that becomes the network's. Of two names of one
    parameter, the one without a detour is taken. Names of no U-Net are kept as they are.
    """
    names = list(stored)
    rename = _rename_v1(names) if is_v1(names) else _rename_parts(names, adaptation_plan)
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda name: canonical(name) != name):
        here = rename(canonical(name))
        match = _STEM.match(here)
        if match is not None:
            if match[1] != stem:
                continue
            here = _STEM.sub("encoder.stem.", here)
        found.setdefault(here, name)
    return found


def _rename_v1(names: list[str]) -> Rename:
    """The names of v1, in which the lowest stage and those of the decoder are two sequences of convolutions."""
    encoder, decoder = ([found for name in names if (found := form.fullmatch(name))] for form in _V1_STAGES)
    first = {"encoder": _lengths(encoder), "decoder": _lengths(decoder)}

    def rename(name: str) -> str:
        for part, form in zip(first, _V1_STAGES, strict=True):
            if match := form.fullmatch(name):
                stage, sequence, number, layer, parameter = match.groups()
                place = int(number) + (first[part].get(stage, 0) if sequence == "1" else 0)
                inside = "0.convs" if part == "encoder" else "convs"
                return f"{part}.stages.{stage}.{inside}.{place}.{_V1_NAMES[layer]}.{parameter}"
        if match := _V1_OTHERS.fullmatch(name):
            return f"decoder.{_V1_NAMES[match[1]]}.{match[2]}.{match[3]}"
        return name

    return rename


def _lengths(matches: Iterable[re.Match[str]]) -> dict[str, int]:
    """Stage -> the number of convolutions in the first of its two sequences."""
    lengths: dict[str, int] = {}
    for stage, sequence, number, *_ in (match.groups() for match in matches):
        if sequence == "0":
            lengths[stage] = max(lengths.get(stage, 0), int(number) + 1)
    return lengths


def _rename_parts(names: list[str], plan: Mapping[str, Any] | None) -> Rename:
    """The encoder and its stem by the places that nnssl's plan names; an encoder alone has neither in front."""
    places = [((plan or {}).get(key), here) for key, here in _NNSSL_PLACES]
    if not any(name.startswith("encoder.") for name in names):
        places += [("stages", "encoder.stages"), ("stem", "encoder.stem")]

    def rename(name: str) -> str:
        for there, here in places:
            if isinstance(there, str) and there and name.startswith(f"{there}."):
                return here + name.removeprefix(there)
        return name

    return rename
