"""An image's config (OCI image-spec config.md), and the edits of a spec that it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.types import EMPTY

from . import edits
from .spec import Spec

MAX_CONFIG = 8 << 20  # bytes
STOP_SIGNAL_LABEL = "io.containerd.image.config.stop-signal"


@attrs.frozen
class ImageConfig:
    """What an image says about running it."""

    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Sequence[str] = ()
    cwd: str = ""
    user: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = EMPTY
    diff_ids: Sequence[str] = ()

    def args(self, given: Sequence[str] = ()) -> list[str]:
        """The command line; ``given`` arguments replace the image's Cmd.

        :raises InvalidArgument: there is nothing to run.
        """
        found = [*self.entrypoint, *(given or self.cmd)]
        if not found:
            raise InvalidArgument("the image says nothing to run", hint="give a command")
        return found


def parse(data: bytes) -> ImageConfig:
    """Read a config blob.

    :raises InvalidArgument: it is too large or not what a config is.
    """
    if len(data) > MAX_CONFIG:
        raise InvalidArgument(f"an image config of {len(data)} bytes is too large (limit {MAX_CONFIG})")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"the image config is not JSON: {exc}") from None
    config = _object(found, "config")
    labels = _object(config, "Labels")
    return ImageConfig(
        entrypoint=_strings(config, "Entrypoint"),
        cmd=_strings(config, "Cmd"),
        env=_strings(config, "Env"),
        cwd=_string(config, "WorkingDir"),
        user=_string(config, "User"),
        stop_signal=_string(config, "StopSignal"),
        labels={key: _string(labels, key) for key in labels},
        diff_ids=_strings(_object(found, "rootfs"), "diff_ids"),
    )


def _object(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) or {} if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise InvalidArgument(f"the image config: {key} is not an object")
    return found


def _strings(value: dict[str, Any], key: str) -> tuple[str, ...]:
    found = value.get(key) or ()
    if not isinstance(found, list | tuple) or not all(isinstance(item, str) for item in found):
        raise InvalidArgument(f"the image config: {key} is not a list of strings")
    return tuple(found)


def _string(value: dict[str, Any], key: str) -> str:
    found = value.get(key) or ""
    if not isinstance(found, str):
        raise InvalidArgument(f"the image config: {key} is not a string")
    return found


def edits_for(config: ImageConfig, given: Sequence[str] = ()) -> Iterator[edits.Edit]:
    """Environment (a default PATH first), command line and working directory; the user needs the root file system."""

    def defaults(spec: Spec) -> None:
        if not any(item.startswith("PATH=") for item in config.env):
            edits.default_env(spec)

    yield defaults
    yield edits.env(item for item in config.env if "=" in item)
    yield edits.args(config.args(given))
    if config.cwd:
        yield edits.cwd(config.cwd)
