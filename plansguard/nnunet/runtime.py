"""Calls of an installed nnU-Net. Only this module and the trainer import nnunetv2, here inside functions."""

from __future__ import annotations

import importlib.util
import io
import itertools
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from plansguard.core.errors import UsageError
from plansguard.core.programs import find_program
from plansguard.nnunet.constants import DA_PROCESSES, NETWORK_PACKAGE, NNUNET_PACKAGE
from plansguard.nnunet.network.unet import UnknownNetwork
from plansguard.nnunet.workspace import ROOTS

#: The packages of layers that plans name as arguments of a network.
_LAYERS = ("torch.nn", NETWORK_PACKAGE)
#: Limits for sizes and numbers of features, and for modules, that no network in use reaches. Plans are untrusted.
_LARGEST, _MOST_MODULES = 1 << 14, 10_000
#: Smallest edge of a feature map, and most poolings per axis, of nnU-Net's planners.
_SMALLEST_EDGE, _MOST_POOLINGS = 4, 999_999
#: The dataset of a planner whose folders are temporary.
_DATASET = "Dataset001_Planned"
#: The seed of initial values, so that the same command writes the same weights.
_SEED = 0
_INSTALL = "pip install 'plansguard[train]'"


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
            hint=_INSTALL,
        )
    network = _network(architecture, channels, heads, "meta")
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def initial_parameters(architecture: Mapping[str, Any], channels: int, heads: int) -> dict[str, Any]:
    """The ``state_dict()`` of a network with nnU-Net's own initial values, the same in every call.

    Errors as from `parameters_of`.
    """
    assert_installed("the initial values of a network are nnU-Net's")
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return dict(_network(architecture, channels, heads, "cpu").state_dict())


def _network(architecture: Mapping[str, Any], channels: int, heads: int, device: str) -> Any:
    """A network, initialized unless it is on the meta device; UnknownNetwork if it cannot be built or is no network."""
    path, kwargs = str(architecture.get("network_class_name")), architecture.get("arch_kwargs") or {}
    if path.partition(".")[0] != NETWORK_PACKAGE:
        raise UnknownNetwork(f"{path} is not of {NETWORK_PACKAGE}: plansguard builds no other networks")
    too_large = next((number for number in _numbers(kwargs) if number > _LARGEST), None)
    if too_large is not None:
        raise UnknownNetwork(f"{path} with {too_large} in its arguments: no network is that large")
    with _suppressed_output():
        try:
            return _built(path, kwargs, architecture.get("_kw_requires_import") or [], channels, heads, device)
        except UnknownNetwork:
            raise
        except Exception as error:
            raise UnknownNetwork(f"{path} cannot be built from its arguments: {error}") from error


class Topology(NamedTuple):
    """Strides and kernels of a U-Net, per stage and array axis, and the patch that they are for.

    ``multiple`` is the product of the strides, which divides the patch.
    """

    strides: list[list[int]]
    kernel_sizes: list[list[int]]
    patch_size: list[int]
    multiple: list[int]


def topology(spacing: Sequence[float], patch_size: Sequence[int]) -> Topology:
    """The U-Net that nnU-Net's planners make for a spacing and a patch, which is enlarged to a possible one.

    Raises UsageError when nnU-Net is not installed.
    """
    assert_installed("strides and kernels of another patch or spacing are computed by nnU-Net")
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

    _, strides, kernels, patch, multiple = get_pool_and_conv_props(
        list(spacing), list(patch_size), _SMALLEST_EDGE, _MOST_POOLINGS
    )
    tables = [[[int(value) for value in row] for row in table] for table in (strides, kernels)]
    return Topology(tables[0], tables[1], [int(voxels) for voxels in patch], [int(factor) for factor in multiple])


class PlanningTask(NamedTuple):
    """What a planner is asked for: a spacing, the median shape of the images at it, and the voxels of all images."""

    spacing: Sequence[float]
    median_shape: Sequence[float]
    voxels: float


def plan_for_memory(
    planner: str, memory: float, dataset_json: Mapping[str, Any], fingerprint: Mapping[str, Any], tasks: list[Any]
) -> list[dict[str, Any]]:
    """Let a planner of nnU-Net plan configurations for a GPU memory in GB, in a process of its own.

    ``tasks`` has a PlanningTask for each. Nothing is written into the folders of nnU-Net: the planner gets others, with
    these two documents. Raises UsageError when nnU-Net is not installed, has no such planner, or the planner fails.
    """
    import subprocess
    from tempfile import TemporaryDirectory

    assert_installed("--fit-memory lets nnU-Net's planner plan")
    program = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    program += "from plansguard.nnunet.runtime import answer_planning; answer_planning()"
    asked = {"planner": planner, "memory": memory, "tasks": tasks}
    with TemporaryDirectory() as folder:
        roots = {name: Path(folder, name) for name in ROOTS}
        for root in roots.values():
            (root / _DATASET).mkdir(parents=True)
        # With a list of cases, the planner does not look for images.
        raw = {**dataset_json, "dataset": {}}
        Path(roots["nnUNet_raw"], _DATASET, "dataset.json").write_text(json.dumps(raw))
        Path(roots["nnUNet_preprocessed"], _DATASET, "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps([entry for entry in sys.path if entry])],
            input=json.dumps(asked),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **{name: str(root) for name, root in roots.items()}, DA_PROCESSES: "1"},
            check=False,
        )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UsageError(
            f"nnU-Net's planner {planner} failed: {lines[-1] if lines else f'exit code {done.returncode}'}",
            hint="plan by hand, with --set for patch_size and batch_size",
        )
    planned: list[dict[str, Any]] = json.loads(done.stdout)
    return planned


def answer_planning() -> None:
    """Plan what standard input asks for, and write the configurations to standard output, both as JSON."""
    asked = json.load(sys.stdin)
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        planned = _planned(**asked)
    json.dump(planned, sys.stdout)


def _planned(planner: str, memory: float, tasks: list[list[Any]]) -> list[Any]:
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
    from nnunetv2.utilities.json_export import recursive_fix_for_json_export

    package = "experiment_planning"
    folder = str(Path(nnunetv2.__path__[0]) / package)
    planner_class = recursive_find_python_class(folder, planner, f"{NNUNET_PACKAGE}.{package}")
    if planner_class is None:
        raise SystemExit("the installed nnU-Net has no planner of this name")
    planning = planner_class(_DATASET, gpu_memory_target_in_gb=memory)
    cache: dict[str, Any] = {}
    planned = []
    for spacing, shape, voxels in tasks:
        planned.append(planning.get_plans_for_configuration(_array(spacing), _array(shape), "data", voxels, cache))
    for one in planned:
        recursive_fix_for_json_export(one)
    return planned


def _array(values: list[float]) -> Any:
    """The numbers as planners take them."""
    import torch

    return torch.tensor(values, dtype=torch.float64).numpy()


def assert_installed(what: str) -> None:
    """Raise UsageError unless nnU-Net is installed; ``what`` is a clause that tells what needs it."""
    if not installed():
        raise UsageError(f"{what}, which is not installed", hint=_INSTALL)


def _built(path: str, kwargs: Mapping[str, Any], imports: list[str], channels: int, heads: int, device: str) -> Any:
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    network_class = _class(path, (NETWORK_PACKAGE,)) or _moved_class(path.rpartition(".")[2])
    if network_class is None:
        raise UnknownNetwork(f"{path} is no network of the installed {NETWORK_PACKAGE}")
    for key in imports:
        if kwargs[key] is not None and _class(str(kwargs[key]), _LAYERS) is None:
            raise UnknownNetwork(f"{key} is {kwargs[key]}, no layer of {' or '.join(_LAYERS)}")
    with torch.device(device), _few_modules():
        path = f"{network_class.__module__}.{network_class.__qualname__}"
        return get_network_from_plans(path, kwargs, imports, channels, heads, allow_init=device != "meta")


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
