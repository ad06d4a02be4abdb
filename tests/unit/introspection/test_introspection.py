"""The daemon's identity, and the report as clients see it."""

from __future__ import annotations

import uuid

import attrs
import pytest

from pycontainerd.api.convert import platform_message
from pycontainerd.contracts.errors import DataLoss, InvalidArgument
from pycontainerd.contracts.platforms import default_platform
from pycontainerd.contracts.service import Call
from pycontainerd.introspection.introspection import identity, select
from pycontainerd.introspection.service import IntrospectionService, _plugin
from pycontainerd.kernel import Report, Row, State


def row(id, state=State.OK, **kwargs):
    return Row(uri=f"t.v1.{id}", type="t.v1", id=id, state=state, **kwargs)


def report(*rows):
    return Report({one.uri: one for one in rows})


def test_the_identity_is_made_once(tmp_path):
    made = identity(str(tmp_path))
    assert uuid.UUID(made)
    assert identity(str(tmp_path)) == made
    assert [path.name for path in tmp_path.iterdir()] == ["uuid"]


def test_an_identity_that_is_damaged_is_said_and_not_replaced(tmp_path):
    (tmp_path / "uuid").write_text("not one")
    with pytest.raises(DataLoss, match="does not hold a UUID"):
        identity(str(tmp_path))
    assert (tmp_path / "uuid").read_text() == "not one"


def test_rows_are_found_by_type_id_state_and_capabilities():
    made = report(row("a", capabilities=["x"]), row("b", State.FAILED, cause="no"))
    assert [one.id for one in select(made, ["id==a"])] == ["a"]
    assert [one.id for one in select(made, ["state==failed"])] == ["b"]
    assert [one.id for one in select(made, ["capabilities~=x"])] == ["a"]
    assert len(select(made, ["type==t.v1"])) == 2
    assert select(made, ["colour"]) == []
    with pytest.raises(InvalidArgument):
        select(made, ["id=="])


@pytest.mark.parametrize("state", [one for one in State if one is not State.OK])
def test_every_state_but_ok_travels_with_its_sentence(tmp_path, state):
    made = report(row("a", state, cause="because", distribution="d", version="1"))
    from pycontainerd.api.services.introspection.v1 import introspection_pb2 as pb

    answer = IntrospectionService(str(tmp_path), lambda: made).Plugins(pb.PluginsRequest(), Call())
    (plugin,) = answer.plugins
    assert plugin.init_err.code
    assert plugin.init_err.message.endswith(made.rows["t.v1.a"].sentence)
    # What Go's ctr looks for to print «skip» instead of «error».
    assert ("skip plugin" in plugin.init_err.message) == (state not in (State.FAILED, State.BLOCKED))
    assert plugin.exports["io.pycontainerd.package"] == "d 1"


def test_what_the_api_has_no_field_for_travels_as_exports():
    plugin = _plugin(
        row(
            "a",
            State.BLOCKED,
            wants=("s.v1", "t.v1"),
            import_seconds=0.25,
            links={"t.v1.a": "t.v1.b", "t.v1.b": "t.v1.c"},
            exports={"root": "/r"},
        )
    )
    told = {key.removeprefix("io.pycontainerd."): value for key, value in plugin.exports.items()}
    assert told == {
        "root": "/r",
        "state": "blocked",
        "wants": "s.v1 t.v1",
        "blocked-by": "t.v1.b",
        "seconds": "0.2500 0.0000",
    }


def test_a_snapshotter_is_of_this_machines_platform_and_another_systems_of_that():
    here = platform_message(default_platform())
    snapshotter = attrs.evolve(row("a"), type="io.containerd.snapshotter.v1")
    assert list(_plugin(snapshotter).platforms) == [here]
    assert list(_plugin(attrs.evolve(row("a"), platforms=["linux"])).platforms) == [here]
    assert [one.os for one in _plugin(attrs.evolve(row("a", State.SKIPPED), platforms=["windows"])).platforms] == [
        "windows"
    ]
    assert list(_plugin(row("a")).platforms) == []
