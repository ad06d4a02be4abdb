"""What a prune and the rules of the config take, and whose the bytes are: over entries made up, and over a real store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.contracts.gc import Entry, Node, Selection
from pycontainerd_gc import policy, prune, usage
from pycontainerd_gc.config import Config, Policy, parse_size
from pycontainerd_gc.mark import Marking
from pycontainerd_gc.prune import Facts

NOW = 1_800_000_000.0
DAY = 86400
OVL = "snapshots/overlayfs"


def n(kind: str, key: str, namespace: str = "a") -> Node:
    return Node(kind, namespace, key)


def image(name: str, *, days: float = 0, labels: Mapping[str, str] | None = None) -> list[Entry]:
    """An image with a blob of its own, a blob that all share, and one layer unpacked."""
    made = int((NOW - days * DAY) * 1e9)
    refs = {"containerd.io/gc.ref.content.l.0": "shared", "containerd.io/gc.ref.snapshot.overlayfs": f"layer-{name}"}
    return [
        Entry(n("images", name), labels or {}, (n("content", name),), 0, made),
        Entry(n("content", name), refs, (), 0, made),
        Entry(n("content", "shared")),
        Entry(n(OVL, f"layer-{name}"), {}, (n(OVL, "base"),), 0, made),
        Entry(n(OVL, "base")),
    ]


def container(name: str, snapshot: str, image_name: str = "", *, days: float = 0) -> list[Entry]:
    made = int((NOW - days * DAY) * 1e9)
    return [
        Entry(n("containers", name), {}, (n(OVL, name),), 0, made, image_name),
        Entry(n(OVL, name), {}, (n(OVL, snapshot),)),
    ]


def chosen(entries: list[Entry], kind: str, facts: Facts | None = None, **selection: object) -> set[str]:
    facts = facts or Facts(used_at=lambda _: 0.0, busy=lambda _: False)
    found = prune.choose(Marking(entries, NOW), Selection(kind, "a", **selection), facts)  # type: ignore[arg-type]
    return {node.key for node in found}


def test_images_that_a_container_stands_on_or_names_are_used_whatever_they_are_called() -> None:
    world = [
        *image("stood-on:1"),
        *image("named:1"),
        *image("free:1"),
        *container("c", "layer-stood-on:1"),
        *container("d", "elsewhere", "named:1"),
    ]
    assert chosen(world, "images", everything=True) == {"free:1"}
    assert chosen(world, "images") == set()


def test_a_base_that_a_container_stands_on_by_another_image_is_not_used_itself() -> None:
    base = Entry(n("images", "base:1"), {}, (n("content", "b"),))
    blob = Entry(n("content", "b"), {"containerd.io/gc.ref.snapshot.overlayfs": "base"})
    world = [base, blob, *image("child:1"), *container("c", "layer-child:1")]
    assert chosen(world, "images", everything=True) == {"base:1"}


@pytest.mark.parametrize(
    ("name", "dangling"),
    [
        ("docker.io/library/a:1", False),
        ("docker.io/library/a:1@sha256:0", False),
        ("docker.io/library/a@sha256:0", True),
        ("localhost:5000/a@sha256:0", True),
        ("sha256:0", True),
        ("<none>@sha256:0", True),
        ("anything", False),
    ],
)
def test_an_image_without_a_tag_is_dangling(name: str, dangling: bool) -> None:
    assert prune.is_dangling(name) is dangling
    assert (name in chosen(image(name), "images")) is dangling


def test_age_counts_from_the_last_use_and_filters_are_those_of_the_service() -> None:
    world = [*image("old:1", days=10, labels={"team": "x"}), *image("new:1", days=1), *image("used:1", days=10)]
    used = Facts(used_at=lambda node: NOW - DAY if node.key == "used:1" else 0.0, busy=lambda _: False)
    assert chosen(world, "images", used, everything=True, unused_for=5.0 * DAY) == {"old:1"}
    assert chosen(world, "images", everything=True, filters=["name~=^new"]) == {"new:1"}
    assert chosen(world, "images", everything=True, filters=["labels.team==x", "name==used:1"]) == {"old:1", "used:1"}
    assert chosen(world, "images", everything=True, filters=["target.digest==new:1"]) == {"new:1"}


def test_pinned_images_stay() -> None:
    world = [*image("p:1", labels={"io.cri-containerd.pinned": "pinned"}), *image("q:1")]
    assert chosen(world, "images", everything=True) == {"q:1"}


def test_containers_with_a_task_stay() -> None:
    world = [*container("runs", "s"), *container("idle", "s")]
    facts = Facts(used_at=lambda _: 0.0, busy=lambda node: node.key == "runs")
    assert chosen(world, "containers", facts) == {"idle"}
    assert chosen(world, "containers", facts, unused_for=1.0) == set()


def test_of_blobs_and_snapshots_only_those_with_a_label_of_their_own_are_for_pruning() -> None:
    root = {"containerd.io/gc.root": "x"}
    world = [
        *image("i:1"),
        Entry(n("content", "mine"), root),
        Entry(n(OVL, "mine"), root),
        Entry(n("snapshots/native", "other"), root),
        Entry(n(OVL, "in-use"), root),
        Entry(n("containers", "c"), {}, (n(OVL, "in-use"),)),
    ]
    assert chosen(world, "content") == {"mine"}
    assert chosen(world, "snapshots") == {"mine", "other", "in-use"}
    assert chosen(world, "snapshots", snapshotter="native") == {"other"}
    after = Marking(world, NOW, without={n(OVL, "mine"), n(OVL, "in-use")})
    assert (after.live(n(OVL, "mine")), after.live(n(OVL, "in-use"))) == (False, True)


def test_leases_that_expire_stay_unless_all_are_wanted() -> None:
    world = [
        Entry(n("leases", "ever")),
        Entry(n("leases", "soon"), {"containerd.io/gc.expire": "2099-01-01T00:00:00Z"}),
    ]
    assert chosen(world, "leases") == {"ever"}
    assert chosen(world, "leases", everything=True) == {"ever", "soon"}


def test_other_namespaces_and_unknown_kinds_are_not_touched() -> None:
    world = [Entry(Node("images", "b", "i:1"), {}, (Node("content", "b", "x"),))]
    assert chosen(world, "images", everything=True) == set()
    with pytest.raises(InvalidArgument, match="cannot prune 'sandboxes'"):
        chosen(world, "sandboxes")


def by_policy(world: list[Entry], *rules: Policy, sizes: Mapping[str, int] | None = None, **config: object) -> set[str]:
    marking = Marking(world, NOW)
    settings = Config(policy=list(rules), **config)  # type: ignore[arg-type]
    facts = Facts(used_at=lambda _: 0.0, busy=lambda _: False, pinned=lambda entry: policy.is_pinned(settings, entry))

    def on_disk(nodes: Iterable[Node]) -> dict[Node, int]:
        return {node: (sizes or {}).get(node.key, 0) for node in nodes if usage.takes_space(node)}

    found = policy.choose(marking, settings, facts, on_disk)
    return {node.key for node in found}


def test_a_rule_removes_what_was_unused_for_too_long() -> None:
    world = [*image("r/a:1", days=40), *image("r/b:1", days=10), *image("k8s/pause:3", days=99)]
    assert by_policy(world, Policy(max_unused="720h"), pinned=["k8s/pause*"]) == {"r/a:1"}
    assert by_policy(world, Policy(max_unused="1h", filters=["name~=^r/b"])) == {"r/b:1"}
    assert by_policy(world, Policy(max_unused="1h", namespaces=["other"])) == set()


def test_a_rule_keeps_the_newest_tags_of_each_repository() -> None:
    world = [entry for days in range(4) for entry in image(f"r/a:{days}", days=days)] + image("r/b:old", days=90)
    assert by_policy(world, Policy(keep_last_n_tags=2)) == {"r/a:2", "r/a:3"}
    assert by_policy(world, Policy(keep_last_n_tags=1, max_unused="60h")) == {"r/a:3"}


def test_a_rule_removes_the_longest_unused_until_the_rest_fits() -> None:
    world = [entry for days in range(1, 5) for entry in image(f"i:{days}", days=days)]
    sizes = {**{f"i:{days}": 100 for days in range(1, 5)}, "shared": 50, "base": 1000}
    assert by_policy(world, Policy(max_bytes="1450"), sizes=sizes) == set()
    assert by_policy(world, Policy(max_bytes="1300"), sizes=sizes) == {"i:3", "i:4"}
    assert by_policy(world, Policy(max_bytes="10"), sizes=sizes) == {"i:1", "i:2", "i:3", "i:4"}
    assert by_policy(world, Policy(max_bytes="10", keep_last_n_tags=3), sizes=sizes) == {"i:4"}


def test_a_rule_that_would_remove_everything_is_refused() -> None:
    with pytest.raises(ValueError, match="it would remove every image"):
        Policy(namespaces=["a"])


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("1000", 1000), ("20GB", 20 * 10**9), ("1.5KiB", 1536), ("2 T", 2 * 10**12), ("3mib", 3 << 20)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["x", "-1", "1PB", "1 2", "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


def test_every_byte_has_its_owners() -> None:
    world = [
        *image("x:1"),
        *image("y:1"),
        *container("c", "layer-x:1"),
        Entry(n("content", "lost")),
        Entry(n("content", "x:1", "b")),
    ]
    sizes = {entry.node: 10 for entry in world if usage.takes_space(entry.node)}
    found = usage.usage(Marking(world, NOW), sizes)
    shares = {(one.namespace, one.owner, one.name): (one.unique, one.shared) for one in found.shares}
    # The blob x:1 is in namespace b too, where nothing keeps it: on disk it is one.
    assert shares == {
        ("a", "image", "x:1"): (0, 40),
        ("a", "image", "y:1"): (20, 20),
        ("a", "container", "c"): (10, 20),
        ("a", "orphan", ""): (10, 0),
        ("b", "orphan", ""): (0, 10),
    }
    assert (found.blobs, found.snapshots, found.total) == (40, 40, 80)
    only = usage.usage(Marking(world, NOW), sizes, "b")
    assert [(one.owner, one.unique, one.shared) for one in only.shares] == [("orphan", 0, 10)]


def test_a_prune_takes_what_it_chose_and_what_only_that_kept(world) -> None:
    world.layer("s")
    kept, gone = world.blob("kept"), world.blob("gone", ref__snapshot__native="s")
    world.image("a:1", kept)
    world.image("b:1", gone)
    garbage = world.blob("garbage")
    reasons = {n("images", "b:1", "n"): "test"}
    for dry_run in (True, False):
        went, _ = world.collector.prune(lambda _: reasons, dry_run=dry_run)
        assert {node.key for node in went} == {"b:1", gone, "s"}
    assert world.blobs() == {kept, garbage}
    assert world.snapshot_names() == set()
    assert [one.name for one in world.images.list()] == ["a:1"]


def test_what_is_used_after_it_was_chosen_is_not_pruned(world, meanwhile) -> None:
    world.layer("s")
    world.snapshots.update("s", {"containerd.io/gc.root": "x"})
    meanwhile(lambda: world.container("c", "s"))
    went, _ = world.collector.prune(lambda _: {n("snapshots/native", "s", "n"): "test"}, dry_run=False)
    assert went == []
    assert world.snapshot_names() == {"s"}


def test_a_pruned_container_goes_with_its_snapshot_and_an_event(world) -> None:
    world.snapshots.prepare("rw")
    world.container("c", "rw")
    world.collector.prune(lambda _: {n("containers", "c", "n"): "test"}, dry_run=False)
    assert world.containers.list() == []
    assert world.snapshot_names() == set()
    assert "ContainerDelete" in {type(event).__name__ for event in world.events.seen}
