"""I/O over FIFOs, with the other side played here."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pycontainerd.client.fifo import Descriptors, Pump, attach, make_fifos
from pycontainerd.contracts.errors import FailedPrecondition
from pycontainerd.contracts.runtime import Stdio


def pipes() -> tuple[int, int]:
    return os.pipe2(os.O_CLOEXEC)


def test_fifos_are_made_only_for_what_is_wanted(tmp_path: Path) -> None:
    stdio, directory = make_fifos("id", Descriptors(0, 1, 2), str(tmp_path))
    assert sorted(os.listdir(directory)) == ["id-stderr", "id-stdin", "id-stdout"]
    terminal, _ = make_fifos("id", Descriptors(0, 1, 2, terminal=True), str(tmp_path))
    assert stdio.stderr
    assert terminal.stderr == ""
    assert terminal.terminal


def test_output_comes_whole_and_the_directory_goes(tmp_path: Path) -> None:
    stdio, directory = make_fifos("id", Descriptors(stdout=1), str(tmp_path))
    reading, writing = pipes()
    pump = Pump(stdio, Descriptors(stdout=writing), directory=directory)
    data = os.urandom(300_000)
    got = bytearray()

    def read() -> None:
        while len(got) < len(data):
            got.extend(os.read(reading, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    with open(stdio.stdout, "wb") as process:
        process.write(data)
    assert pump.wait_output(10)
    reader.join(10)
    pump.close()
    assert bytes(got) == data
    assert not os.path.exists(directory)
    os.close(reading)
    os.close(writing)


def test_the_end_of_input_is_told_after_all_of_it_is_written(tmp_path: Path) -> None:
    stdio, directory = make_fifos("id", Descriptors(stdin=0), str(tmp_path))
    reading, writing = pipes()
    ended = threading.Event()
    pump = Pump(stdio, Descriptors(stdin=reading), directory=directory, on_stdin_end=ended.set)
    os.write(writing, b"hello")
    os.close(writing)
    with open(stdio.stdin, "rb") as process:
        assert process.read() == b"hello"
    assert ended.wait(10)
    pump.close()
    os.close(reading)


def test_closing_does_not_wait_for_a_side_that_never_comes(tmp_path: Path) -> None:
    stdio, directory = make_fifos("id", Descriptors(0, 1, 2), str(tmp_path))
    reading, writing = pipes()
    pump = Pump(stdio, Descriptors(reading, writing, writing), directory=directory)
    pump.close()
    assert pump.wait_output(10)
    assert not os.path.exists(directory)
    os.close(reading)
    os.close(writing)


def test_a_reader_that_has_gone_does_not_stop_the_process(tmp_path: Path) -> None:
    stdio, directory = make_fifos("id", Descriptors(stdout=1), str(tmp_path))
    reading, writing = pipes()
    os.close(reading)
    pump = Pump(stdio, Descriptors(stdout=writing), directory=directory)
    with open(stdio.stdout, "wb") as process:
        process.write(b"x" * 200_000)
    assert pump.wait_output(10)
    pump.close()
    os.close(writing)


def test_attaching_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="no FIFOs"):
        attach(Stdio(), Descriptors())
    with pytest.raises(FailedPrecondition, match="not there"):
        attach(Stdio(stdout=f"{tmp_path}/gone"), Descriptors(stdout=1))
