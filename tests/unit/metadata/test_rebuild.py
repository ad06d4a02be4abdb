"""What is derived from the disk after a loss."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontainerd.contracts import digests, media_types
from pycontainerd.contracts.database import Damage
from pycontainerd.metadata import rebuild as module
from pycontainerd.metadata.check.truths import Place, Site
from pycontainerd.metadata.database import SqliteDatabase
from pycontainerd.metadata.rebuild import namespaces_of_tasks, rebuild


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(str(tmp_path / "metadata.db"), pytest.fail)
    yield opened
    opened.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(str(tmp_path / "metadata.db"), str(tmp_path / "content"), [Place("native", str(tmp_path / "native"))])


def blob(site: Site, data: bytes, digest: str = "") -> str:
    """On disk, without a record."""
    digest = digest or digests.of(data)
    path = Path(site.content, "blobs", *digest.split(":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest


def descriptor(media_type: str, digest: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": 10, **more}


def image(site: Site, name: str = "", layer: bytes = b"layer") -> dict[str, str]:
    config = blob(site, b'{"os":"linux"}')
    layers = blob(site, layer)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": descriptor(media_types.OCI_CONFIG, config),
        "layers": [descriptor(media_types.OCI_LAYER_GZIP, layers)],
    }
    found = {"config": config, "layer": layers, "manifest": blob(site, json.dumps(manifest).encode())}
    if name:
        child = descriptor(media_types.OCI_MANIFEST, found["manifest"], annotations={module.NAME: name})
        index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [child]}
        found["index"] = blob(site, json.dumps(index).encode())
    return found


def run(database: SqliteDatabase, site: Site, *namespaces: str) -> list[str]:
    damage = Damage(site.database, "a test", "")
    rebuild(database, site, damage, namespaces)
    return damage.sentences


def rows(database: SqliteDatabase, statement: str) -> list[tuple[object, ...]]:
    return database.read(lambda db: db.execute(statement).fetchall())


def test_blobs_have_records_again_that_keep_each_other_and_a_lease_keeps_all(
    database: SqliteDatabase, site: Site
) -> None:
    found = image(site)
    said = run(database, site, "k8s.io")
    assert rows(database, "SELECT DISTINCT namespace FROM blobs") == [("k8s.io",)]
    assert {digest for (digest,) in rows(database, "SELECT digest FROM blobs")} == set(found.values())
    ((labels,),) = rows(database, f"SELECT labels FROM blobs WHERE digest = '{found['manifest']}'")
    assert json.loads(str(labels)) == {
        "containerd.io/gc.ref.content.config": found["config"],
        "containerd.io/gc.ref.content.l.0": found["layer"],
    }
    assert len(rows(database, "SELECT * FROM lease_resources")) == 3
    ((expire,),) = rows(database, "SELECT labels FROM leases")
    assert "containerd.io/gc.expire" in str(expire)
    assert "3 blobs without a record" in said[0]


def test_an_image_whose_index_says_its_name_has_it_again(database: SqliteDatabase, site: Site) -> None:
    found = image(site, "example.com/app:1")
    said = run(database, site)
    ((namespace, name, target),) = rows(database, "SELECT namespace, name, target FROM images")
    assert (namespace, name, json.loads(str(target))[1]) == ("default", "example.com/app:1", found["manifest"])
    assert "images that have their names again: example.com/app:1" in said


def test_an_image_whose_manifest_says_where_it_was_fetched_is_named_by_its_digest(
    database: SqliteDatabase, site: Site
) -> None:
    digest = image(site)["manifest"]
    label = json.dumps({"containerd.io/distribution.source.docker.io": "library/busybox,other/name"})
    database.write(lambda db: db.execute("INSERT INTO blobs VALUES ('ns', ?, 10, ?, 0, 0)", (digest, label)))
    size = os.path.getsize(Path(site.content, "blobs", *digest.split(":")))
    database.write(lambda db: db.execute("UPDATE blobs SET size = ?", (size,)))
    run(database, site)
    names = {name for (name,) in rows(database, "SELECT name FROM images WHERE namespace = 'ns'")}
    assert names == {f"docker.io/library/busybox@{digest}", f"docker.io/other/name@{digest}"}
    assert {namespace for (namespace,) in rows(database, "SELECT namespace FROM blobs")} == {"ns"}


def test_an_image_that_has_a_name_gets_no_other(database: SqliteDatabase, site: Site) -> None:
    digest = image(site, "example.com/app:1")["manifest"]
    target = json.dumps(["m", digest, 10, {}])
    database.write(
        lambda db: db.execute("INSERT INTO images VALUES ('ns', 'example.com/app:1', ?, '{}', 7, 7)", (target,))
    )
    run(database, site)
    assert rows(database, "SELECT namespace, created FROM images") == [("ns", 7)]


def test_a_blob_that_is_not_what_it_says_gets_no_record(database: SqliteDatabase, site: Site) -> None:
    bad = blob(site, b"", digests.of(b"there was something"))
    said = run(database, site)
    assert rows(database, "SELECT * FROM blobs") == []
    assert bad in said[0]


def test_what_was_not_read_in_time_is_recorded_and_said(
    database: SqliteDatabase, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUDGET", -1.0)
    blob(site, b"x" * 100)
    said = run(database, site)
    assert "1 blobs were too much to read" in said[0]
    assert len(rows(database, "SELECT * FROM blobs")) == 1


def test_snapshots_have_their_rows_again_from_the_records_of_their_snapshotter(
    database: SqliteDatabase, site: Site, tmp_path: Path
) -> None:
    for number in (1, 2):
        (tmp_path / "native" / "snapshots" / str(number)).mkdir(parents=True)
    for values in ((1, "ns/4/sha256:aa", 3, None), (2, "ns/5/container", 2, 1), (3, "ns/6/without files", 2, 1)):
        database.write(
            lambda db, v=values: db.execute("INSERT INTO snapshot_records VALUES (?,'native',?,?,?,0,0,'{}',1,2)", v)
        )
    said = run(database, site)
    found = rows(database, "SELECT namespace, key, name, parent FROM snapshots ORDER BY key")
    assert found == [
        ("ns", "container", "ns/5/container", "sha256:aa"),
        ("ns", "sha256:aa", "ns/4/sha256:aa", ""),
    ]
    assert "3 snapshots have their row again, from the records of their snapshotters" in said
    assert "1 records of what is not on disk were removed" in said


def test_trees_without_a_record_stay_and_are_said(database: SqliteDatabase, site: Site, tmp_path: Path) -> None:
    tree = tmp_path / "native" / "snapshots" / "9"
    tree.mkdir(parents=True)
    said = run(database, site)
    assert tree.exists()
    assert f"{tree}" in said[-1]
    assert "fsck --repair" in said[-1]


def test_namespaces_are_also_known_by_their_tasks(tmp_path: Path) -> None:
    (tmp_path / "io.containerd.runtime.v2.task" / "moby").mkdir(parents=True)
    assert namespaces_of_tasks(str(tmp_path)) == ["moby"]
    assert namespaces_of_tasks(str(tmp_path / "none")) == []
