"""The log's lines, sd_notify, and the sentence for what is not served."""

from __future__ import annotations

import io
import json
import logging
import socket

import pytest

from pycontainerd.kernel import Report, Row, State
from pycontainerd.server.logs import JsonFormatter, TextFormatter
from pycontainerd.server.sdnotify import notify
from pycontainerd.server.services import PLUGINS, explainer


def line(formatter, message, **fields):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.getLogger("pycontainerd.test-of-lines")
    log.handlers[:], log.propagate = [handler], False
    log.warning(message, extra={"fields": fields})
    return stream.getvalue()


def test_a_line_of_text_quotes_what_needs_it():
    made = line(TextFormatter(), 'a "b"\nc', plugin="io.x.v1.a", n=5, path="/a b")
    assert made.count("\n") == 1
    assert 'level=warning msg="a \\"b\\"\\nc" plugin=io.x.v1.a n=5 path="/a b"' in made


def test_a_line_of_json_is_one_object():
    made = json.loads(line(JsonFormatter(), "ü", plugin="p", error=ValueError("x")))
    assert (made["level"], made["msg"], made["plugin"], made["error"]) == ("warning", "ü", "p", "x")


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told(tmp_path, monkeypatch, abstract):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"pyc-{tmp_path.name}-{id(manager)}" if abstract else str(tmp_path / "n")
        manager.bind(f"\0{name}" if abstract else name)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        notify("READY=1", "STATUS=serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=serving"


def test_without_a_service_manager_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")


@pytest.mark.parametrize("service", sorted(PLUGINS))
def test_every_service_that_is_missing_is_explained_by_its_plugin(service):
    uri = PLUGINS[service]
    type, _, id = uri.rpartition(".")
    broken = Row(uri=uri, type=type, id=id, state=State.FAILED, cause="no disk")
    assert f"{uri} is failed: no disk" in explainer(lambda: Report({uri: broken}))(f"/{service}/X")
    assert f"has no plugin {uri}" in explainer(lambda: Report({}))(f"/{service}/X")
    fine = Row(uri=uri, type=type, id=id, state=State.OK)
    assert explainer(lambda: Report({uri: fine}))(f"/{service}/X").startswith(f"{service} has no method X")
