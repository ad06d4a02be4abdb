"""What is asked of both daemons, in this order: (name, method, request, namespace)."""

from __future__ import annotations

from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

NS = "parity"
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
SPEC = AnyMessage(type_url="types.containerd.io/opencontainers/runtime-spec/1/Spec", value=b"{}")
EXTRA = AnyMessage(type_url="example/extra", value=b"x")
RUNTIME = {"name": "io.containerd.runc.v2"}

Step = tuple[str, str, dict[str, Any], str]
STEPS: list[Step] = []


def ask(name: str, method: str, request: dict[str, Any] | None = None, namespace: str = NS) -> None:
    STEPS.append((name, method, request or {}, namespace))


def mask(*paths: str) -> dict[str, list[str]]:
    return {"paths": list(paths)}


def namespaces() -> None:
    service = "containerd.services.namespaces.v1.Namespaces"
    one = {"name": "n1", "labels": {"a": "1", "b": "2"}}
    ask("a namespace is created", f"{service}.Create", {"namespace": one})
    ask("a namespace is created twice", f"{service}.Create", {"namespace": one}, "")
    for bad in ("", "a/b", "-a", "a..b", "a" * 77, "ä", "a b"):
        ask(f"a namespace called {bad[:8]!r}", f"{service}.Create", {"namespace": {"name": bad}}, "")
    long = {"name": "n2", "labels": {"k": "v" * 5000}}
    ask("a namespace with a long label", f"{service}.Create", {"namespace": long}, "")
    ask("a namespace is there", f"{service}.Get", {"name": "n1"}, "")
    ask("a namespace is not there", f"{service}.Get", {"name": "none"}, "")
    update = {"namespace": {"name": "n1", "labels": {"a": "9"}}, "update_mask": mask("labels.a", "labels.b")}
    ask("labels of a namespace by path", f"{service}.Update", update)
    ask("and are then so", f"{service}.Get", {"name": "n1"}, "")
    wrong = {"namespace": {"name": "n1"}, "update_mask": mask("name")}
    ask("the name of a namespace cannot change", f"{service}.Update", wrong, "")
    ask("all namespaces", f"{service}.List", {}, "")
    ask("a namespace goes", f"{service}.Delete", {"name": "n1"}, "")
    ask("a namespace goes twice", f"{service}.Delete", {"name": "n1"}, "")


def image(name: str = "i/one:1", **more: Any) -> dict[str, Any]:
    target = {"media_type": "application/vnd.oci.image.index.v1+json", "digest": DIGEST, "size": 10}
    return {"name": name, "target": target, **more}


def images() -> None:
    service = "containerd.services.images.v1.Images"
    ask("images without a namespace", f"{service}.List", {}, "")
    ask("images of an illegal namespace", f"{service}.List", {}, "../up")
    ask("no images yet", f"{service}.List")
    ask("an image", f"{service}.Create", {"image": image(labels={"a": "1", "b.c/d": "2", "empty": ""})})
    ask("an image twice", f"{service}.Create", {"image": image()})
    ask("an image without a name", f"{service}.Create", {"image": image("")})
    ask("an image without a target", f"{service}.Create", {"image": {"name": "x", "target": {}}})
    bad = {"media_type": "m", "digest": "sha256:zz", "size": 1}
    ask("an image with a bad digest", f"{service}.Create", {"image": {"name": "x", "target": bad}})
    none = {"media_type": "m", "digest": DIGEST, "size": 0}
    ask("an image of no bytes", f"{service}.Create", {"image": {"name": "x", "target": none}})
    ask("another image", f"{service}.Create", {"image": image("i/two:1")})
    ask("it is there", f"{service}.Get", {"name": "i/one:1"})
    ask("it is not there", f"{service}.Get", {"name": "none"})
    for text in ("name==i/one:1", 'name~="two"', "labels.a==1", 'labels."b.c/d"==2', "labels.none", "target.digest!=x"):
        ask(f"images where {text}", f"{service}.List", {"filters": [text]})
    ask("images by a bad filter", f"{service}.List", {"filters": ["name=="]})
    change = {"image": image(labels={"a": "5", "z": "1"}), "update_mask": mask("labels.a")}
    ask("one label of an image", f"{service}.Update", change)
    ask("all labels of an image", f"{service}.Update", {**change, "update_mask": mask("labels")})
    moved = image()
    moved["target"] = {**moved["target"], "digest": OTHER}
    ask("the target of an image", f"{service}.Update", {"image": moved, "update_mask": mask("target")})
    ask("an image's name cannot change", f"{service}.Update", {"image": image(), "update_mask": mask("name")})
    ask("an image as a whole", f"{service}.Update", {"image": image()})
    ask("an update of no image", f"{service}.Update", {"image": image("none")})
    ask("images stay in their namespace", f"{service}.List", {}, "elsewhere")
    ask("an image goes", f"{service}.Delete", {"name": "i/two:1"})
    ask("an image goes twice", f"{service}.Delete", {"name": "i/two:1"})


def container(id: str = "c1", **more: Any) -> dict[str, Any]:
    return {"id": id, "image": "i", "runtime": RUNTIME, "spec": SPEC, **more}


def containers() -> None:
    service = "containerd.services.containers.v1.Containers"
    ask("containers without a namespace", f"{service}.List", {}, "")
    full = container(labels={"a": "1"}, snapshotter="overlayfs", snapshot_key="k", extensions={"e": EXTRA})
    ask("a container", f"{service}.Create", {"container": full})
    ask("a container twice", f"{service}.Create", {"container": full})
    for bad in ("", "a/b", "a" * 80, ".a"):
        ask(f"a container called {bad[:8]!r}", f"{service}.Create", {"container": container(bad)})
    ask("a container without a runtime", f"{service}.Create", {"container": {"id": "x", "spec": SPEC}})
    ask("a container without a spec", f"{service}.Create", {"container": {"id": "x", "runtime": RUNTIME}})
    lost = container("x", snapshot_key="k")
    ask("a snapshot without a snapshotter", f"{service}.Create", {"container": lost})
    unnamed = container("x", extensions={"": EXTRA})
    ask("an extension without a name", f"{service}.Create", {"container": unnamed})
    ask("another container", f"{service}.Create", {"container": container("c2", labels={"b": "2"})})
    ask("the container is there", f"{service}.Get", {"id": "c1"})
    ask("the container is not there", f"{service}.Get", {"id": "none"})
    for text in ("id==c1", "image==i", "runtime.name~=runc", "labels.a", "labels.b==2,id==c2", "id==x"):
        ask(f"containers where {text}", f"{service}.List", {"filters": [text]})
    ask("containers as a stream", f"{service}.ListStream")
    change = container(labels={"a": "7"}, extensions={"e": EXTRA, "e2": EXTRA}, image="j", runtime={"name": "other"})
    for path in ("labels.a", "extensions.e2", "extensions", "image", "spec", "labels", "snapshotkey", "snapshotter"):
        ask(f"update {path}", f"{service}.Update", {"container": change, "update_mask": mask(path)})
    ask("update of the runtime", f"{service}.Update", {"container": change, "update_mask": mask("runtime")})
    ask("update of nothing known", f"{service}.Update", {"container": change, "update_mask": mask("colour")})
    ask("update of a runtime as a whole", f"{service}.Update", {"container": change})
    other = container(snapshotter="native")
    ask("update of a snapshotter as a whole", f"{service}.Update", {"container": other})
    whole = container(snapshotter="overlayfs", labels={"n": "1"}, image="k", extensions=change["extensions"])
    ask("update as a whole", f"{service}.Update", {"container": whole})
    ask("update of no container", f"{service}.Update", {"container": container("none")})
    ask("the container in the end", f"{service}.Get", {"id": "c1"})
    ask("a container goes", f"{service}.Delete", {"id": "c1"})
    ask("a container goes twice", f"{service}.Delete", {"id": "c1"})
    full_namespace = "containerd.services.namespaces.v1.Namespaces.Delete"
    ask("a namespace that holds something stays", full_namespace, {"name": NS}, "")


def leases() -> None:
    service = "containerd.services.leases.v1.Leases"
    ask("leases without a namespace", f"{service}.List", {}, "")
    expire = {"containerd.io/gc.expire": "2099-01-01T00:00:00Z", "a": "1"}
    ask("a lease", f"{service}.Create", {"id": "l1", "labels": expire})
    ask("a lease twice", f"{service}.Create", {"id": "l1"})
    ask("a lease with a name of its own kind", f"{service}.Create", {"id": "a/b"})
    for text in ("id==l1", 'labels."containerd.io/gc.expire"', "labels.a==2"):
        ask(f"leases where {text}", f"{service}.List", {"filters": [text]})
    resources = [("content", DIGEST), ("snapshots/overlayfs", "k"), ("ingests", "ref")]
    for kind, id in [*resources, ("content", "no digest"), ("snapshots", "k"), ("rubbish", "k"), ("content/x", "k")]:
        what = {"id": "l1", "resource": {"type": kind, "id": id}}
        ask(f"a lease holds {kind} {id[:9]}", f"{service}.AddResource", what)
    what = {"id": "none", "resource": {"type": "content", "id": DIGEST}}
    ask("a lease that is not there holds nothing", f"{service}.AddResource", what)
    ask("what a lease holds", f"{service}.ListResources", {"id": "l1"})
    ask("what no lease holds", f"{service}.ListResources", {"id": "none"})
    gone = {"id": "l1", "resource": {"type": "ingests", "id": "ref"}}
    ask("a lease lets go", f"{service}.DeleteResource", gone)
    ask("a lease lets go twice", f"{service}.DeleteResource", gone)
    ask("a lease goes, and its garbage with it", f"{service}.Delete", {"id": "l1", "sync": True})
    ask("a lease goes twice", f"{service}.Delete", {"id": "l1"})


def the_rest() -> None:
    events = "containerd.services.events.v1.Events"
    ask("an event", f"{events}.Publish", {"topic": "/a/b", "event": EXTRA})
    ask("an event without a namespace", f"{events}.Publish", {"topic": "/a/b", "event": EXTRA}, "")
    for topic in ("", "a", "/", "/a//b", "/a/b!"):
        ask(f"an event on topic {topic!r}", f"{events}.Publish", {"topic": topic, "event": EXTRA})
    ask("an envelope without a time", f"{events}.Forward", {"envelope": {"namespace": NS, "topic": "/a"}})
    tasks = "containerd.services.tasks.v1.Tasks"
    ask("no tasks", f"{tasks}.List")
    ask("tasks without a namespace", f"{tasks}.List", {}, "")
    ask("a task that is not there", f"{tasks}.Get", {"container_id": "none"})
    ask("a container that has no task", f"{tasks}.Get", {"container_id": "c2"})
    ask("health of the daemon", "grpc.health.v1.Health.Check", {}, "")
    ask("health of what is not known", "grpc.health.v1.Health.Check", {"service": "none"}, "")


namespaces()
images()
containers()
leases()
the_rest()
