"""Places where any number of plugins are asked or told. All hooks have their specs here.

An implementation is a plain function or method with the hook's name, marked with `hook`; it takes those of the hook's
arguments that it wants, by their names. Who provides it says the plugin's type:

- ``io.containerd.hook.v1``: init returns an object with marked methods. The daemon asks it.
- ``io.containerd.image-verifier.v1``: the same, for `Hooks.verify_image` and no other. While one of these is installed,
  enabled and not up, nothing is pulled.
- ``io.containerd.ctr.v1`` and ``io.containerd.config-migration.v1``: the entry point leads to a module with marked
  functions. It is imported by ``ctr`` or with the configuration, never by the daemon's kernel.

A plugin in ``disabled_plugins`` is not imported for any of them.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, overload

from .errors import ContainerdError, FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    import click

    from .events import Envelope
    from .types import Descriptor

F = TypeVar("F", bound=Callable[..., Any])
Path = tuple[str, ...]

HOOK = "io.containerd.hook.v1"
VERIFIER = "io.containerd.image-verifier.v1"
COMMAND = "io.containerd.ctr.v1"
MIGRATION = "io.containerd.config-migration.v1"
MARK = "pycontainerd_hook"


class Candidate(NamedTuple):
    """An image that somebody wants: ``name`` as it was asked for, and the ``target`` that the registry gave for it."""

    namespace: str
    name: str
    target: Descriptor


class Judgement(NamedTuple):
    """What a verifier says of a `Candidate`; ``reason`` is shown to people, of a refusal above all."""

    ok: bool
    reason: str = ""


class Repository(Protocol):
    """Where an image is pulled from, with the credentials of that pull: for the signatures that are beside it."""

    def resolve(self, tag: str) -> Descriptor:
        """What a tag of the repository names; raises `NotFound` where there is none."""
        ...

    def read(self, target: Descriptor) -> bytes:
        """A manifest or a small blob, its digest verified; at most 4 MiB."""
        ...


class ConfigDocument(Protocol):
    """One config file, brought to the latest version. A key is a tuple of names: ``("plugins", uri, "key")``.

    Keys that are moved keep the file and line that set them, so that errors and ``config explain`` name those.
    """

    def get(self, path: Path, default: Any = None) -> Any:
        """The value, a table included."""
        ...

    def has(self, path: Path) -> bool:
        """Whether the file sets it."""
        ...

    def move(self, old: Path, new: Path) -> None:
        """Rename a key or a whole table. Where both are set, ``new`` stays as it is and the other is reported."""
        ...

    def put(self, path: Path, value: Any, like: Path) -> None:
        """Set a key because of another one, ``like``."""
        ...

    def drop(self, path: Path) -> None:
        """Take a key away."""
        ...


class Hooks:
    """The specs. Each says when it is called, what an answer means, and what happens when an implementation raises."""

    def edit_oci_spec(self, namespace: str, id: str, runtime: str, spec: dict[str, Any]) -> None:  # noqa: A002
        """Change the OCI runtime spec that a container is about to be created from.

        Called by the daemon for each task that is created, whoever asked for it (any client, a pod's sandbox), in a
        worker thread, with at most 10 seconds for each implementation. ``spec`` is the whole runtime spec as JSON has
        it; change it in place and return nothing. ``id`` is the container's, ``runtime`` the runtime's name. The change
        is in the bundle's config.json; the container's record keeps the spec of the client. Execs are not edited.

        Raising refuses the container: the client gets the error, with the plugin's name, and nothing is left of the
        task. An error of `contracts.errors` keeps its code.
        """

    def event_published(self, envelope: Envelope) -> None:
        """Be told of an event of the daemon, its shims or its clients.

        Called in the order of publication, in a thread of the plugin's own, so a slow one delays nobody; one that is more
        than 16384 events behind loses the next ones, which the log says. ``envelope.event`` is a record of
        `contracts.events` where the event is one of those, else the encoded message.

        Raising has no effect but a line in the log, with the plugin's name.
        """

    def verify_image(self, image: Candidate, repository: Repository) -> Judgement:  # type: ignore[empty-body]
        """Say whether an image may be pulled.

        Called for every pull by the transfer service, after its name was resolved and before anything of it is fetched,
        in a worker thread, with at most 120 seconds for each implementation. All verifiers must agree. ``repository`` gives
        what else there is in the image's repository, such as signatures.

        A judgement that is not ok, an answer that is none, raising and not answering in time all refuse the pull:
        the client gets PERMISSION_DENIED with the plugin's name and the reason. A client that fetches by itself and
        writes to the content store (``ctr images pull --local``, Docker) asks nobody, and so does an import.
        """

    def ctr_command(self) -> click.Command:  # type: ignore[empty-body]
        """A command of ``ctr``, called the id of the plugin: ``io.containerd.ctr.v1.hello`` is ``ctr hello``.

        Called when that command is, and for no other, so that nobody pays for it. Use
        `pycontainerd.ctr.context.execute` to get a connected client. The commands of ``ctr`` itself cannot be replaced.
        What is disabled is said by the configuration on this machine, or the file that CONTAINERD_CONFIG names.

        Raising ends ``ctr`` with a message that has the plugin's name, and status 5.
        """

    def migrate_config(self, config: ConfigDocument, version: int) -> None:
        """Bring a file's own keys of a plugin up to date.

        Called whenever the configuration is read, for each file, after it was brought to the latest version;
        ``version`` is what the file says. It must come to the same when it is called again on its own result.

        Raising leaves the file as it was before this hook, with a warning that has the plugin's name.
        """


@overload
def hook(function: F) -> F:
    """As a decorator without arguments."""


@overload
def hook(*, first: bool = False, last: bool = False) -> Callable[[F], F]:
    """As a decorator with arguments."""


def hook(function: F | None = None, *, first: bool = False, last: bool = False) -> F | Callable[[F], F]:
    """Mark a function as the implementation of the hook of its name.

    :param first: come before others; ``last``: after them.
    :raises InvalidArgument: there is no such hook, it has no such argument, or the function is no plain one. It is raised
        where the module is imported, so the plugin's row in the report says so.
    """

    def mark(marked: F) -> F:
        _check(marked)
        setattr(marked, MARK, {"tryfirst": first, "trylast": last})
        return marked

    return mark if function is None else mark(function)


def _check(function: Callable[..., Any]) -> None:
    name = function.__name__
    spec = vars(Hooks).get(name)
    if spec is None or name.startswith("_"):
        near = difflib.get_close_matches(name, names(), 1)
        raise InvalidArgument(
            f"there is no hook {name!r}", hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise InvalidArgument(f"hook {name} must be a plain function: it is called in a thread and may block")
    known = set(inspect.signature(spec).parameters)
    unknown = [one for one in inspect.signature(function).parameters if one not in known]
    if unknown:
        there = ", ".join(one for one in inspect.signature(spec).parameters if one != "self") or "no arguments"
        raise InvalidArgument(f"hook {name} has no argument {unknown[0]!r}", hint=f"it has {there}")


def names() -> list[str]:
    """The names of all hooks."""
    return [name for name in vars(Hooks) if not name.startswith("_")]


def refusal(failed: Exception, what: str) -> ContainerdError:
    """The error for who waits for ``what``, which a failed hook refuses. One of the family keeps its code and hint."""
    cause = failed.__cause__
    kind = type(cause) if isinstance(cause, ContainerdError) else FailedPrecondition
    hint = cause.hint if isinstance(cause, ContainerdError) else ""
    message = str(failed).removesuffix(f" ({hint})") if hint else str(failed)
    return kind(f"{what}: {message}", hint=hint)
