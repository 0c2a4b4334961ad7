"""Broken fixtures for every rule: modules called ``variants`` or ``..._variants``, by family."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from tests.support.variants import Variant

_MODULES = sorted(one.name for one in walk_packages(__path__, f"{__name__}.") if one.name.endswith("variants"))

ALL_VARIANTS: tuple[Variant, ...] = tuple(variant for name in _MODULES for variant in import_module(name).VARIANTS)
