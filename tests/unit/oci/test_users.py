"""Users looked up in a root file system that nobody has to trust."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycontainerd.contracts.errors import InvalidArgument, NotFound
from pycontainerd.oci.users import MAX_FILE, Ids, lookup

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken:x:y:z\nuser:x:1000:1000::/home:/bin/sh\n"
GROUP = "root:x:0:\nwheel:x:10:user,other\nwww:x:33:user\nuser:x:1000:\n"


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", Ids(0, 0, (0,))),
        ("root", Ids(0, 0, (0,))),
        ("user", Ids(1000, 1000, (1000, 10, 33))),
        ("1000", Ids(1000, 1000, (1000, 10, 33))),
        ("user:www", Ids(1000, 33, (33,))),
        ("1000:5", Ids(1000, 5, (5,))),
        ("77", Ids(77, 0, (0,))),
        ("77:wheel", Ids(77, 10, (10,))),
    ],
)
def test_a_user_is_found(root: str, user: str, ids: Ids) -> None:
    assert lookup(root, user) == ids


@pytest.mark.parametrize("user", ["nobody", "broken", "user:nogroup", "4294967296"])
def test_a_user_or_group_that_is_not_there_is_named(root: str, user: str) -> None:
    with pytest.raises(NotFound, match=user.rpartition(":")[2]):
        lookup(root, user)


@pytest.mark.parametrize("user", ["user:", "a:b:c"])
def test_what_is_no_user_is_refused(root: str, user: str) -> None:
    with pytest.raises(InvalidArgument, match="USER"):
        lookup(root, user)


def test_root_needs_no_files(tmp_path: Path) -> None:
    assert lookup(str(tmp_path), "") == Ids(0, 0, (0,))
    assert lookup(str(tmp_path), "5:6") == Ids(5, 6, (6,))


def test_a_link_does_not_lead_out_of_the_root(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("evil:x:666:666::/:/bin/sh\n")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").symlink_to(outside)
    with pytest.raises(NotFound):
        lookup(str(root), "evil")


def test_a_fifo_in_place_of_a_file_does_not_hold_us_up(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/passwd")
    with pytest.raises(InvalidArgument, match="regular"):
        lookup(str(tmp_path), "user")


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with (tmp_path / "etc/passwd").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(InvalidArgument, match="larger"):
        lookup(str(tmp_path), "user")
