"""PG116 to PG118: operations of the network, arguments of networks and functions, and names of nnU-Net's own parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plansguard.core.by_content import by_content, shared
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed, nearest
from plansguard.nnunet import constants, fields, signatures
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import reported_before, requested_configurations
from plansguard.rules.pg1_plans import network
from plansguard.rules.pg1_plans.architecture import misspelt_argument
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans


class _Wrong(NamedTuple):
    """What is wrong with a value, and the remedy."""

    trouble: str
    remedy: str


_FALSE_TEXT = _Wrong("is a text, which counts as true", "write false, or true")
#: Argument of a network that is a class -> the modules of torch.nn with such layers, and what it is.
_OPERATIONS = {
    "conv_op": (("conv",), "convolution"),
    "norm_op": (("batchnorm", "instancenorm", "normalization", "linear"), "normalization layer"),
    "dropout_op": (("dropout", "linear"), "dropout layer"),
    "nonlin": (("activation", "linear"), "nonlinearity"),
}
_CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d")
#: Operation -> the key of its arguments, and the number of arguments that the network gives it.
_ARGUMENTS = {"norm_op": ("norm_op_kwargs", 1), "dropout_op": ("dropout_op_kwargs", 0), "nonlin": ("nonlin_kwargs", 0)}
#: Networks that set the weights of a normalization layer, which must have some. dna initialization/weight_init.py
_INITIALIZES_NORM = ("ResidualEncoderUNet", "ResidualUNet")
#: Ratio of spacings above which nnU-Net resamples slices first. configuration.py, ANISO_THRESHOLD
_ANISOTROPIC = 3
#: Spline orders of scipy and scikit-image.
_ORDERS, _LARGEST_ORDER = ("order", "order_z"), 5
#: Arguments of networks that PG103 and PG104 judge.
_OF_STAGES = frozenset((*network.PER_STAGE_AND_AXIS, *network.PER_STAGE, "n_stages", *_OPERATIONS, "block"))
#: The place of a network's arguments in a configuration.
_KWARGS = ("architecture", "arch_kwargs")
_RESAMPLINGS = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")
_RESAMPLING_FIELDS = (*_RESAMPLINGS, *(f"{key}_kwargs" for key in _RESAMPLINGS))


@rule("PG116", Severity.ERROR, message="{statement}", fix="{remedy}")
def unknown_operation(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """An operation of the network does not exist, or cannot be one.

    What it checks: `network_class_name` is neither empty nor a misspelt path of a network. For nnU-Net's own U-Nets,
    `conv_op`, `norm_op`, `dropout_op`, `nonlin` and `block` are paths of classes that exist in torch or
    dynamic_network_architectures, and are of their kind; `_kw_requires_import` names each of them that is not null
    once, and nothing else. Classes of other packages are not known, and not reported.

    Why it matters: nnU-Net silently builds the network without normalization or nonlinearity, or cannot build it. It
    replaces the path of each argument in `_kw_requires_import` by the class, and a path that leads nowhere by null.
    Without a convolution the network cannot be built. Without normalization or nonlinearity it is built and trained to
    the end, and nothing is printed. A path that is not replaced ends in `TypeError: 'str' object is not callable`.

    How to fix: write the path as nnU-Net's planners do, such as `torch.nn.modules.instancenorm.InstanceNorm3d`.

    Example: `"norm_op": "torch.nn.modules.instancenorm.InstanceNorm3D"` trains without normalization.

    Evidence: PL-03; utilities/get_network_from_plans.py, measured with nnU-Net 2.8.1.
    """
    faults = () if configuration.has_old_format else _unknown_operations(configuration.network)
    if not faults or reported_before(dataset, configuration, "architecture"):
        return
    for at, value, statement, remedy in faults:
        key = at[-1] if isinstance(at[-1], str) else at[-2]
        place = configuration.at("architecture", *at)
        yield found(place, statement=statement, key=key, value=value, remedy=remedy)


@rule("PG117", Severity.ERROR, message="{owner}: {argument} {trouble}", fix="{remedy}")
def wrong_argument(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """A network, a layer or a resampling function does not take an argument.

    What it checks: the names and types of `arch_kwargs`, for networks of dynamic_network_architectures; of
    `norm_op_kwargs`, `dropout_op_kwargs` and `nonlin_kwargs`, for layers of torch; of `resampling_fn_..._kwargs`, for
    nnU-Net's own functions, whose spline orders are integers from 0 to 5. A text such as `"False"` counts as true, and
    is reported where a flag is expected. Arguments beside an operation that is null are not read.

    Why it matters: nnU-Net stops with a `TypeError` when training starts, after it deleted the old data, or after the
    whole training. It is `TypeError: ... got an unexpected keyword argument`, for layers when training starts, for
    resampling after preprocessing has deleted the old data, for predictions after the whole training. A flag that is
    the text `"False"` is silently true: with `is_seg`, images are interpolated as label maps are.

    How to fix: write the name or value given, or take the arguments from plans that work.

    Example: `"nonlin_kwargs": {"in_place": true}`; `"order": 1.5`.

    Evidence: PL-03, PL-05; measured with nnU-Net 2.8.1 and torch.
    """
    for at, severity, owner, argument, trouble, remedy in (
        *_faults_of_network(configuration, dataset),
        *_faults_of_resampling(configuration, dataset),
    ):
        place = configuration.at(*at)
        yield found(place, severity=severity, owner=owner, argument=argument, trouble=trouble, remedy=remedy)


@rule("PG118", Severity.ERROR, message="{key} is {value}, and nnU-Net {version} has no such {what}", fix="{remedy}")
def unknown_name(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """The plans name a part of nnU-Net that it does not have.

    What it checks: `image_reader_writer`, `label_manager`, `preprocessor_name` and the resampling functions are names
    of nnU-Net. Another spelling of one, the name of another part, or what is no name in Python is an error; any other
    name is a warning, because forks of nnU-Net add their own.

    Why it matters: nnU-Net stops when it needs it: after it deleted the old data, and for the reader in the final
    validation. The error is `RuntimeError: Unable to find resampling function named ...` or `TypeError: 'NoneType'
    object is not callable`.

    How to fix: write the name given. If your nnU-Net has the name, ignore the finding in `plansguard.json`.

    Example: `"image_reader_writer": "SimpleItkIO"`.

    Evidence: PL-08, IO-01; utilities/find_class_by_name.py, measured with nnU-Net 2.8.1.
    """
    for at, key, value, kind in _unknown_names(plans, dataset):
        known = signatures.names(kind)
        meant = fields.near(value, known)
        impossible = not value.isidentifier() or value in _other_names(plans)
        yield found(
            at,
            severity=Severity.ERROR if meant or impossible else Severity.WARNING,
            key=key,
            value=brief(value),
            version=constants.NNUNET_VERSION,
            what=_WHAT[kind],
            remedy=f"write {meant or f'one of {listed(known, shown=6)}'}"
            if meant or impossible
            else f"make sure that the nnU-Net which runs these plans has it; its own: {listed(known, shown=6)}",
        )


def _other_names(plans: Plans) -> set[str]:
    """Return names of nnU-Net and of these plans that are names of something else."""
    kinds: tuple[signatures.Kind, ...] = (*_WHAT, "planners")
    own = [*plans.written, *(entry.get("data_identifier") for entry in plans.written.values())]
    own += [f"{constants.DEFAULT_IDENTIFIER}_{name}" for name in plans.written]
    return {name for kind in kinds for name in signatures.names(kind)} | {str(name) for name in own}


#: Keys whose values are names of nnU-Net's parts, and the kinds of these.
_NAMES_IN_PLANS: tuple[tuple[str, signatures.Kind], ...] = (
    ("image_reader_writer", "readers"),
    ("label_manager", "label_managers"),
)
_NAMES_IN_CONFIGURATIONS: tuple[tuple[str, signatures.Kind], ...] = (
    ("preprocessor_name", "preprocessors"),
    ("resampling_fn_data", "resampling"),
    ("resampling_fn_seg", "resampling"),
    ("resampling_fn_probabilities", "resampling"),
)
#: Kind of name -> what it is.
_WHAT: Mapping[signatures.Kind, str] = {
    "readers": "reader",
    "label_managers": "label manager",
    "preprocessors": "preprocessor",
    "resampling": "resampling function",
}


class _Fault(NamedTuple):
    """A value that does not serve: where in the configuration, whose argument, and the remedy."""

    at: tuple[str, ...]
    severity: Severity
    owner: str
    argument: str
    trouble: str
    remedy: str


def _unknown_names(plans: Plans, dataset: Dataset) -> Iterator[tuple[Location, str, str, signatures.Kind]]:
    """Yield the place, key, value and kind of each name of a part that nnU-Net does not have."""
    for key, kind in _NAMES_IN_PLANS:
        if (name := _unknown(plans.value.get(key), kind)) is not None:
            yield plans.at(key), key, name, kind
    for configuration in requested_configurations(dataset, plans):
        for key, kind in _NAMES_IN_CONFIGURATIONS:
            name = _unknown(configuration.resolved.get(key), kind)
            if name is not None and not reported_before(dataset, configuration, key):
                yield configuration.at(key), key, name, kind


def _unknown(name: str | None, kind: signatures.Kind) -> str | None:
    """Return a name that is not one of a kind of nnU-Net's parts."""
    return None if name in signatures.names(kind) else name


class _Unknown(NamedTuple):
    """A path that leads to no class, or is not followed: where in the architecture, its value, why, and the remedy."""

    at: tuple[str | int, ...]
    value: Any
    statement: str
    remedy: str


@by_content
def _unknown_operations(architecture: Mapping[str, Any]) -> tuple[_Unknown, ...]:
    path = architecture.get("network_class_name")
    unknown = path if isinstance(path, str) and signatures.network(path) is None else None
    faults: list[_Unknown] = []
    if unknown is not None and (meant := _meant_network(unknown)):
        faults = [_Unknown(("network_class_name",), unknown, f"there is no class {brief(unknown)}", f"write {meant}")]
    name, imports = str(path).rpartition(".")[2], architecture.get("_kw_requires_import") or []
    if name in constants.STOCK_ARCHITECTURES:
        faults += _faults_of_operations(name, architecture["arch_kwargs"], imports)
    return tuple(faults)


def _meant_network(path: str) -> str | None:
    """Return the network whose path is misspelt, or a network for an empty path."""
    known = signatures.known_networks()
    return fields.near(path, known) or (None if path.strip() else known[0])


def _faults_of_operations(network: str, kwargs: Mapping[str, Any], imports: list[Any]) -> Iterator[_Unknown]:
    """Yield operations that do not serve, those that are not imported, and imports of what is no operation."""
    for key in (*_OPERATIONS, "block"):
        fault = _fault_of_operation(key, kwargs[key]) if key in kwargs else None
        if key == "norm_op" and kwargs.get(key) is None and network in _INITIALIZES_NORM:
            fault = _Wrong("residual blocks need a normalization", "write the path of a normalization layer")
        if fault is not None:
            value = kwargs.get(key)
            yield _Unknown(("arch_kwargs", key), value, f"{key} is {brief(value)}: {fault.trouble}", fault.remedy)
        elif key not in imports and isinstance(kwargs.get(key), str):
            statement = f"_kw_requires_import lacks {key}: the network gets a text in place of a class"
            misspelt = [index for index, name in enumerate(imports) if fields.near(str(name), [key])][:1]
            yield _Unknown(("_kw_requires_import", *misspelt), imports, statement, f'add "{key}"')
    for index, key in enumerate(imports):
        checked = key in (*_OPERATIONS, "block")
        if not checked and kwargs.get(key) is not None and not isinstance(kwargs[key], str):
            statement = f"_kw_requires_import names {key}, but {brief(kwargs[key])} is no path of a class"
            yield _Unknown(("_kw_requires_import", index), imports, statement, f"take {brief(key)} out")
        elif key in imports[:index] and kwargs.get(key) is not None:
            statement = f"_kw_requires_import names {key} twice"
            yield _Unknown(("_kw_requires_import", index), imports, statement, "keep one of them")


def _fault_of_operation(key: str, value: Any) -> _Wrong | None:
    """Return what is wrong with an operation."""
    if key == "block":
        return _fault_of_block(value)
    modules, what = _OPERATIONS[key]
    if value is None:
        return _Wrong("a network needs a convolution", "name the class") if key == "conv_op" else None
    if not isinstance(value, str):
        return _Wrong("it must be the path of a class", f"write the path of a {what}")
    layer = signatures.layer(value)
    if layer is not None and layer.module in modules and (key != "conv_op" or layer.name in _CONVOLUTIONS):
        return None
    if layer is not None:
        return _Wrong(f"{layer.name} is no {what} of a U-Net", f"write the path of a {what}")
    meant = fields.near(value, signatures.known_paths())
    if meant is None and value.strip() and not signatures.is_of_known_package(value):
        return None  # of another package
    remedy = f"write {meant}" if meant else f"write the path of a {what} of torch"
    return _Wrong("there is no such class", remedy)


def _fault_of_block(value: Any) -> _Wrong | None:
    if isinstance(value, str) and (signatures.block(value) or not signatures.is_of_known_package(value)):
        return None
    return _Wrong("there is no such class of blocks", "write the path of BasicBlockD or BottleneckD, or delete it")


def _faults_of_network(configuration: Configuration, dataset: Dataset) -> tuple[_Fault, ...]:
    """Return what the network does not take, and what its layers do not take."""
    faults = () if configuration.has_old_format else _faults_of_architecture(configuration.network)
    return () if not faults or reported_before(dataset, configuration, "architecture") else faults


@by_content
def _faults_of_architecture(architecture: Mapping[str, Any]) -> tuple[_Fault, ...]:
    network = signatures.network(str(architecture.get("network_class_name")))
    if network is None:
        return ()
    faults = *_misfits_of_network(architecture, network), *_false_texts(network.name, architecture["arch_kwargs"])
    return (*faults, *_misfits_of_layers(architecture["arch_kwargs"], network))


def _misfits_of_network(architecture: Mapping[str, Any], network: signatures.NamedClass) -> Iterator[_Fault]:
    kwargs = architecture["arch_kwargs"]
    # arguments of an operation that is null are not read
    unread = {arguments for key, (arguments, _) in _ARGUMENTS.items() if kwargs.get(key) is None}
    reported = (*_OF_STAGES, *unread, misspelt_argument(architecture))
    for misfit in signatures.misfits(network.arguments, kwargs):
        # PG103 and PG104 report missing arguments and wrong numbers of stages
        if not misfit.lacking and misfit.argument not in reported:
            yield _fault((*_KWARGS, misfit.argument), network.name, misfit, [*network.arguments])


def _misfits_of_layers(kwargs: Mapping[str, Any], network: signatures.NamedClass) -> Iterator[_Fault]:
    for key, (arguments, positional) in _ARGUMENTS.items():
        layer = signatures.layer(kwargs[key]) if isinstance(kwargs.get(key), str) else None
        given = kwargs.get(arguments)
        if layer is None or _fault_of_operation(key, kwargs[key]):
            continue
        at = (*_KWARGS, arguments)
        if given is None and key == "dropout_op":
            remedy = f'write "{arguments}": {{}}, or its arguments'
            yield _Fault(at, Severity.ERROR, layer.name, arguments, "must not be null beside it", remedy)
        if key == "norm_op" and network.name in _INITIALIZES_NORM and not _is_affine(layer, given):
            place = ("affine",) if "affine" in (given or {}) else ()
            remedy = 'write "affine": true'
            yield _Fault((*at, *place), Severity.ERROR, layer.name, "affine", "must be true in residual blocks", remedy)
        if isinstance(given, dict):
            yield from _faults_of_layer(given, layer, at, positional)


def _is_affine(layer: signatures.NamedClass, given: Any) -> bool:
    """Return whether a normalization layer has weights, by its arguments or its default.

    True for arguments that are no object, which is a fault of its own.
    """
    default = (layer.arguments.get("affine") or ["any", True])[-1]
    return bool(default if given is None else given.get("affine", default) if isinstance(given, dict) else True)


def _faults_of_layer(
    given: Mapping[str, Any], layer: signatures.NamedClass, at: tuple[str, ...], positional: int
) -> Iterator[_Fault]:
    """Yield what a layer of torch does not take of its arguments."""
    for misfit in signatures.misfits(layer.arguments, given, positional):
        place = () if misfit.lacking else (misfit.argument,)
        yield _fault((*at, *place), layer.name, misfit, [*layer.arguments])
    for argument, value in given.items():
        if trouble := _trouble_of_value(argument, value, layer.arguments):
            yield _fault((*at, argument), layer.name, signatures.Misfit(argument, trouble), [])


def _faults_of_resampling(configuration: Configuration, dataset: Dataset) -> Iterator[_Fault]:
    """Yield what nnU-Net's resampling functions do not take."""
    functions = {key: configuration.get(key) for key in _RESAMPLING_FIELDS}
    for key, faults in _misfits_of_resampling(shared(functions)).items():
        if reported_before(dataset, configuration, key, f"{key}_kwargs"):
            continue
        name, given = functions[key], functions[f"{key}_kwargs"]
        for fault in faults:
            severity = Severity.ERROR
            if fault.argument == "order_z" and fault.trouble != signatures.NO_ARGUMENT:
                read = _reads_order_z(configuration, given)
                if read is False:
                    continue
                severity = Severity.ERROR if read else Severity.WARNING
            if fault.argument == "force_separate_z" and str(given[fault.argument]).casefold() in ("none", "null"):
                severity = Severity.WARNING  # for most images true does what null does
            if fault.argument == "order" and given["order"] is None:
                severity = Severity.WARNING  # scikit-image takes 1
            known = [*(signatures.resampling(name) or ())]
            yield _fault((f"{key}_kwargs", fault.argument), name, fault, known, severity)


@by_content
def _misfits_of_resampling(functions: Mapping[str, Any]) -> Mapping[str, tuple[signatures.Misfit, ...]]:
    """Return what functions do not take of their arguments, for each that has such; names and arguments by key."""
    misfits = {key: _misfits_of_function(functions[key], functions[f"{key}_kwargs"]) for key in _RESAMPLINGS}
    return {key: faults for key, faults in misfits.items() if faults}


def _misfits_of_function(name: Any, given: Mapping[str, Any] | None) -> tuple[signatures.Misfit, ...]:
    arguments = signatures.resampling(name) if isinstance(name, str) else None
    if arguments is None or given is None:
        return ()
    faults = [misfit for misfit in signatures.misfits(arguments, given) if not misfit.lacking]
    wrong = ((argument, _trouble_of_value(argument, value, arguments)) for argument, value in given.items())
    faults += [signatures.Misfit(argument, trouble) for argument, trouble in wrong if trouble]
    if "order" in arguments and given.get("order", 0) is None and given.get("is_seg"):
        faults = [fault for fault in faults if fault.argument != "order"]  # scikit-image takes 1, as planners write
    return tuple(faults)


def _reads_order_z(configuration: Configuration, given: Mapping[str, Any]) -> bool | None:
    """Return whether a resampling function reads order_z; None if it depends on the spacing of the images.

    It does where it resamples the axis of the thickest slices separately. Source: determine_do_sep_z_and_axis.
    """
    separate, spacing = given.get("force_separate_z", False), configuration.get("spacing") or ()
    if len(spacing) != 3 or separate is False:
        return False
    if separate is None and all(value is not None and value > 0 for value in spacing):
        return True if max(spacing) / min(spacing) > _ANISOTROPIC else None
    return bool(separate) or None


def _false_texts(owner: str, kwargs: Mapping[str, Any]) -> Iterator[_Fault]:
    """Yield flags of the network that are true because they are a text."""
    for key in kwargs:
        field = fields.FIELDS["ArchKwargs"].get(key)
        if field is not None and field.truth and fields.is_false_text(kwargs[key]):
            yield _Fault((*_KWARGS, key), Severity.ERROR, owner, key, *_FALSE_TEXT)


def _trouble_of_value(argument: str, value: Any, arguments: signatures.Arguments) -> str | None:
    """Return what is wrong with a value of the right type."""
    kind = arguments[argument][0] if argument in arguments else ""
    if kind.startswith("bool") and fields.is_false_text(value):
        return _FALSE_TEXT.trouble
    if argument in _ORDERS and type(value) is int and not 0 <= value <= _LARGEST_ORDER:
        return f"is {value}, and splines have orders from 0 to {_LARGEST_ORDER}"
    return None


def _fault(
    at: tuple[str, ...], owner: str, misfit: signatures.Misfit, known: list[str], severity: Severity = Severity.ERROR
) -> _Fault:
    meant = nearest(misfit.argument, known) if misfit.trouble == signatures.NO_ARGUMENT else None
    remedy = f"write {meant}" if meant else "delete it" if misfit.trouble == signatures.NO_ARGUMENT else "correct it"
    return _Fault(at, severity, owner, misfit.argument, misfit.trouble, remedy)
