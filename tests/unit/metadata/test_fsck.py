"""fsck: four truths that differ, and are brought together."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from pycontainerd.content.content import Content
from pycontainerd.content.local import LocalStore
from pycontainerd.contracts import digests
from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.contracts.snapshots import Holding
from pycontainerd.contracts.types import Scope
from pycontainerd.metadata.check import repair as module
from pycontainerd.metadata.check.check import check, mend
from pycontainerd.metadata.check.findings import Finding
from pycontainerd.metadata.check.repair import Journal
from pycontainerd.metadata.check.truths import Place, Site
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.snapshots.native import NativeSnapshotter
from pycontainerd.snapshots.records import RecordStore
from pycontainerd.snapshots.snapshots import Snapshots

SCOPE = Scope("ns")
BLOB = digests.of(b"hello")


class Nobody:
    """An event bus that nobody listens to."""

    def publish(self, namespace: str, event: object) -> None:
        pass


@attrs.frozen
class World:
    """What a daemon leaves: one blob, one open ingest, a layer with an active snapshot on it, a container."""

    site: Site

    @property
    def trees(self) -> str:
        return os.path.join(self.site.places[0].root, "snapshots")

    def run(self, statement: str, *values: object) -> None:
        database = SqliteDatabase(self.site.database, pytest.fail)
        database.write(lambda db: db.execute(statement, values))
        database.close()

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        database = SqliteDatabase(self.site.database, pytest.fail)
        try:
            return database.read(lambda db: db.execute(statement).fetchall())
        finally:
            database.close()

    def kinds(self, **options: bool) -> list[str]:
        return sorted(finding.kind for finding in check(self.site, **options).found)

    def repaired(self) -> list[str]:
        """Kinds of what a repair leaves."""
        return sorted(finding.kind for finding in mend(self.site, pytest.fail).left)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    site = Site(str(tmp_path / "metadata.db"), str(tmp_path / "content"), [Place("native", str(tmp_path / "native"))])
    database = SqliteDatabase(site.database, pytest.fail)
    content = Content(LocalStore(site.content), database, Nobody()).scoped(SCOPE)
    for data, ref in ((b"hello", "one"), (b"half", "two")):
        writer = content.writer(ref)
        writer.write(data)
        if ref == "one":
            writer.commit()
        else:
            writer.close()
    backend = NativeSnapshotter(str(tmp_path / "native"), RecordStore(database).records("native"))
    service = Snapshots({"native": backend}, ("native",), database, Nobody(), str)
    snapshots = service.scoped(SCOPE, "")
    snapshots.prepare("work")
    snapshots.commit("layer", "work")
    snapshots.prepare("container", "layer")
    service.flush()
    backend.close()
    database.write(
        lambda db: db.execute(
            "INSERT INTO containers VALUES ('ns','c','{}','','r',NULL,NULL,'native','container','{}','',0,0)"
        )
    )
    database.close()
    yield World(site)


def test_what_a_daemon_leaves_has_nothing_wrong(world: World) -> None:
    assert check(world.site, digests=True).found == []
    assert world.repaired() == []


def only(found: list[Finding], kind: str) -> Finding:
    (finding,) = [one for one in found if one.kind == kind]
    return finding


def test_a_blob_without_a_record_goes(world: World, tmp_path: Path) -> None:
    stray = tmp_path / "content" / "blobs" / "sha256" / ("0" * 64)
    stray.write_bytes(b"x" * 1000)
    finding = only(check(world.site).found, "content-orphan")
    assert finding.bytes == 1000
    assert "no namespace" in finding.reason
    assert stray.exists()
    assert world.repaired() == []
    assert not stray.exists()


def test_a_record_without_a_blob_goes(world: World, tmp_path: Path) -> None:
    world.run("INSERT INTO leases VALUES ('ns', 'l', '{}', 0)")
    world.run("INSERT INTO lease_resources VALUES ('ns', 'l', 'content', ?)", BLOB)
    (tmp_path / "content" / "blobs" / BLOB.replace(":", "/")).unlink()
    assert "pull the image again" in only(check(world.site).found, "content-missing").reason
    assert world.repaired() == []
    assert world.rows("SELECT * FROM blobs") == world.rows("SELECT * FROM lease_resources") == []


@pytest.mark.parametrize(("data", "kind"), [(b"", "content-size"), (b"hallo", "content-damaged")])
def test_a_blob_that_is_not_what_it_says_goes_with_its_record(
    world: World, tmp_path: Path, data: bytes, kind: str
) -> None:
    blob = tmp_path / "content" / "blobs" / BLOB.replace(":", "/")
    blob.chmod(0o644)
    blob.write_bytes(data)
    assert world.kinds(digests=True) == [kind]
    assert mend(world.site, pytest.fail, digests=True).left == []
    assert not blob.exists()
    assert world.rows("SELECT * FROM blobs") == []


def test_ingests_and_their_records_go_when_the_other_is_gone(world: World, tmp_path: Path) -> None:
    (ingest,) = (tmp_path / "content" / "ingest").iterdir()
    ingest.rename(ingest.with_name("f" * 64))
    assert world.kinds() == ["ingest-missing", "ingest-orphan"]
    assert world.repaired() == []
    assert world.rows("SELECT * FROM ingests") == []
    assert list((tmp_path / "content" / "ingest").iterdir()) == []


def test_trees_without_a_record_and_leftovers_go(world: World) -> None:
    for name in ("99", "new.100", "rm.101"):
        os.makedirs(f"{world.trees}/{name}/fs")
    assert world.kinds() == ["tree-leftover", "tree-leftover", "tree-orphan"]
    assert world.repaired() == []
    assert len(os.listdir(world.trees)) == 2


def test_a_tree_that_waits_for_its_name_is_said_and_kept(world: World) -> None:
    first = min(os.listdir(world.trees), key=int)
    os.rename(f"{world.trees}/{first}", f"{world.trees}/rm.{first}")
    assert world.kinds() == ["tree-aside"]
    assert world.repaired() == ["tree-aside"]
    assert os.path.isdir(f"{world.trees}/rm.{first}")


def test_records_without_trees_go_with_all_that_is_based_on_them(world: World) -> None:
    for name in os.listdir(world.trees):
        os.rmdir(f"{world.trees}/{name}")
    assert world.kinds() == ["snapshot-without-files", "snapshot-without-files"]
    assert world.repaired() == ["container-without-snapshot"]
    assert world.rows("SELECT * FROM snapshots") == world.rows("SELECT * FROM snapshot_records") == []


def test_rows_and_records_that_the_other_side_does_not_know(world: World) -> None:
    world.run("DELETE FROM snapshots WHERE key = 'container'")
    world.run("INSERT INTO snapshots VALUES ('ns','native','ghost','ns/77/ghost','','{}',0,0)")
    assert world.kinds() == ["container-without-snapshot", "snapshot-orphan", "snapshot-without-record"]
    assert world.repaired() == ["container-without-snapshot"]
    assert len(os.listdir(world.trees)) == 1


def test_what_a_power_cut_left_in_doubt_is_said(world: World) -> None:
    world.run("INSERT INTO snapshot_syncs SELECT 'native', name, 'another boot', 0 FROM snapshots WHERE key = 'layer'")
    assert world.kinds() == ["snapshot-suspect"]
    assert world.repaired() == ["snapshot-suspect"]


def test_images_without_their_manifest_and_leases_of_nothing(world: World) -> None:
    world.run("INSERT INTO images VALUES ('ns', 'i', '[\"m\", \"sha256:11\", 1, {}]', '{}', 0, 0)")
    world.run("INSERT INTO leases VALUES ('ns', 'l', '{}', 0)")
    for kind in ("content", "ingests", "snapshots/native"):
        world.run("INSERT INTO lease_resources VALUES ('ns', 'l', ?, 'nothing')", kind)
    assert world.kinds() == ["image-without-content", *["lease-of-nothing"] * 3]
    assert world.repaired() == ["image-without-content"]


@pytest.mark.root
def test_what_is_mounted_is_never_removed(world: World, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("root mounts")
    point = tmp_path / "point"
    point.mkdir()
    for name in ("98", "99"):
        os.makedirs(f"{world.trees}/{name}/fs")
        os.makedirs(f"{world.trees}/{name}/work")
    upper, lower = f"{world.trees}/98", f"{world.trees}/99/fs"
    options = f"lowerdir={lower},upperdir={upper}/fs,workdir={upper}/work"
    made = subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", point], check=False)
    if made.returncode:
        pytest.skip("no overlay on this file system")
    try:
        assert world.kinds() == ["tree-mounted", "tree-mounted"]
        assert str(point) in only([check(world.site).found[0]], "tree-mounted").reason
        assert world.repaired() == ["tree-mounted", "tree-mounted"]
        assert len(os.listdir(world.trees)) == 4
    finally:
        subprocess.run(["umount", point], check=True)
    assert world.repaired() == []


@pytest.mark.parametrize("at", range(6))
def test_an_interrupted_repair_is_taken_up(world: World, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("98", "99", "rm.100"):
        os.makedirs(f"{world.trees}/{name}/fs")
    world.run("INSERT INTO blobs VALUES ('ns', 'sha256:ab', 1, '{}', 0, 0)")
    world.run("INSERT INTO snapshots VALUES ('ns','native','ghost','ns/77/ghost','','{}',0,0)")
    calls = 0

    def interrupting(step: Callable[..., bool]) -> Callable[..., bool]:
        def run(*arguments: object) -> bool:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise KeyboardInterrupt
            return step(*arguments)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(module, "_DO", {name: interrupting(step) for name, step in module._DO.items()})
        if at < 5:
            with pytest.raises(KeyboardInterrupt):
                mend(world.site, pytest.fail)
            assert len(Journal(world.site.journal).pending()) == 5 - at
            assert "repair-interrupted" in world.kinds()
        else:
            mend(world.site, pytest.fail)
    said: list[str] = []
    assert mend(world.site, said.append).left == []
    assert bool(said) == (at < 5)
    assert not os.path.exists(world.site.journal)


def test_a_step_that_has_become_wrong_is_not_done(world: World) -> None:
    """A journal may be old: what has a record by now is not removed."""
    number = max(os.listdir(world.trees), key=int)
    Journal(world.site.journal).begin([("delete-tree", "native", number, f"{world.trees}/{number}")])
    mend(world.site, [].append)
    assert os.path.isdir(f"{world.trees}/{number}")
    Journal(world.site.journal).begin([("delete-tree", "native", "5", "/etc/hostname")])
    mend(world.site, [].append)
    assert os.path.exists("/etc/hostname")


def test_a_running_daemon_is_not_disturbed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycontainerd.metadata.claim.Claim.__init__.__defaults__", (0.1,))
    database = SqliteDatabase(world.site.database, pytest.fail)
    with pytest.raises(FailedPrecondition, match="stop it"):
        check(world.site)
    with pytest.raises(FailedPrecondition, match="stop it"):
        mend(world.site, pytest.fail)
    database.close()


def test_looking_changes_nothing(world: World, tmp_path: Path) -> None:
    os.makedirs(f"{world.trees}/rm.7")

    def state() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}

    before = state()
    check(world.site, digests=True)
    assert {name: data for name, data in state().items() if not name.endswith(("-shm", "-wal"))} == before


def test_a_damaged_database_is_a_finding_and_a_repair_replaces_it(world: World) -> None:
    Path(world.site.database).write_bytes(b"garbage" * 5000)
    assert world.kinds() == ["database-damaged"]
    said: list[str] = []
    outcome = mend(world.site, said.append)
    assert "is kept as" in said[0]
    assert outcome.left == []


def test_a_snapshotter_that_knows_better_is_asked(world: World, tmp_path: Path) -> None:
    """As one whose trees are no directories."""
    gone: list[str] = []
    trees = {7: "pool/7"}

    def drop() -> None:
        gone.append(trees.pop(7))

    def holdings(root: str) -> list[Holding]:
        assert root == str(tmp_path / "zfs")
        return [Holding(number, path, delete=drop) for number, path in trees.items()]

    site = attrs.evolve(world.site, places=[*world.site.places, Place("zfs", str(tmp_path / "zfs"), holdings)])
    assert only(check(site).found, "tree-orphan").subject == "pool/7"
    assert mend(site, pytest.fail).left == []
    assert gone == ["pool/7"]


def test_nothing_is_taken_for_gone_where_the_snapshotter_cannot_know(world: World, tmp_path: Path) -> None:
    def unmounted(root: str) -> list[Holding]:
        raise FailedPrecondition(f"{root} is not mounted")

    places = [Place(place.name, place.root, unmounted) for place in world.site.places]
    found = check(attrs.evolve(world.site, places=[*places, Place("unused", str(tmp_path), unmounted)])).found
    assert {finding.kind for finding in found} <= {"not-compared"}
    assert "unused" not in {finding.subject for finding in found}


def test_a_root_that_is_empty_may_be_one_that_is_not_mounted(world: World, tmp_path: Path) -> None:
    places = [Place(place.name, str(tmp_path / "elsewhere")) for place in world.site.places]
    found = check(attrs.evolve(world.site, places=places)).found
    assert {finding.kind for finding in found} == {"not-compared"}
    assert "is its file system mounted?" in found[0].reason


def test_where_nobody_can_say_that_is_said(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pool.img").write_text("x")
    site = attrs.evolve(world.site, places=[*world.site.places, Place("other", str(tmp_path / "other"))])
    assert [finding.kind for finding in check(site).found] == ["not-compared"]
