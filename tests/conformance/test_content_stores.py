"""The local store, and the content of a namespace, in the suite for all content stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.content.content import Content
from pycontainerd.content.local import LocalStore
from pycontainerd.contracts.content import ContentStore
from pycontainerd.contracts.types import Scope
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.testing.content_stores import ContentStoreSuite


class NoEvents:
    def publish(self, namespace: str, event: object) -> None:
        """Nobody listens."""


class TestLocal(ContentStoreSuite):
    labels = False

    @pytest.fixture
    def store(self, tmp_path: Path) -> ContentStore:
        return LocalStore(str(tmp_path))


class TestNamespaced(ContentStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ContentStore]:
        database = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail, sync=False)
        yield Content(LocalStore(str(tmp_path)), database, NoEvents()).scoped(Scope("suite"))
        database.close()
