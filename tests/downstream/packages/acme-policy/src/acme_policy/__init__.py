"""A sample of a third-party image verifier, in one module: io.containerd.image-verifier.v1.acme."""

from __future__ import annotations

import attrs

from pycontainerd.contracts.hooks import Candidate, Judgement, hook
from pycontainerd.kernel import Context, Registration, Skip

_MAX = 1 << 20  # bytes of the list


@attrs.frozen
class Config:
    """``list`` is the file with the digests that may be pulled, one a line; without one nothing is checked."""

    list: str = ""


class Policy:
    """The list is read for each pull, so that a change of it counts at once. Where it cannot be read nothing is pulled."""

    def __init__(self, path: str) -> None:
        self._path = path

    @hook
    def verify_image(self, image: Candidate) -> Judgement:
        with open(self._path, encoding="utf-8") as file:
            allowed = set(file.read(_MAX).split())
        if image.target.digest in allowed:
            return Judgement(True, f"it is on {self._path}")
        return Judgement(False, f"{image.target.digest} is not on {self._path}")


def _init(ctx: Context[Config]) -> Policy:
    if not ctx.config.list:
        raise Skip("no list is configured")
    return Policy(ctx.config.list)


registration = Registration(type="io.containerd.image-verifier.v1", id="acme", config=Config, init=_init)
