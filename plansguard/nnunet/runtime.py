"""Calls of an installed nnU-Net. Only this module and the trainer import nnunetv2, here inside functions."""

from __future__ import annotations

import importlib.util
import io
import itertools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from plansguard.core.errors import UsageError
from plansguard.core.programs import find_program
from plansguard.nnunet.constants import NETWORK_PACKAGE, NNUNET_PACKAGE
from plansguard.nnunet.network.unet import UnknownNetwork

#: The packages of layers that plans name as arguments of a network.
_LAYERS = ("torch.nn", NETWORK_PACKAGE)
#: Limits for sizes and numbers of features, and for modules, that no network in use reaches. Plans are untrusted.
_LARGEST, _MOST_MODULES = 1 << 14, 10_000


def installed() -> bool:
    """Whether nnunetv2 can be imported; it is not imported."""
    return importlib.util.find_spec(NNUNET_PACKAGE) is not None


def command(name: str) -> str | None:
    """The path of an nnU-Net command: in this environment, else the one on PATH."""
    import sysconfig

    return find_program(name, sysconfig.get_path("scripts"))


def reader_of(dataset_json: dict[str, Any], image: Path) -> str:
    """The class name of the reader with which nnU-Net opens ``image``, chosen as its move command does.

    nnU-Net tries reader after reader and prints a traceback for each that fails; these are suppressed. Raises
    UsageError when none can open it.
    """
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    with _suppressed_output():
        try:
            chosen = determine_reader_writer_from_dataset_json(
                dataset_json, str(image), allow_nonmatching_filename=True, verbose=False
            )
        except Exception as error:
            raise UsageError(
                f"none of nnU-Net's readers can open {image}: {error}",
                hint="check file_ending in dataset.json and the image itself",
            ) from error
    return str(chosen.__name__)


def parameters_of(architecture: Mapping[str, Any], channels: int, heads: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in ``state_dict()`` of a network, in its order, for networks of any class.

    nnU-Net builds it on torch's meta device: parameters take no memory and are not initialized, but importing torch
    takes seconds. ``architecture`` is the result of inheritance.modern_architecture. Raises UsageError when nnU-Net is
    not installed, and UnknownNetwork when the network cannot be built or is of another package: plans are untrusted,
    and a class that they name would be imported and called. Source: nnunetv2/utilities/get_network_from_plans.py.
    """
    if not installed():
        raise UsageError(
            "the parameters of this network are unknown without nnU-Net, which is not installed",
            hint="pip install 'plansguard[train]'",
        )
    path, kwargs = str(architecture.get("network_class_name")), architecture.get("arch_kwargs") or {}
    if path.partition(".")[0] != NETWORK_PACKAGE:
        raise UnknownNetwork(f"{path} is not of {NETWORK_PACKAGE}: plansguard builds no other networks")
    too_large = next((number for number in _numbers(kwargs) if number > _LARGEST), None)
    if too_large is not None:
        raise UnknownNetwork(f"{path} with {too_large} in its arguments: no network is that large")
    with _suppressed_output():
        try:
            return _built(path, kwargs, architecture.get("_kw_requires_import") or [], channels, heads)
        except UnknownNetwork:
            raise
        except Exception as error:
            raise UnknownNetwork(f"{path} cannot be built from its arguments: {error}") from error


def _built(
    path: str, kwargs: Mapping[str, Any], imports: list[str], channels: int, heads: int
) -> dict[str, tuple[int, ...]]:
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    network_class = _class(path, (NETWORK_PACKAGE,)) or _moved_class(path.rpartition(".")[2])
    if network_class is None:
        raise UnknownNetwork(f"{path} is no network of the installed {NETWORK_PACKAGE}")
    for key in imports:
        if kwargs[key] is not None and _class(str(kwargs[key]), _LAYERS) is None:
            raise UnknownNetwork(f"{key} is {kwargs[key]}, no layer of {' or '.join(_LAYERS)}")
    with torch.device("meta"), _few_modules():
        path = f"{network_class.__module__}.{network_class.__qualname__}"
        network = get_network_from_plans(path, kwargs, imports, channels, heads, allow_init=False)
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _class(path: str, packages: tuple[str, ...]) -> type | None:
    """The class of a network or layer at a Python path, if it is defined in one of the packages.

    A path through a package may name what that imported: ``torch.nn.init.torch.hub.load``.
    """
    import pydoc

    beginnings = tuple(f"{package}." for package in packages)
    return _network_class(pydoc.locate(path), beginnings) if path.startswith(beginnings) else None


def _moved_class(name: str) -> type | None:
    """The class of this name in any module of the package, which nnU-Net uses where the path does not exist."""
    import dynamic_network_architectures
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = f"{NETWORK_PACKAGE}.architectures"
    path = str(Path(dynamic_network_architectures.__path__[0]) / "architectures")
    return _network_class(recursive_find_python_class(path, name, folder), (f"{NETWORK_PACKAGE}.",))


def _network_class(value: Any, beginnings: tuple[str, ...]) -> type | None:
    import torch

    if isinstance(value, type) and issubclass(value, torch.nn.Module) and value.__module__.startswith(beginnings):
        return value
    return None


def _numbers(value: Any) -> Iterator[int]:
    """Every integer in arguments of a network, at any depth."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(item)


@contextmanager
def _few_modules() -> Iterator[None]:
    """Stop the construction of a network with too many modules: on the meta device, they still take time and memory."""
    from torch.nn.modules.module import register_module_module_registration_hook

    counter = itertools.count(1)

    def count(*_: Any) -> None:
        if next(counter) > _MOST_MODULES:
            raise UnknownNetwork(f"more than {_MOST_MODULES} modules: no network is that large")

    hook = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _suppressed_output() -> Iterator[None]:
    """Suppress the output and warnings of nnU-Net and torch."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
