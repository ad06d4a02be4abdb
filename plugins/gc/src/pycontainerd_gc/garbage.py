"""The garbage collector as the rest of the daemon knows it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from pycontainerd.contracts.database import Database
from pycontainerd.contracts.errors import ContainerdError, Unavailable
from pycontainerd.contracts.events import EventBus
from pycontainerd.contracts.gc import (
    CONTAINERS,
    IMAGES,
    Collected,
    DiskUsage,
    Inventory,
    Item,
    Node,
    Selection,
    Step,
)
from pycontainerd.contracts.runtime import TaskRuntime
from pycontainerd.kernel.context import Logger

from . import policy, prune, why
from . import usage as accounts
from .collector import Collector
from .config import Config
from .mark import Marking
from .prune import Facts
from .scheduler import Scheduler
from .timetable import Timetable
from .uses import Uses

POLICY = "policy"  # what `prune` gets to apply the rules of the config now


class Garbage:
    """See `contracts.gc.GarbageCollector`. ``tasks`` gives the running tasks, None where no runtime is up."""

    def __init__(
        self,
        config: Config,
        database: Database,
        inventory: Inventory,
        log: Logger,
        *,
        uses: str,
        tasks: Callable[[], TaskRuntime | None],
    ) -> None:
        self._config = config
        self._database = database
        self._inventory = inventory
        self._log = log
        self._tasks = tasks
        self._ended = threading.Event()
        self.following: asyncio.Task[None] | None = None  # of `follow`
        self.scheduler = Scheduler(
            Timetable(config, time.monotonic()), lambda changed: Collector(database, inventory, changed), log
        )
        self.uses = Uses(uses, self._image_of, log)
        self._rules = threading.Thread(target=self._apply_rules, name="gc-policy", daemon=True)

    def start(self) -> None:
        """Begin to collect."""
        self.scheduler.start()
        if self._config.policy:
            self._rules.start()

    def reload(self, config: Config) -> None:
        """Go by these settings from now on; rules that are new are looked at after their interval."""
        self._config = config
        self.scheduler.configure(config)
        if config.policy and not self._rules.is_alive():
            self._rules.start()

    async def follow(self, events: EventBus) -> None:
        """Note when images are used, until cancelled."""
        await asyncio.gather(asyncio.to_thread(self._remember), self.uses.follow(events))

    def _remember(self) -> None:
        try:
            entries = self._database.read(lambda db: [one for one in self._inventory.entries(db) if one.image])
        except ContainerdError as exc:  # then the end of those containers counts as no use
            self._log.warning("what containers were made from is not known", error=str(exc))
        else:
            self.uses.remember({entry.node: entry.image for entry in entries})

    def close(self) -> None:
        self._ended.set()
        self.scheduler.close()
        if self._rules.is_alive():
            self._rules.join()
        self.uses.close()

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
        sizes: dict[Node, int] = {}

        def choose(marking: Marking) -> Mapping[Node, str]:
            facts = self._facts(selection.kind, selection.namespace)
            if selection.kind == POLICY:
                chosen = policy.choose(marking, self._config, facts, lambda nodes: self._inventory.sizes(list(nodes)))
            else:
                chosen = prune.choose(marking, selection, facts)
            # While it is all still there.
            doomed = Marking(marking.entries.values(), marking.now, without=chosen).garbage()
            sizes.update(self._inventory.sizes([node for node in doomed if marking.live(node)]))
            return chosen

        went, reasons = self.scheduler.collector.prune(choose, dry_run=selection.dry_run)
        items = [Item(node, sizes.get(node, -1), reasons.get(node, "only that kept it")) for node in went]
        if not selection.dry_run:
            for item in items:
                if item.node in reasons:
                    self._log.info("pruned", kind=item.node.kind, key=item.node.key, namespace=item.node.namespace,
                                   reason=item.reason)  # fmt: skip
        return sorted(items, key=lambda item: item.node not in reasons)

    def usage(self, namespace: str = "") -> DiskUsage:
        marking = self.scheduler.collector.marking()
        sizes = self._inventory.sizes([node for node in marking.entries if accounts.takes_space(node)])
        return accounts.usage(marking, sizes, namespace)

    def _facts(self, kind: str, namespace: str) -> Facts:
        busy: set[str] = set()
        if kind == CONTAINERS:
            tasks = self._tasks()
            if tasks is None:
                raise Unavailable("cannot prune containers: no runtime is up that knows which of them run")
            busy = set(tasks.ids(namespace))
        return Facts(
            used_at=self.uses.used_at,
            busy=lambda node: node.key in busy,
            pinned=lambda entry: policy.is_pinned(self._config, entry),
        )

    def _image_of(self, container: Node) -> str:
        found = self._database.read(lambda db: self._inventory.lookup(db, [container]))
        return found[0].image if found else ""

    def _apply_rules(self) -> None:
        while not self._ended.wait(self._config.policy_seconds):
            try:
                self.prune(Selection(POLICY, ""))
                self.uses.forget(self._images())
            except (ContainerdError, OSError, sqlite3.Error) as exc:
                self._log.error("the policy rules were not applied", error=str(exc))

    def _images(self) -> set[Node]:
        return {node for node in self.scheduler.collector.marking().entries if node.kind == IMAGES}
