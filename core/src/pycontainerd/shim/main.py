"""The shim as an executable, with the command line that containerd gives to shims (runtime v2).

    containerd-shim-NAME -namespace NS -address SOCKET -id ID [-bundle DIR] [-debug] start|delete
    containerd-shim-NAME -v | -info

``start`` leaves a shim behind and prints where it listens; ``delete`` removes what a dead shim left of its container. The
working directory is the bundle. Errors go to standard error, for the daemon to show.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys

from pycontainerd import __version__
from pycontainerd.contracts.errors import ContainerdError, InvalidArgument, Unavailable
from pycontainerd.contracts.identifiers import validate_identifier

from .messages import BOOTSTRAP_PARAMS, BOOTSTRAP_RESULT, RUNTIME_INFO
from .protocol import Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

DEFAULT_DRIVER = "pycontainerd_runtime_runc.driver:driver"
DRIVER_VARIABLE = "PYCONTAINERD_DRIVER"
_SOCKETS = "/run/containerd/s"
_VALUES = ("namespace", "id", "address", "publish-binary", "bundle", "socket", "debug-socket")
_SWITCHES = ("debug", "v", "version", "info")
# Containers with the same value of one of these annotations share a shim: those of a pod.
_GROUPS = ("io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id")
_MAX_INPUT = 10 << 20
_MAX_SPEC = 16 << 20


class Arguments:
    """A parsed command line. ``switches`` are those that are on."""

    def __init__(self, action: str, values: Mapping[str, str], switches: frozenset[str]) -> None:
        self.action = action
        self.values = values
        self.switches = switches

    def value(self, name: str) -> str:
        return self.values.get(name, "")


def parse(argv: Sequence[str]) -> Arguments:
    """Flags as Go's flag package takes them: one dash or two, ``-flag value`` or ``-flag=value``, then the action.

    :raises InvalidArgument: an unknown flag, or one without its value.
    """
    values: dict[str, str] = {}
    switches: set[str] = set()
    words = list(argv)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        name, separator, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name in _SWITCHES:
            if not separator or value in ("1", "t", "T", "true", "TRUE", "True"):
                switches.add(name)
        elif name in _VALUES:
            if not separator and not words:
                raise InvalidArgument(f"flag -{name} needs a value")
            values[name] = value if separator else words.pop(0)
        else:
            raise InvalidArgument(f"unknown flag {word!r}")
    return Arguments(words[0] if words else "", values, frozenset(switches))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one action; the exit status."""
    try:
        return _run(parse(sys.argv[1:] if argv is None else argv))
    except ContainerdError as exc:
        print(f"{os.path.basename(sys.argv[0])}: {exc}", file=sys.stderr)
        return 1


def _run(arguments: Arguments) -> int:
    if arguments.switches & {"v", "version"}:
        print(f"{os.path.basename(sys.argv[0])}:\n  Version:  {__version__}\n  Revision: \n")
        return 0
    if "info" in arguments.switches:
        _write(_info())
        return 0
    validate_identifier(arguments.value("namespace"), "namespace")
    validate_identifier(arguments.value("id"), "id")
    if arguments.action == "start":
        _write(start(arguments))
    elif arguments.action == "delete":
        from .cleanup import cleanup

        bundle = arguments.value("bundle") or os.getcwd()
        _write(cleanup(arguments.value("namespace"), arguments.value("id"), bundle, _driver()))
    else:
        raise InvalidArgument(f"unknown action {arguments.action!r}", hint="known are start and delete")
    return 0


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _driver() -> str:
    return os.environ.get(DRIVER_VARIABLE) or DEFAULT_DRIVER


def _info() -> bytes:
    return RUNTIME_INFO.encode({"name": "io.containerd.runc.v2", "version": {"version": __version__}})


def start(arguments: Arguments) -> bytes:
    """Leave a shim behind (or find the one of its group); what to print.

    :raises Unavailable: it cannot listen.
    """
    namespace, id = arguments.value("namespace"), arguments.value("id")  # noqa: A001
    params = bootstrap(sys.stdin.buffer.read(_MAX_INPUT), id)
    directory = (params["socket_dir"] if params else "") or _SOCKETS
    bundle = os.path.abspath(arguments.value("bundle") or os.getcwd())
    path = socket_path(directory, arguments.value("address"), namespace, group(bundle) or id)
    address = f"unix://{path}"
    if not _answers(path):
        publish = (params["containerd_ttrpc_address"] if params else "") or os.environ.get("TTRPC_ADDRESS", "")
        debug = "debug" if "debug" in arguments.switches else ""
        _leave_behind(Order(namespace, id, bundle, publish, path, _driver(), debug))
    with open(os.path.join(bundle, "address"), "w", encoding="utf-8") as file:
        file.write(address)
    if params is not None:
        return BOOTSTRAP_RESULT.encode({"version": 3, "address": address, "protocol": "ttrpc"})
    if os.environ.get("MAX_SHIM_VERSION", "") in ("", "2"):
        return address.encode()  # every containerd takes it, 1.6 nothing else
    return json.dumps({"version": 3, "address": address, "protocol": "ttrpc"}).encode()


def bootstrap(data: bytes, id: str) -> dict[str, Any] | None:  # noqa: A002
    """The bootstrap message of containerd 2.3 and later; None for what older ones send (the options of the runtime)."""
    try:
        params = BOOTSTRAP_PARAMS.decode(data)
    except ValueError:
        return None
    # Any message parses as many others; only this one repeats the id.
    return params if params["instance_id"] == id else None


def group(bundle: str) -> str:
    """What containers the one of ``bundle`` shares a shim with; empty for none."""
    try:
        with open(os.path.join(bundle, "config.json"), "rb") as file:
            annotations = json.loads(file.read(_MAX_SPEC)).get("annotations") or {}
        return next((str(annotations[name]) for name in _GROUPS if annotations.get(name)), "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError, TypeError) as exc:
        raise InvalidArgument(f"cannot read the spec of the bundle {bundle}: {exc}") from exc


def socket_path(directory: str, address: str, namespace: str, name: str) -> str:
    """Where the shim of ``name`` under the daemon at ``address`` listens."""
    return os.path.join(directory, hashlib.sha256(os.path.join(address, namespace, name).encode()).hexdigest())


def _answers(path: str) -> bool:
    """Whether a shim listens there; a socket that nobody listens on is removed."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            return True
        except FileNotFoundError:
            return False
        except ConnectionRefusedError:
            os.unlink(path)
            return False
        except OSError as exc:
            raise Unavailable(f"cannot connect to {path}: {exc.strerror}") from exc


def _leave_behind(order: Order) -> None:
    from . import process
    from .nursery import load_driver

    driver = load_driver(order.driver)
    os.makedirs(os.path.dirname(order.socket), mode=0o700, exist_ok=True)
    listening = process.listen(order)
    pid = os.fork()
    if pid == 0:
        try:
            process.settle(listening.fileno())
            process.run(process.Prepared(), order, driver, listening)
        finally:
            os._exit(0)
    listening.close()
    with open(os.path.join(order.bundle, "shim.pid"), "w", encoding="ascii") as file:
        file.write(str(pid))
