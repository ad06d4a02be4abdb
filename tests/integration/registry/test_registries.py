"""Pulling from and pushing to the real registry: plain, with TLS of a CA of our own, with a login; and from liars."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pycontainerd.client import Client
from pycontainerd.client.transfer import Auth, ImageOptions, Registry
from pycontainerd.contracts.errors import (
    ContainerdError,
    DataLoss,
    InvalidArgument,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from pycontainerd.contracts.platforms import default_platform
from pycontainerd.testing import images, needs


def new_image():
    """An image that no namespace has any blob of: those of another namespace are not fetched again."""
    return images.image(
        [images.layer([images.Node("a", os.urandom(200_000))]), images.layer([images.Node("b", os.urandom(9))])]
    )


IMAGE = new_image()
LAYER = IMAGE.layers[0].blob
SECRET = "hunter2-secret"


@contextlib.contextmanager
def secure_registry():
    """docker-registry with TLS and a login: its host, and a directory for hosts.toml that has its CA."""
    executable, openssl, htpasswd = (
        needs.command("docker-registry"),
        needs.command("openssl"),
        needs.command("htpasswd"),
    )
    with tempfile.TemporaryDirectory(prefix="pyc-", dir="/tmp") as top:

        def run(*argv):
            return subprocess.run(argv, cwd=top, check=True, capture_output=True, timeout=60).stdout

        new = (openssl, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        run(*new, "-x509", "-days", "2", "-subj", "/CN=test ca", "-keyout", "ca.key", "-out", "ca.pem")
        run(*new, "-subj", "/CN=registry", "-keyout", "r.key", "-out", "r.csr")
        with open(f"{top}/ext", "w") as file:
            file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        run(openssl, "x509", "-req", "-days", "2", "-in", "r.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-extfile", "ext", "-out", "r.pem")  # fmt: skip
        with open(f"{top}/users", "wb") as users:
            users.write(run(htpasswd, "-Bbn", "-C", "4", "user", SECRET))
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        with open(f"{top}/config.yml", "w") as file:
            file.write(
                f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {top}/data}}}}\n"
                f"http: {{addr: '127.0.0.1:{port}', tls: {{certificate: {top}/r.pem, key: {top}/r.key}}}}\n"
                f"auth: {{htpasswd: {{realm: test, path: {top}/users}}}}\n"
            )
        hosts = f"{top}/certs.d/127.0.0.1_{port}_"
        os.makedirs(hosts)
        with open(f"{hosts}/hosts.toml", "w") as file:
            file.write(f'server = "https://127.0.0.1:{port}"\nca = "{top}/ca.pem"\n')
        with open(f"{top}/log", "wb") as log:
            process = subprocess.Popen([executable, "serve", f"{top}/config.yml"], stdout=log, stderr=log)
        try:
            end = time.monotonic() + 20
            while time.monotonic() < end and process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield f"127.0.0.1:{port}", f"{top}/certs.d"
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def secure():
    with secure_registry() as found:
        yield found


class Liar(ThreadingHTTPServer):
    """A registry that serves an image of its own, but answers ``lies[path]`` (called with the handler) where there is one."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.lies = {}
        self.image = new_image()
        self.layer = self.image.layers[0].blob
        self.seen = []

    def reference(self, tag="1"):
        return f"{self.host}/a/b:{tag}"

    @contextlib.contextmanager
    def serving(self):
        thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        name = self.path.partition("?")[0].rpartition("/")[2]
        lie = self.server.lies.get(name)
        if lie is not None:
            lie(self)
        elif name == "1":
            self.reply(
                200,
                self.server.image.target.data,
                type=self.server.image.target.media_type,
                digest=self.server.image.target.digest,
            )
        elif name in self.server.image.blobs:
            self.reply(200, self.server.image.blobs[name], type="application/octet-stream", digest=name)
        else:
            self.reply(404, b"")

    do_HEAD = do_GET

    def reply(self, status, body, *, type="", digest="", length=None, **headers):
        self.send_response(status)
        for key, value in {"Content-Type": type, "Docker-Content-Digest": digest, **headers}.items():
            if value:
                self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def liar():
    with Liar().serving() as server:
        yield server


@pytest.fixture
def daemon(our_containerd_module):
    return our_containerd_module


def work(daemon, function, namespace):
    async def run():
        async with Client(daemon.address, namespace=namespace) as client:
            return await function(client)

    return asyncio.run(run())


async def state(client):
    """Everything that a failed pull must not leave."""
    return {
        "images": [one.name async for one in _each(client.images.list())],
        "leases": [one.id async for one in _each(client.leases.list())],
        "ingests": [one.ref async for one in _each(client.content.statuses())],
        "snapshots": [one.name async for one in _each(client.snapshots("").walk())],
    }


async def _each(source):
    if hasattr(source, "__aiter__"):
        async for item in source:
            yield item
    else:
        for item in await source:
            yield item


def options():
    return ImageOptions(platforms=[default_platform()], unpack=[""], unpack_platform=default_platform())


def pull(daemon, namespace, source, name="r.test/pulled:1"):
    async def run(client):
        await client.transfer.pull(source, name, options(), lambda _: None)
        return await client.images.get(name), await state(client)

    return work(daemon, run, namespace)


def fails(daemon, namespace, source, error):
    """Pull ``source``, which must fail with ``error`` and leave nothing; the error."""
    before = work(daemon, state, namespace)
    with pytest.raises(error) as caught:
        pull(daemon, namespace, source)
    assert work(daemon, state, namespace) == before
    return str(caught.value)


def test_an_image_is_pulled_unpacked_and_named(daemon, registry):
    image, after = pull(daemon, "plain", Registry(registry.put("test/a", "1", IMAGE)))
    assert image.target.digest == IMAGE.target.digest
    assert (len(after["snapshots"]), after["leases"], after["ingests"]) == (2, [], [])

    async def labels(client):
        return [(await client.content.info(digest)).labels for digest in (IMAGE.target.digest, IMAGE.config.digest)]

    manifest, config = work(daemon, labels, "plain")
    assert manifest["containerd.io/gc.ref.content.config"] == IMAGE.config.digest
    assert manifest["containerd.io/gc.ref.content.l.0"] == LAYER.digest
    assert manifest["containerd.io/distribution.source.127.0.0.1"] == "test/a"
    assert config[next(key for key in config if key.startswith("containerd.io/gc.ref.snapshot."))] in after["snapshots"]


def test_the_same_image_is_pulled_by_many_at_once(daemon, registry):
    source = Registry(registry.put("test/many", "1", IMAGE))

    async def run(client):
        await asyncio.gather(*(client.transfer.pull(source, f"r.test/many:{n}", options()) for n in range(6)))
        return await state(client)

    after = work(daemon, run, "many")
    assert (len(after["images"]), len(after["snapshots"]), after["leases"], after["ingests"]) == (6, 2, [], [])


def test_an_index_is_pulled_for_one_platform_or_with_the_metadata_of_all(daemon, registry):
    source = Registry(registry.put("test/index", "1", images.multi_platform()))

    async def run(client):
        await client.transfer.pull(source, "r.test/one:1", options())
        one = len([info async for info in _each(client.content.walk())])
        wanted = ImageOptions(platforms=[default_platform()], all_metadata=True)
        await client.transfer.pull(source, "r.test/all:1", wanted)
        return one, len([info async for info in _each(client.content.walk())])

    assert work(daemon, run, "index") == (5, 9)


def test_a_registry_with_tls_and_a_login_is_pushed_to_and_pulled_from(daemon, registry, secure):
    host, hosts_dir = secure
    pull(daemon, "tls", Registry(registry.put("test/tls", "1", IMAGE)))
    target = Registry(f"{host}/made/here:1", Auth("user", SECRET), hosts_dir)
    work(daemon, lambda client: client.transfer.push("r.test/pulled:1", target), "tls")
    image, _ = pull(daemon, "tls2", target)
    assert image.target.digest == IMAGE.target.digest


@pytest.mark.parametrize("auth", [None, Auth("user", "wrong-secret"), Auth("nobody", SECRET)])
def test_a_login_that_fails_says_so_without_the_secret(daemon, secure, auth):
    host, hosts_dir = secure
    message = fails(daemon, "login", Registry(f"{host}/made/here:1", auth, hosts_dir), Unauthenticated)
    assert host in message
    assert SECRET not in message + daemon.log()
    assert "wrong-secret" not in message + daemon.log()


def test_a_certificate_of_an_unknown_ca_is_refused(daemon, secure, tmp_path):
    host, _ = secure
    directory = tmp_path / host.replace(":", "_").join(["", "_"])
    directory.mkdir()
    (directory / "hosts.toml").write_text(f'server = "https://{host}"\nskip_verify = false\n')
    message = fails(daemon, "tls", Registry(f"{host}/made/here:1", None, str(tmp_path)), Unavailable)
    assert "certificate" in message


def test_a_reference_that_is_not_there_is_not_found(daemon, registry, liar):
    fails(daemon, "missing", Registry(f"{registry.host}/no/such:1"), NotFound)
    fails(daemon, "missing", Registry(liar.reference("2")), NotFound)


def test_a_blob_that_is_missing_is_not_found(daemon, liar):
    liar.lies[liar.layer.digest] = lambda handler: handler.reply(404, b"")
    assert liar.layer.digest in fails(daemon, "lies", Registry(liar.reference()), NotFound)


@pytest.mark.parametrize("kind", ["layer", "config", "manifest"])
def test_a_blob_with_another_digest_is_data_loss(daemon, liar, kind):
    target = {"layer": liar.layer, "config": liar.image.config, "manifest": liar.image.target}[kind]
    liar.lies[target.digest] = lambda handler: handler.reply(200, bytes(len(target.data)), type=target.media_type)
    assert target.digest in fails(daemon, "lies", Registry(liar.reference()), DataLoss)


def test_a_blob_that_goes_on_too_long_is_data_loss(daemon, liar):
    liar.lies[liar.layer.digest] = lambda handler: handler.reply(200, liar.layer.data + b"more")
    assert "longer" in fails(daemon, "lies", Registry(liar.reference()), DataLoss)


def test_a_blob_that_ends_early_is_taken_up_where_it_broke(daemon, liar):
    ranges = []

    def lie(handler):
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        ranges.append(start)
        half = liar.layer.data[start : start + len(liar.layer.data) // 3]
        status, header = (
            (206, f"bytes {start}-{len(liar.layer.data) - 1}/{len(liar.layer.data)}") if start else (200, "")
        )
        handler.reply(status, half, length=len(liar.layer.data) - start, Content_Range=header)
        handler.close_connection = True

    liar.lies[liar.layer.digest] = lie
    image, after = pull(daemon, "broken", Registry(liar.reference()))
    assert image.target.digest == liar.image.target.digest
    assert len(ranges) > 2
    assert after["ingests"] == []


def test_a_blob_that_always_ends_early_is_an_error(daemon, liar):
    def lie(handler):
        handler.reply(200, b"", length=len(liar.layer.data))
        handler.close_connection = True

    liar.lies[liar.layer.digest] = lie
    fails(daemon, "lies", Registry(liar.reference()), ContainerdError)


def test_a_registry_that_recovers_is_waited_for(daemon, liar):
    answers = iter([500, 503])

    def lie(handler):
        status = next(answers, 200)
        handler.reply(status, liar.layer.data if status == 200 else b"")

    liar.lies[liar.layer.digest] = lie
    pull(daemon, "recovers", Registry(liar.reference()))


@pytest.mark.parametrize("size", [100 << 20, 9 << 20])
def test_a_huge_manifest_is_refused_before_it_is_fetched(daemon, liar, size):
    def lie(handler):
        handler.reply(200, b"", type=liar.image.target.media_type, digest=liar.image.target.digest, length=size)
        handler.close_connection = True

    liar.lies["1"] = lie
    assert "limit" in fails(daemon, "lies", Registry(liar.reference()), InvalidArgument)


def test_a_manifest_without_end_is_refused(daemon, liar):
    def lie(handler):
        if handler.command == "HEAD":
            handler.reply(405, b"")
            return
        handler.send_response(200)
        handler.send_header("Content-Type", liar.image.target.media_type)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            for _ in range(200):
                handler.wfile.write(bytes(1 << 20))

    liar.lies["1"] = lie
    assert "limit" in fails(daemon, "lies", Registry(liar.reference()), InvalidArgument)


@pytest.mark.parametrize("media_type", ["text/html", "application/vnd.docker.distribution.manifest.v1+prettyjws", ""])
def test_what_is_no_manifest_is_refused(daemon, liar, media_type):
    liar.lies["1"] = lambda handler: handler.reply(200, b"{}", type=media_type, digest=liar.image.target.digest)
    fails(daemon, "lies", Registry(liar.reference()), ContainerdError)


def test_nothing_secret_follows_a_redirect_to_another_host(daemon, liar):
    with Liar().serving() as other:
        other.image = liar.image
        liar.lies[liar.layer.digest] = lambda handler: handler.reply(
            307, b"", Location=f"http://localhost:{other.server_address[1]}/x/{liar.layer.digest}?sig={SECRET}"
        )

        def login(handler):
            if handler.headers.get("Authorization"):
                handler.reply(
                    200, liar.image.target.data, type=liar.image.target.media_type, digest=liar.image.target.digest
                )
            else:
                handler.reply(401, b"", WWW_Authenticate='Basic realm="x"')

        liar.lies["1"] = login
        source = Registry(liar.reference(), Auth("user", SECRET), headers={"X-Secret": "1"})
        pull(daemon, "redirect", source)
        ((_, path, headers),) = other.seen
        assert liar.layer.digest in path
        assert not {"Authorization", "X-Secret"} & set(headers)


def test_a_signed_url_is_not_in_errors(daemon, liar):
    liar.lies[liar.layer.digest] = lambda handler: handler.reply(307, b"", Location=f"/x/y?sig={SECRET}")
    message = fails(daemon, "signed", Registry(liar.reference()), ContainerdError)
    assert "/x/y" in message
    assert SECRET not in message + daemon.log()


def test_a_token_is_asked_for_the_repository_and_used(daemon, liar):
    def protected(handler):
        if handler.headers.get("Authorization") == "Bearer t0k":
            handler.reply(
                200, liar.image.target.data, type=liar.image.target.media_type, digest=liar.image.target.digest
            )
        else:
            realm = f'Bearer realm="http://{liar.host}/token",service="s",scope="repository:a/b:pull"'
            handler.reply(401, b"", WWW_Authenticate=realm)

    liar.lies |= {
        "1": protected,
        "token": lambda handler: handler.reply(200, b'{"token": "t0k"}', type="application/json"),
    }
    pull(daemon, "token", Registry(liar.reference()))
    (asked,) = [path for _, path, _ in liar.seen if path.startswith("/token")]
    assert asked == "/token?service=s&scope=repository%3Aa%2Fb%3Apull"


def test_mirrors_are_tried_in_order_and_the_server_last(daemon, liar, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        directory = tmp_path / "far.test"
        directory.mkdir()
        (directory / "hosts.toml").write_text(
            f'server = "http://{liar.host}"\n[host."http://127.0.0.1:{closed.getsockname()[1]}"]\n'
        )
        image, _ = pull(daemon, "mirror", Registry("far.test/a/b:1", hosts_dir=str(tmp_path)))
    assert image.target.digest == liar.image.target.digest
    assert all("ns=far.test" in path for _, path, _ in liar.seen)


def test_a_hosts_toml_that_is_wrong_is_an_error_that_names_it(daemon, tmp_path):
    directory = tmp_path / "_default"
    directory.mkdir()
    (directory / "hosts.toml").write_text("capabilities = [5]")
    assert "hosts.toml" in fails(daemon, "hosts", Registry("r.test/a:1", hosts_dir=str(tmp_path)), InvalidArgument)
