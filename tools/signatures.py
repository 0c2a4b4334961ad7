"""Write plansguard/nnunet/signatures.json: the functions and classes that plans may name, with their arguments.

``python tools/signatures.py`` inspects the installed nnunetv2, dynamic_network_architectures and torch. Run it in an
environment with the nnU-Net that plansguard/nnunet/constants.py describes, and commit the file.
tests/nnunet/test_signatures.py compares it with the installed packages.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

PLACE = Path(__file__).resolve().parents[1] / "plansguard" / "nnunet" / "signatures.json"
PACKAGES = ("nnunetv2", "dynamic_network_architectures", "torch")
#: Arguments that the caller gives: the trainer to networks, preprocessing to functions of resampling.
GIVEN_TO_NETWORKS = ("input_channels", "num_classes")
GIVEN_TO_RESAMPLING = ("data", "new_shape", "current_spacing", "new_spacing")
#: Modules of torch.nn with the layers that a U-Net takes as operations, and of networks for segmentation.
LAYERS = ("conv", "batchnorm", "instancenorm", "normalization", "dropout", "activation")
NETWORKS = ("unet", "primus")
_NAMES = {int: "int", float: "float", bool: "bool", str: "str", dict: "dict"}


def signatures() -> dict[str, Any]:
    """Return the content of the file."""
    return {
        "versions": {package: version(package).partition("+")[0] for package in PACKAGES},
        "layers": {f"{item.__module__}.{name}": arguments(item) for name, item in sorted(_layers())},
        "networks": {
            f"{item.__module__}.{name}": arguments(item, GIVEN_TO_NETWORKS)
            for module in NETWORKS
            for name, item in sorted(_classes(f"dynamic_network_architectures.architectures.{module}"))
        },
        "blocks": {
            f"{item.__module__}.{name}": arguments(item)
            for name, item in sorted(_classes("dynamic_network_architectures.building_blocks.residual"))
        },
        "resampling": {name: arguments(item, GIVEN_TO_RESAMPLING) for name, item in sorted(_resampling())},
        "preprocessors": _names("nnunetv2.preprocessing.preprocessors", "run_case"),
        "readers": _names("nnunetv2.imageio", "read_images"),
        "label_managers": _names("nnunetv2.utilities.label_handling", "convert_logits_to_segmentation"),
        "planners": _names("nnunetv2.experiment_planning.experiment_planners", "plan_experiment"),
    }


def arguments(item: Callable[..., Any], given: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """Return the type, and the default if there is one, of each argument that plans may give.

    ``*args`` and ``**kwargs`` are kept under these names: what they take is not known.
    """
    function = item.__init__ if isinstance(item, type) else item
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    found: dict[str, list[Any]] = {}
    for name, parameter in inspect.signature(item).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            found[stars + name] = ["any"]
        elif name not in given:
            entry = [_type(hints.get(name, parameter.annotation))]
            if parameter.default is None and entry[0] != "any":  # whatever the annotation says
                entry[0] = f"{entry[0].rstrip('?')}?"
            found[name] = entry if parameter.default is parameter.empty else [*entry, _default(parameter.default)]
    return found


def _type(hint: Any) -> str:
    """Return the name of a type: of JSON's, class, ints (one or a list), any; with ``?`` where None is valid."""
    if hint in _NAMES:
        return _NAMES[hint]
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is type:
        return "class"
    if origin in (typing.Union, types.UnionType):
        names = {_type(member) for member in members if member is not type(None)}
        if names <= {"int", "ints"}:
            name = "ints" if len(members) > 1 and "ints" in names else "int"
        else:
            name = names.pop() if len(names) == 1 else "any"
        return f"{name}?" if type(None) in members and name != "any" else name
    if origin in (list, tuple):
        return "ints" if {_type(member) for member in members if member is not Ellipsis} == {"int"} else "any"
    return "any"


def _default(value: Any) -> Any:
    if isinstance(value, type):
        return f"{value.__module__}.{value.__name__}"
    return value if value is None or isinstance(value, (bool, int, float, str)) else None


def _layers() -> Iterator[tuple[str, type]]:
    """Yield the layers of torch.nn that may be operations, and Identity."""
    nn = importlib.import_module("torch.nn")
    for name, item in vars(nn.modules).items():
        if isinstance(item, type) and issubclass(item, nn.Module):
            module = item.__module__.rpartition(".")[2]
            if (module in LAYERS and not name.startswith("Lazy")) or item is nn.Identity:
                yield name, item


def _classes(package: str) -> Iterator[tuple[str, type]]:
    """Yield the modules' own classes of networks and blocks."""
    nn = importlib.import_module("torch.nn")
    for module in _modules(package):
        for name, item in vars(module).items():
            if isinstance(item, type) and issubclass(item, nn.Module) and item.__module__ == module.__name__:
                yield name, item


def _resampling() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the functions that take what preprocessing gives."""
    for module in _modules("nnunetv2.preprocessing.resampling"):
        for name, item in vars(module).items():
            own = inspect.isfunction(item) and item.__module__ == module.__name__
            if own and tuple(inspect.signature(item).parameters)[:4] == GIVEN_TO_RESAMPLING:
                yield name, item


def _names(package: str, method: str) -> list[str]:
    """Return the classes of a package that have a method."""
    return sorted(
        {
            name
            for module in _modules(package)
            for name, item in vars(module).items()
            if isinstance(item, type)
            and hasattr(item, method)
            and item.__module__ == module.__name__
            and not inspect.isabstract(item)
        }
    )


def _modules(package: str) -> Iterator[types.ModuleType]:
    """Yield a package and the modules in it."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(getattr(root, "__path__", []), f"{package}."):
        yield importlib.import_module(found.name)


def text() -> str:
    """Return the text of the file: one line for each class or function."""
    parts = []
    for key, value in signatures().items():
        if isinstance(value, dict) and key != "versions":
            lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in value.items())
            parts.append(f"  {json.dumps(key)}: {{\n{lines}\n  }}")
        else:
            parts.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
    print(f"wrote {PLACE}")
    sys.exit(0)
