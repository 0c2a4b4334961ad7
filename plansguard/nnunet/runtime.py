"""The one door to an installed nnU-Net. Only this module imports nnunetv2, inside functions: the check never does."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import itertools
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plansguard.core.errors import UsageError
from plansguard.nnunet.network.unet import PACKAGE, UnknownNetwork

#: Where the layers come from that plans name as arguments of a network.
_LAYERS = ("torch.nn", PACKAGE)
#: More than any size or number of features, and more modules, than networks in use have. Plans come from strangers.
_LARGEST, _MOST_MODULES = 1 << 14, 10_000


def installed() -> bool:
    """Whether nnunetv2 can be imported; finding out does not import it."""
    return importlib.util.find_spec("nnunetv2") is not None


def command(name: str) -> str | None:
    """The path of one of nnU-Net's own commands: that of this environment, else the one a shell would find."""
    import shutil
    import sysconfig

    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def reader_of(dataset_json: dict[str, Any], image: Path) -> str:
    """The class name of the reader with which nnU-Net opens ``image``, chosen as its move command does.

    nnU-Net tries reader after reader and prints a traceback for each that fails; these are kept from the user.
    Raises UsageError when none can open it.
    """
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
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
    """Names and shapes of what ``state_dict()`` of a network holds, in its order, for networks of any class.

    nnU-Net builds it on torch's meta device: no memory is taken for parameters and none are initialised, but importing
    torch takes seconds. ``architecture`` is as configurations.modern_architecture gives it. UsageError when nnU-Net is
    not installed. UnknownNetwork when the network cannot be built, or is of another package: plans come from strangers,
    and a class that they name would be imported and called. Source: nnunetv2/utilities/get_network_from_plans.py.
    """
    if not installed():
        raise UsageError(
            "this network can only be looked at with nnU-Net, which is not installed",
            hint="pip install 'plansguard[train]'",
        )
    path, kwargs = str(architecture.get("network_class_name")), architecture.get("arch_kwargs") or {}
    if path.partition(".")[0] != PACKAGE:
        raise UnknownNetwork(f"{path} is not of {PACKAGE}: plansguard builds no other networks")
    too_large = next((number for number in _numbers(kwargs) if number > _LARGEST), None)
    if too_large is not None:
        raise UnknownNetwork(f"{path} with {too_large} in its arguments: no network is that large")
    with _silence():
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

    found = _class(path, (PACKAGE,)) or _moved_class(path.rpartition(".")[2])
    if found is None:
        raise UnknownNetwork(f"{path} is no network of the installed {PACKAGE}")
    for key in imports:
        if kwargs[key] is not None and _class(str(kwargs[key]), _LAYERS) is None:
            raise UnknownNetwork(f"{key} is {kwargs[key]}, no layer of {' or '.join(_LAYERS)}")
    with torch.device("meta"), _few_modules():
        network = get_network_from_plans(
            f"{found.__module__}.{found.__qualname__}", kwargs, imports, channels, heads, allow_init=False
        )
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _class(path: str, packages: tuple[str, ...]) -> type | None:
    """The class of a network or layer that a Python path leads to, if it is defined in one of the packages.

    A path may also lead through a package to what that imported: ``torch.nn.init.torch.hub.load``.
    """
    import pydoc

    beginnings = tuple(f"{package}." for package in packages)
    return _network_class(pydoc.locate(path), beginnings) if path.startswith(beginnings) else None


def _moved_class(name: str) -> type | None:
    """The class of this name wherever it is now, which nnU-Net takes for a path that no longer leads anywhere."""
    import dynamic_network_architectures
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = f"{PACKAGE}.architectures"
    where = str(Path(dynamic_network_architectures.__path__[0]) / "architectures")
    return _network_class(recursive_find_python_class(where, name, folder), (f"{PACKAGE}.",))


def _network_class(found: Any, beginnings: tuple[str, ...]) -> type | None:
    import torch

    is_one = isinstance(found, type) and issubclass(found, torch.nn.Module) and found.__module__.startswith(beginnings)
    return found if is_one else None


def _numbers(value: Any) -> Iterator[int]:
    """Every whole number in arguments of a network, however deep."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(one)


@contextlib.contextmanager
def _few_modules() -> Iterator[None]:
    """Stops a network that plans have blown up before it fills time and memory: even on meta, modules take both."""
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


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What nnU-Net and torch print or warn of is kept from the user."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
