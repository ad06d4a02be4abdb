"""The walking differ, with each compression, and the service over all differs, in the suite for all differs."""

from __future__ import annotations

import gzip
import os

import pytest
import zstandard

from pycontainerd.contracts import media_types
from pycontainerd.contracts.diff import Differ
from pycontainerd.diff.diff import Diff
from pycontainerd.diff.differ import WalkingDiffer
from pycontainerd.testing.differs import DifferSuite


class TestWalking(DifferSuite):
    @pytest.fixture
    def differ(self, area: str) -> Differ:
        os.mkdir(f"{area}/state")
        return WalkingDiffer(f"{area}/state")


class TestWalkingGzip(TestWalking):
    media_type = media_types.OCI_LAYER_GZIP

    @staticmethod
    def packed(tar: bytes) -> bytes:
        return gzip.compress(tar, mtime=0)


class TestWalkingZstd(TestWalking):
    media_type = media_types.OCI_LAYER_ZSTD

    @staticmethod
    def packed(tar: bytes) -> bytes:
        return zstandard.ZstdCompressor().compress(tar)


class TestService(DifferSuite):
    @pytest.fixture
    def differ(self, area: str) -> Differ:
        os.mkdir(f"{area}/state")
        return Diff({"walking": WalkingDiffer(f"{area}/state")}, ["walking"])
