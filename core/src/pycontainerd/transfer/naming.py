"""The image store as the end of a transfer: which names an image gets, and the records they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from pycontainerd.contracts.errors import AlreadyExists, NotFound, NotImplemented
from pycontainerd.contracts.images import Image, ImageStore
from pycontainerd.contracts.types import EMPTY, Descriptor, Platform, now

from .contents import Choice

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"


@attrs.frozen
class ImageReference:
    """A further name; see containerd.types.transfer.ImageReference."""

    name: str
    is_prefix: bool = False
    allow_overwrite: bool = False
    add_digest: bool = False
    skip_named_digest: bool = False

    def named(self, annotations: Mapping[str, str]) -> str:
        """The name that annotations of an archive give an image under this prefix, "" for none."""
        name = annotations.get(IMAGE_NAME, "")
        if name:  # a full name counts only as it is
            return name if self._translated(name) == name else ""
        tag = annotations.get(REF_NAME, "")
        return self._translated(tag) if tag else ""

    def _translated(self, ref: str) -> str:
        if not self.name:
            return ""
        if not any(sign in ref for sign in "/:@"):
            return f"{self.name}:{ref}"
        rest = ref.removeprefix(self.name)
        fits = ref.startswith(self.name) and (not rest or rest[0] in "/:@")
        return ref if self.allow_overwrite or fits else ""


@attrs.frozen
class Unpack:
    """One snapshotter to unpack into ("" is the default one)."""

    snapshotter: str = ""
    platform: Platform | None = None


@attrs.frozen
class Store:
    """What a client says of the image store; see containerd.types.transfer.ImageStore."""

    name: str = ""
    labels: Mapping[str, str] = EMPTY
    choice: Choice = attrs.Factory(Choice)
    references: Sequence[ImageReference] = ()
    unpacks: Sequence[Unpack] = ()

    def __str__(self) -> str:
        return f"Local Image Store ({self.name})"

    def names(self, target: Descriptor, *, from_archive: bool) -> list[tuple[str, Mapping[str, str]]]:
        """The names for ``target`` and the labels of each; with ``from_archive`` its annotations name it."""
        names: list[tuple[str, Mapping[str, str]]] = []
        if not from_archive and self.name:
            names.append((self.name, self.labels))
        extra = self._extra_labels()
        for ref in self.references:
            digested = f"{ref.name}@{target.digest}"
            if not from_archive:
                if ref.add_digest or not ref.is_prefix:
                    names.append((digested if ref.add_digest else ref.name, extra))
            elif ref.is_prefix:
                name = ref.named(target.annotations)
                if name:
                    names.append((name, extra))
                if ref.add_digest and not (name and ref.skip_named_digest):
                    names.append((digested, extra))
        return names

    def _extra_labels(self) -> Mapping[str, str]:
        """Names beside the main one live as long as that one does."""
        if not self.name:
            return self.labels
        moment = f"{now():%Y-%m-%dT%H:%M:%SZ}"
        return {**self.labels, "containerd.io/gc.bref.image": self.name, "containerd.io/gc.expire": moment}

    def save(self, images: ImageStore, target: Descriptor, *, from_archive: bool = False) -> list[Image]:
        """Make the images; a name that is taken moves to ``target``."""
        return [
            _save(images, Image(name, target, labels)) for name, labels in self.names(target, from_archive=from_archive)
        ]

    def lookup(self, images: ImageStore) -> list[Image]:
        """The images that are meant as a source.

        :raises NotFound: one of them is not there, or none is named.
        """
        if any(ref.is_prefix for ref in self.references):
            raise NotImplemented("images cannot be looked up by prefix")
        names = ([self.name] if self.name else []) + [ref.name for ref in self.references]
        if not names:
            raise NotFound("no image is named as the source of the transfer")
        return [images.get(name) for name in names]


def _save(images: ImageStore, image: Image) -> Image:
    while True:
        try:
            return images.create(image)
        except AlreadyExists:
            try:
                return images.update(image)
            except NotFound:
                continue  # removed meanwhile
