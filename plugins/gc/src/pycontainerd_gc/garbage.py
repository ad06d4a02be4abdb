"""The garbage collector as the rest of the daemon knows it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pycontainerd.contracts.database import Database
from pycontainerd.contracts.gc import Collected, DiskUsage, Inventory, Item, Selection, Step
from pycontainerd.kernel.context import Logger

from . import why
from .collector import Collector
from .config import Config
from .scheduler import Scheduler
from .timetable import Timetable


class Garbage:
    """See `contracts.gc.GarbageCollector`."""

    def __init__(self, config: Config, database: Database, inventory: Inventory, log: Logger) -> None:
        self._inventory = inventory
        self.scheduler = Scheduler(
            Timetable(config, time.monotonic()), lambda changed: Collector(database, inventory, changed), log
        )

    def start(self) -> None:
        """Begin to collect."""
        self.scheduler.start()

    def close(self) -> None:
        self.scheduler.close()

    def collect(self) -> Collected:
        return self.scheduler.collect()

    def plan(self, namespace: str = "") -> Sequence[Item]:
        marking = self.scheduler.collector.marking()
        garbage = [node for node in marking.garbage() if namespace in ("", node.namespace)]
        sizes = self._inventory.sizes(garbage)
        return [Item(node, sizes.get(node, -1), "nothing keeps it") for node in garbage]

    def why(self, namespace: str, key: str) -> Sequence[Step]:
        marking = self.scheduler.collector.marking()
        return why.path(marking, why.find(marking, namespace, key))

    def prune(self, selection: Selection) -> Sequence[Item]:
        raise NotImplementedError(selection)

    def usage(self, namespace: str = "") -> DiskUsage:
        raise NotImplementedError(namespace)
