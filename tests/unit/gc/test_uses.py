"""When images were last used, and that it is not forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pycontainerd.contracts.events import ContainerCreate, ContainerDelete, TaskStart
from pycontainerd.contracts.gc import Node
from pycontainerd.events.exchange import Exchange
from pycontainerd.kernel.context import Logger
from pycontainerd_gc.uses import Uses

LOG = Logger("test")


def used(path: Path, containers: dict[Node, str]) -> Uses:
    return Uses(str(path / "uses.db"), lambda node: containers.get(node, ""), LOG)


def test_the_use_of_an_image_outlives_the_daemon(tmp_path: Path) -> None:
    image = Node("images", "n", "i")
    uses = used(tmp_path, {Node("containers", "n", "c"): "i"})
    assert uses.used_at(image) == 0
    uses.touch("n", "c")
    uses.touch("n", "unknown")
    moment = uses.used_at(image)
    assert moment > 0
    uses.close()
    again = used(tmp_path, {})
    assert again.used_at(image) == moment
    again.forget(set())
    assert again.used_at(image) == 0
    again.close()


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "uses.db").write_bytes(b"nonsense" * 1000)
    used(tmp_path, {}).close()


def test_events_are_followed_and_the_end_of_a_container_is_a_use(tmp_path: Path) -> None:
    containers = {Node("containers", "n", "c"): "i"}
    uses = used(tmp_path, containers)

    async def run() -> None:
        events = Exchange(asyncio.get_running_loop())
        following = asyncio.create_task(uses.follow(events))
        await asyncio.sleep(0)
        seen = 0.0
        for event in (ContainerCreate("c", "i"), TaskStart("c", 1), ContainerDelete("c")):
            if isinstance(event, ContainerDelete):
                containers.clear()
            events.publish("n", event)
            for _ in range(200):
                if uses.used_at(Node("images", "n", "i")) > seen:
                    break
                await asyncio.sleep(0.01)
            assert uses.used_at(Node("images", "n", "i")) > seen
            seen = uses.used_at(Node("images", "n", "i"))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(run())
    uses.close()
