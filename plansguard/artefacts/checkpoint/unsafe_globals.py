"""Globals that no checkpoint needs, and with which a pickle could run a command when it is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from plansguard.artefacts.checkpoint.pickle_values import Global

PACKAGES = frozenset(
    """
    os posix nt subprocess sys socket ssl shutil importlib ctypes cffi pickle dill cloudpickle joblib marshal
    multiprocessing concurrent asyncio urllib http xmlrpc requests aiohttp httpx paramiko
    pip ensurepip setuptools distutils venv idlelib lib2to3
    torch.hub torch.utils.model_zoo torch.utils.cpp_extension torch.utils.collect_env torch.utils.bottleneck
    torch.utils._config_module torch.distributed torch.multiprocessing torch.package torch.fx torch._dynamo
    torch._inductor torch.testing torch.jit.unsupported_tensor_ops
    numpy.f2py numpy.testing numpy.distutils numpy.ctypeslib numpy.lib.npyio
    """.split()
)
"""With all modules below them."""

MODULES = frozenset(
    """
    ntpath posixpath genericpath _posixsubprocess _socket _ssl _frozen_importlib _frozen_importlib_external imp
    zipimport pkgutil runpy pty _ctypes _pickle cPickle shelve webbrowser antigravity code codeop pydoc pdb bdb cProfile
    profile timeit trace doctest inspect linecache fileinput tempfile glob platform signal threading _thread
    urllib2 httplib ftplib smtplib poplib imaplib nntplib telnetlib socketserver commands popen2 site gc atexit
    faulthandler
    """.split()
)

FUNCTIONS = {
    module: frozenset(names.split())
    for modules, names in (
        (
            "builtins __builtin__",
            "eval exec execfile compile open file input raw_input getattr setattr delattr __import__ globals locals "
            "vars breakpoint apply reload exit quit help",
        ),
        ("operator _operator", "attrgetter methodcaller itemgetter"),
        ("io _io", "open open_code FileIO"),
        ("types", "FunctionType CodeType MethodType LambdaType"),
        ("functools _functools", "reduce"),
        ("uuid", "_get_command_stdout _popen"),
        ("logging.config", "listen fileConfig dictConfig"),
        ("torch", "load save compile"),
        ("torch.serialization", "load save"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.jit", "load"),
    )
    for module in modules.split()
}
"""Unsafe names of modules that are otherwise harmless."""

_HANDLES = frozenset({"builtins", "ctypes", "importlib", "os", "shutil", "socket", "subprocess", "sys"})
"""Modules that are attributes of others that import them: ``os`` of ``torch.serialization``."""


def suspicious(names: Iterable[Global]) -> tuple[Global, ...]:
    """Return the globals that an attacker can use and no checkpoint needs.

    No list is complete: a global that is not listed is not known to be harmless. ``functools.partial`` is not listed,
    because the function that it would call is a global of its own.
    """
    return tuple(name for name in names if _is_suspicious(name))


def _is_suspicious(name: Global) -> bool:
    parts = name.module.split(".")
    if name.module in MODULES or any(".".join(parts[:depth]) in PACKAGES for depth in range(1, min(len(parts), 4) + 1)):
        return True
    if name.module == "copyreg" and name.name.startswith("extension "):  # the file does not contain which global
        return True
    # Since protocol 4 a name may have dots: os.system of torch is torch.os.system.
    steps = name.name.split(".")
    if any(step in _HANDLES for step in steps) or (len(steps) > 1 and any(step.startswith("__") for step in steps)):
        return True
    return steps[0] in FUNCTIONS.get(name.module, ())
