"""``--plugin-dir``: plugins in single files, for experiments. Each file has one `Registration`, its type and id literal.

They are literal so that they can be read without running the file: what is disabled is not imported, here as elsewhere.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from types import ModuleType

import attrs

from pycontainerd.kernel import DuplicatePluginError, Registration, RegistrationError
from pycontainerd.kernel.discovery import Found, discover
from pycontainerd.kernel.registration import name_in

MAX_FILE = 1 << 20  # bytes
_FILES = 1000
_PREFIX = "pycontainerd_plugin_dir_"


def finder(directory: str) -> Callable[[Collection[str]], Mapping[str, Found]]:
    """What finds plugins: where they are installed, and in ``directory`` where one is named."""
    return functools.partial(find, directory) if directory else discover


def find(directory: str, disabled: Collection[str] = ()) -> Mapping[str, Found]:
    """The installed plugins and those in ``directory``, by URI; a file's path stands for its distribution.

    :raises DuplicatePluginError: one URI comes from two places.
    :raises RegistrationError: the directory cannot be read.
    """
    found = dict(discover(disabled))
    for path in _files(directory):
        one = _look(path, disabled)
        if one.uri in found:
            raise DuplicatePluginError(one.uri, [found[one.uri].distribution, path])
        found[one.uri] = one
    return found


def _files(directory: str) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".py") and not name.startswith("_"))
    except OSError as exc:
        raise RegistrationError(f"--plugin-dir {directory}: {exc.strerror or exc}") from exc
    if len(names) > _FILES:
        raise RegistrationError(f"--plugin-dir {directory} has {len(names)} files, the limit is {_FILES}")
    return [os.path.join(directory, name) for name in names]


def _look(path: str, disabled: Collection[str]) -> Found:
    """What a file holds; one that cannot be used is a plugin that failed, called by the file's path."""
    found = Found(path, path, "")
    began = time.perf_counter()
    try:
        variable, uri = _registered(path)
        found = attrs.evolve(found, uri=uri)
        if name_in(disabled, uri):
            return found
        registration = getattr(_load(path), variable, None)
        if not isinstance(registration, Registration) or registration.uri != uri:
            raise RegistrationError(f"{variable} in {path} is not the Registration of {uri} once the file is imported")
        found = attrs.evolve(found, registration=registration)
    except SystemExit as exc:
        found = attrs.evolve(found, error=ImportError(f"the file called sys.exit({exc.code!r}) while it was imported"))
    except Exception as exc:
        found = attrs.evolve(found, error=exc)
    return attrs.evolve(found, import_seconds=time.perf_counter() - began)


def _registered(path: str) -> tuple[str, str]:
    """The variable that the file's registration is in, and its URI; nothing of the file is run."""
    with open(path, "rb") as file:
        text = file.read(MAX_FILE + 1)
    if len(text) > MAX_FILE:
        raise RegistrationError(f"{path} is larger than {MAX_FILE} bytes")
    made = [
        (node.targets[0].id, node.value)
        for node in ast.parse(text, path).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func).rpartition(".")[2] == "Registration"
    ]
    if len(made) != 1:
        raise RegistrationError(f"{path} must have one variable = Registration(…) at its top level, it has {len(made)}")
    variable, call = made[0]
    given = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
    if not isinstance(given.get("type"), str) or not isinstance(given.get("id"), str):
        raise RegistrationError(f"{path}: type and id of its Registration must be literal strings")
    return variable, ".".join((str(given["type"]), str(given["id"])))


def _load(path: str) -> ModuleType:
    name = _PREFIX + os.path.basename(path).removesuffix(".py").replace("-", "_").replace(".", "_")
    known = sys.modules.get(name)
    if known is not None and known.__file__ == path:
        return known  # as with installed packages, what is imported stays as it is
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # attrs and pickle look a class's module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
