"""A real registry (docker-registry, the CNCF distribution) on a random port of the loopback interface."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Self

from pycontainerd.contracts.errors import DeadlineExceeded, FailedPrecondition

from .images import Image

_CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {directory}/data}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_ATTEMPTS = 5
_READY = 20.0


class Registry:
    """Serves from a directory of its own until `close`. Images get in with `put`."""

    def __init__(self, executable: str = "docker-registry") -> None:
        self._executable = executable
        self._directory = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.host = ""

    def __enter__(self) -> Self:
        self._directory = tempfile.mkdtemp(prefix="pyc-registry-", dir="/tmp")
        for attempt in range(_ATTEMPTS):  # someone else may take the port before the registry does
            try:
                self._start()
                return self
            except BaseException as exc:
                if not isinstance(exc, FailedPrecondition) or attempt == _ATTEMPTS - 1:
                    self.close()
                    raise
        raise AssertionError

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        path = f"{self._directory}/config.yml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(_CONFIG.format(directory=self._directory, port=port))
        with open(f"{self._directory}/log", "ab") as log:
            self._process = subprocess.Popen(
                [self._executable, "serve", path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )
        end = time.monotonic() + _READY
        while self._request("GET", "/v2/")[0] != http.HTTPStatus.OK:
            if self._process.poll() is not None:
                raise FailedPrecondition(f"the registry ended early:\n{self.log()}")
            if time.monotonic() > end:
                raise DeadlineExceeded(f"the registry does not answer on {self.host}:\n{self.log()}")
            time.sleep(0.02)

    def log(self) -> str:
        with open(f"{self._directory}/log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def put(self, repository: str, tag: str, image: Image) -> str:
        """Store ``image``; returns the reference to pull it by."""
        manifests = {digest for digest, data in image.blobs.items() if _media_type(data)}
        for digest in sorted(image.blobs.keys() - manifests):
            self._upload(repository, digest, image.blobs[digest])
        # What an index names must be there before it.
        for digest in sorted(manifests - {image.target.digest}):
            self._manifest(repository, digest, image.blobs[digest])
        self._manifest(repository, tag, image.target.data)
        return f"{self.host}/{repository}:{tag}"

    def _upload(self, repository: str, digest: str, data: bytes) -> None:
        status, headers = self._request("POST", f"/v2/{repository}/blobs/uploads/")
        location = headers.get("location", "")
        if status != http.HTTPStatus.ACCEPTED or not location:
            raise FailedPrecondition(f"the registry does not take blobs: {status}")
        path = location.partition(self.host)[2] or location
        joint = "&" if "?" in path else "?"
        status, _ = self._request("PUT", f"{path}{joint}digest={digest}", data, "application/octet-stream")
        if status != http.HTTPStatus.CREATED:
            raise FailedPrecondition(f"the registry refuses blob {digest}: {status}")

    def _manifest(self, repository: str, reference: str, data: bytes) -> None:
        status, _ = self._request("PUT", f"/v2/{repository}/manifests/{reference}", data, _media_type(data))
        if status != http.HTTPStatus.CREATED:
            raise FailedPrecondition(f"the registry refuses manifest {repository}:{reference}: {status}\n{self.log()}")

    def _request(self, method: str, path: str, body: bytes = b"", media_type: str = "") -> tuple[int, dict[str, str]]:
        """The status (0 where nobody answers) and the headers by lower-case name."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
            response = connection.getresponse()
            response.read()
            return response.status, {key.lower(): value for key, value in response.getheaders()}
        except OSError:
            return 0, {}
        finally:
            connection.close()

    def close(self) -> None:
        """End it and remove its directory."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)


def _media_type(data: bytes) -> str:
    """The media type that a manifest or index states; "" of anything else."""
    try:
        found = json.loads(data)
    except ValueError:
        return ""
    return str(found.get("mediaType", "")) if isinstance(found, dict) else ""
