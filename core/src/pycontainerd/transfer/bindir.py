"""``io.containerd.image-verifier.v1.bindir``: image verifiers that are programs, as the Go containerd has them.

A program gets ``-name NAME -digest DIGEST -stdin-media-type TYPE`` and the descriptor as JSON on standard input. Exit status 0
is a yes; standard output is the reason. Whatever else comes of it (no start, no end in time, a signal) is a no.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from pycontainerd.contracts.durations import parse
from pycontainerd.contracts.hooks import Candidate, Judgement, hook
from pycontainerd.kernel.context import Logger

from .contents import as_json
from .limits import BindirConfig

MEDIA_TYPE = "application/vnd.oci.descriptor.v1+json"
MAX_OUTPUT = 1 << 15  # bytes; the rest is thrown away
_GRACE = 1.0  # seconds for output that is still on its way


class BindirVerifier:
    """Asks all programs, beside each other; every one must say yes."""

    def __init__(self, config: BindirConfig, log: Logger) -> None:
        self._config = config
        self._timeout = parse(config.per_verifier_timeout)
        self._log = log

    @hook
    def verify_image(self, image: Candidate) -> Judgement:
        programs = self._programs()
        if not programs:
            return Judgement(True)
        with ThreadPoolExecutor(len(programs), thread_name_prefix="verifier") as pool:
            answers = list(pool.map(lambda name: self._ask(name, image), programs))
        for name, answer in zip(programs, answers, strict=True):
            if not answer.ok:
                return Judgement(False, f"{name}: {answer.reason or 'it gives no reason'}")
        return Judgement(True, ", ".join(f"{name}: {one.reason}" for name, one in zip(programs, answers, strict=True)))

    def _programs(self) -> list[str]:
        """Their names. A directory that is there and cannot be read is an error, and so a no."""
        try:
            names = sorted(os.listdir(self._config.bin_dir))
        except FileNotFoundError:
            return []
        limit = self._config.max_verifiers
        if 0 <= limit < len(names):
            self._log.warning("image verifiers are passed over", max_verifiers=limit, programs=", ".join(names[limit:]))
            return names[:limit]
        return names

    def _ask(self, name: str, image: Candidate) -> Judgement:
        command = [os.path.join(self._config.bin_dir, name), "-name", image.name, "-digest", image.target.digest]
        try:
            status, said = self._run([*command, "-stdin-media-type", MEDIA_TYPE], json.dumps(as_json(image.target)))
        except subprocess.TimeoutExpired:
            return Judgement(False, f"it did not end within {self._config.per_verifier_timeout}")
        except OSError as exc:
            return Judgement(False, f"it cannot be run: {exc.strerror or exc}")
        if status != 0:
            end = f"exit status {status}" if status > 0 else f"signal {-status}"
            return Judgement(False, f"{said or 'it gives no reason'} ({end})")
        return Judgement(True, said)

    def _run(self, command: Sequence[str], payload: str) -> tuple[int, str]:
        """Exit status and output. Nothing that the program started is left.

        :raises TimeoutExpired: it takes too long.
        """
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        said, complained = _Output(process.stdout), _Output(process.stderr)
        try:
            # It fits into the pipe, so this does not wait for a program that does not read.
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
                stdin.write(payload.encode())
            status = process.wait(self._timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            out, errors = said.end(), complained.end()
        for line in errors.splitlines():
            self._log.debug("image verifier", program=command[0], stderr=line)
        return status, out


class _Output:
    """What comes out of a pipe: the first of it kept, all of it taken."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._drain, daemon=True, name="verifier output")
        self._thread.start()

    def _drain(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._pipe:
            while data := os.read(self._pipe.fileno(), 1 << 16):
                self._kept += data[: max(0, MAX_OUTPUT - len(self._kept))]

    def end(self) -> str:
        """What was kept. Who left our session and holds the pipe open is not waited for."""
        self._thread.join(_GRACE)
        return bytes(self._kept).decode(errors="replace").strip()
