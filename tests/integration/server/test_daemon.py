"""The daemon as a process: its configuration, what it says of itself, events, and its end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from grpc_health.v1 import health_pb2

from pycontainerd.api.services.events.v1 import events_pb2
from pycontainerd.api.services.introspection.v1 import introspection_pb2
from pycontainerd.api.services.leases.v1 import leases_pb2
from pycontainerd.api.services.version.v1 import version_pb2
from pycontainerd.api.types import event_pb2
from pycontainerd.testing import needs
from pycontainerd.testing.client import OURS, Ctr
from pycontainerd.testing.daemon import Daemon

pytestmark = pytest.mark.root
INTROSPECTION = "containerd.services.introspection.v1.Introspection"
NAMESPACE = [("containerd-namespace", "server-tests")]


@pytest.fixture
def channel(our_containerd_module: Daemon) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"unix:{our_containerd_module.address}") as made:
        yield made


def ask(channel: grpc.Channel, path: str, reply: Any, request: Any = None) -> Any:
    call = channel.unary_unary(
        f"/{path}",
        request_serializer=lambda m: m.SerializeToString() if m else b"",
        response_deserializer=reply.FromString,
    )
    return call(request, metadata=NAMESPACE, timeout=30)


def plugins(channel: grpc.Channel, *filters: str) -> dict[str, Any]:
    request = introspection_pb2.PluginsRequest(filters=filters)
    answer = ask(channel, f"{INTROSPECTION}/Plugins", introspection_pb2.PluginsResponse, request)
    return {f"{one.type}.{one.id}": one for one in answer.plugins}


def refused(channel: grpc.Channel, path: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, path, version_pb2.VersionResponse)
    return caught.value.code(), caught.value.details()


def reconfigure(daemon: Daemon, old: str, new: str) -> None:
    path = f"{daemon.directory}/config.toml"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert old in text
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new, 1))


def run(config: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pycontainerd.server.main", "-c", config, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_version_is_the_api_it_keeps_to_and_ours(channel: grpc.Channel) -> None:
    answer = ask(channel, "containerd.services.version.v1.Version/Version", version_pb2.VersionResponse)
    assert re.fullmatch(r"2\.3\.\d+\+pycontainerd\.\d+\.\d+\.\d+", answer.version)


def test_every_plugin_is_listed_with_its_state_and_why(channel: grpc.Channel) -> None:
    rows = plugins(channel)
    assert rows["io.containerd.metadata.v1.bolt"].exports["io.pycontainerd.state"] == "ok"
    assert rows["io.containerd.snapshotter.v1.native"].exports["io.pycontainerd.package"].startswith("pycontainerd ")
    missing = rows["io.containerd.runtime-handler.v1.windows"]
    assert missing.init_err.message.startswith("skip plugin: io.containerd.runtime-handler.v1.windows is not-installed")
    assert "pip install pycontainerd-runtime-windows" in missing.init_err.message
    assert set(plugins(channel, "type==io.containerd.content.v1")) == {"io.containerd.content.v1.content"}
    assert "io.containerd.grpc.v1.version" in plugins(channel, "id==version", "type~=snapshotter")


def test_one_plugin_can_be_asked_for(channel: grpc.Channel) -> None:
    request = introspection_pb2.PluginInfoRequest(type="io.containerd.event.v1", id="exchange")
    answer = ask(channel, f"{INTROSPECTION}/PluginInfo", introspection_pb2.PluginInfoResponse, request)
    assert answer.plugin.id == "exchange"
    wrong = introspection_pb2.PluginInfoRequest(type="io.containerd.event.v1", id="exchagne")
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, f"{INTROSPECTION}/PluginInfo", introspection_pb2.PluginInfoResponse, wrong)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "did you mean io.containerd.event.v1.exchange?" in caught.value.details()


def test_what_is_not_served_is_unimplemented_with_the_reason(channel: grpc.Channel) -> None:
    code, text = refused(channel, "runtime.v1.RuntimeService/Version")
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "io.containerd.grpc.v1.cri is disabled at" in text or "pip install pycontainerd-cri" in text
    code, text = refused(channel, "containerd.services.sandbox.v1.Store/List")
    assert (code, "io.containerd.grpc.v1.sandboxes" in text) == (grpc.StatusCode.UNIMPLEMENTED, True)
    code, text = refused(channel, "no.such.Service/Call")
    assert (code, "no part of containerd's API" in text) == (grpc.StatusCode.UNIMPLEMENTED, True)


def test_health_is_watched_and_unknown_services_are_no_error_there(channel: grpc.Channel) -> None:
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for service, state in (
        ("", "SERVING"),
        ("containerd.services.images.v1.Images", "SERVING"),
        ("x", "SERVICE_UNKNOWN"),
    ):
        stream = watch(health_pb2.HealthCheckRequest(service=service), timeout=30)
        assert health_pb2.HealthCheckResponse.ServingStatus.Name(next(stream).status) == state
        stream.cancel()


def test_a_subscriber_gets_the_events_it_filters_for_published_or_forwarded(channel: grpc.Channel) -> None:
    subscribe = channel.unary_stream(
        "/containerd.services.events.v1.Events/Subscribe",
        request_serializer=events_pb2.SubscribeRequest.SerializeToString,
        response_deserializer=event_pb2.Envelope.FromString,
    )
    wanted = events_pb2.SubscribeRequest(filters=['topic~="^/wanted"', 'topic=="/ready"'])
    stream = subscribe(wanted, metadata=NAMESPACE, timeout=60)
    seen = threading.Event()

    def publish(topic: str) -> None:
        event = AnyMessage(type_url="example/text", value=b"hello")
        request = events_pb2.PublishRequest(topic=topic, event=event)
        ask(channel, "containerd.services.events.v1.Events/Publish", leases_pb2.CreateResponse, request)

    def knock() -> None:
        while not seen.wait(0.02):
            publish("/ready")

    knocking = threading.Thread(target=knock)
    knocking.start()
    try:
        assert next(stream).topic == "/ready"
    finally:
        seen.set()
        knocking.join()
    publish("/other")
    publish("/wanted/one")
    envelope = event_pb2.Envelope(namespace="elsewhere", topic="/wanted/two", event=AnyMessage(type_url="t"))
    envelope.timestamp.GetCurrentTime()
    forward = events_pb2.ForwardRequest(envelope=envelope)
    ask(channel, "containerd.services.events.v1.Events/Forward", leases_pb2.CreateResponse, forward)
    got = []
    while len(got) < 2:
        one = next(stream)
        if one.topic != "/ready":
            got.append((one.topic, one.namespace, one.event.value))
    stream.cancel()
    assert got == [("/wanted/one", "server-tests", b"hello"), ("/wanted/two", "elsewhere", b"")]


def test_a_lease_without_a_name_gets_one_and_holds_images(channel: grpc.Channel) -> None:
    service = "containerd.services.leases.v1.Leases"
    made = ask(channel, f"{service}/Create", leases_pb2.CreateResponse, leases_pb2.CreateRequest()).lease.id
    assert made
    resource = leases_pb2.Resource(type="images", id="docker.io/library/x:1")
    held = leases_pb2.AddResourceRequest(id=made, resource=resource)
    ask(channel, f"{service}/AddResource", leases_pb2.CreateResponse, held)
    request = leases_pb2.ListResourcesRequest(id=made)
    answer = ask(channel, f"{service}/ListResources", leases_pb2.ListResourcesResponse, request)
    assert list(answer.resources) == [resource]


@pytest.mark.interop
def test_the_default_config_of_the_go_containerd_starts_our_daemon(our_containerd: Daemon) -> None:
    our_containerd.stop()
    text = subprocess.run(
        [needs.command("containerd"), "config", "default"], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    place = our_containerd.directory
    for old, new in (
        ('root = "/var/lib/containerd"', f'root = "{place}/root"'),
        ('state = "/run/containerd"', f'state = "{place}/state"'),
        ('address = "/run/containerd/containerd.sock"', f'address = "{our_containerd.address}"'),
        ('path = "/opt/containerd"', f'path = "{place}/opt"'),
    ):
        assert old in text
        text = text.replace(old, new)
    with open(f"{place}/config.toml", "w", encoding="utf-8") as file:
        file.write(text)
    seen = len(our_containerd.log())
    our_containerd.start()
    assert "level=error" not in our_containerd.log()[seen:]
    with grpc.insecure_channel(f"unix:{our_containerd.address}") as channel:
        broken = {uri for uri, one in plugins(channel).items() if "toml:" in one.init_err.message}
    assert broken == set()


def test_a_disabled_service_answers_with_the_line_that_disabled_it(our_containerd: Daemon) -> None:
    our_containerd.stop()
    uri = "io.containerd.grpc.v1.images"
    reconfigure(
        our_containerd, "disabled_plugins = [", f'disabled_plugins = [\n  "{uri}", "io.containerd.grpc.v1.imagse",'
    )
    our_containerd.start()
    with grpc.insecure_channel(f"unix:{our_containerd.address}") as channel:
        code, text = refused(channel, "containerd.services.images.v1.Images/List")
        health = health_pb2.HealthCheckRequest(service="containerd.services.images.v1.Images")
        state = ask(channel, "grpc.health.v1.Health/Check", health_pb2.HealthCheckResponse, health).status
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert f"{uri} is disabled at {our_containerd.directory}/config.toml:5" in text
    assert state == health_pb2.HealthCheckResponse.NOT_SERVING
    assert f"did you mean {uri}?" in our_containerd.log().replace("\\", "")


def test_one_sentence_is_in_the_log_in_ctr_in_go_clients_and_in_the_answer_of_the_service(
    our_containerd: Daemon,
) -> None:
    our_containerd.stop()
    reconfigure(our_containerd, "disabled_plugins = [", 'disabled_plugins = [\n\n  "io.containerd.content.v1.content",')
    our_containerd.start()
    sentence = (
        "io.containerd.grpc.v1.transfer <- io.containerd.transfer.v1.local <- io.containerd.service.v1.content-service"
        f" <- io.containerd.content.v1.content: disabled at {our_containerd.directory}/config.toml:6"
    )
    assert sentence in our_containerd.log()
    ours, theirs = Ctr(OURS, our_containerd.address), Ctr([needs.command("ctr")], our_containerd.address)
    assert ours("plugins", "why", "io.containerd.grpc.v1.transfer").strip() == sentence
    assert sentence in theirs("plugins", "ls", "-d", "id==transfer")
    assert "skip" in theirs("plugins", "ls", "type==io.containerd.content.v1")
    with grpc.insecure_channel(f"unix:{our_containerd.address}") as channel:
        code, text = refused(channel, "containerd.services.transfer.v1.Transfer/Transfer")
    assert (code, text) == (
        grpc.StatusCode.UNIMPLEMENTED,
        f"unknown service containerd.services.transfer.v1.Transfer: {sentence}",
    )


def test_the_config_that_dockers_packages_bring_starts_without_a_warning(our_containerd: Daemon) -> None:
    our_containerd.stop()
    with open(f"{our_containerd.directory}/config.toml", "w", encoding="utf-8") as file:
        file.write(f'disabled_plugins = ["cri"]\nroot = "{our_containerd.root}"\nstate = "{our_containerd.state}"\n')
        file.write(f'[grpc]\naddress = "{our_containerd.address}"\n')
    seen = len(our_containerd.log())
    our_containerd.start()
    assert "is not a plugin known here" not in our_containerd.log()[seen:]


def test_its_identity_lasts_and_its_sockets_go_with_it(our_containerd: Daemon) -> None:
    def identity() -> str:
        with grpc.insecure_channel(f"unix:{our_containerd.address}") as channel:
            answer = ask(channel, f"{INTROSPECTION}/Server", introspection_pb2.ServerResponse)
            assert answer.pid == our_containerd.pid
            return str(answer.uuid)

    before = identity()
    assert our_containerd.stop() == 0
    assert not os.path.exists(our_containerd.address)
    assert not os.path.exists(f"{our_containerd.address}.ttrpc")
    our_containerd.start()
    assert identity() == before


def test_a_second_daemon_on_the_same_socket_ends_and_says_why(our_containerd_module: Daemon, tmp_path: Any) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'version = 3\nroot = "{tmp_path}/root"\nstate = "{tmp_path}/state"\n')
    done = run(str(config), "-a", our_containerd_module.address)
    assert done.returncode == 1
    assert f"another process is listening on {our_containerd_module.address}" in done.stderr
    assert os.path.exists(our_containerd_module.address)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = 3\nroot = 5\n", ":2: root must be a str, not 5"),
        ("version = 3\ndisabled_plugins = 5\n", ":2: disabled_plugins must be a list, not 5"),
        ("version = 9\n", "version = 9 is not one this daemon reads"),
        ("version = [\n", "config.toml:2: "),
        ('version = 3\nroot = "/proc/none"\n', "cannot make the directory /proc/none"),
        (
            (
                'version = 3\nrequired_plugins = ["io.containerd.grpc.v1.diff"]\nroot = "{d}/r"\nstate = "{d}/s"\n'
                'disabled_plugins = ["io.containerd.differ.v1.walking"]\n'
            ),
            (
                "io.containerd.grpc.v1.diff <- io.containerd.service.v1.diff-service <- io.containerd.differ.v1.walking:"
                " disabled at {d}/config.toml:5; it is required at {d}/config.toml:2"
            ),
        ),
        (
            'version = 3\nrequired_plugins = ["io.containerd.snapshotter.v1.natvie"]\nroot = "{d}/r"\nstate = "{d}/s"\n',
            "did you mean io.containerd.snapshotter.v1.native?; it is required at",
        ),
    ],
)
def test_a_config_that_cannot_be_used_ends_the_start_with_one_sentence(tmp_path: Any, text: str, message: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text.replace("{d}", str(tmp_path)))
    done = run(str(config), "-a", f"{tmp_path}/c.sock")
    assert done.returncode == 1
    assert message.replace("{d}", str(tmp_path)) in done.stderr
    assert "Traceback" not in done.stderr
