"""Broken fixtures for every rule: modules called ``variants`` or ``..._variants``, by family."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from tests.support.variants import Variant

VARIANTS_BY_MODULE: dict[str, tuple[Variant, ...]] = {
    module.name.removeprefix(f"{__name__}."): import_module(module.name).VARIANTS
    for module in walk_packages(__path__, f"{__name__}.")
    if module.name.endswith("variants")
}

ALL_VARIANTS: tuple[Variant, ...] = tuple(
    variant for name in sorted(VARIANTS_BY_MODULE) for variant in VARIANTS_BY_MODULE[name]
)
