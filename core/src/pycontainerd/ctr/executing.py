"""What ``ctr task exec`` does."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from pycontainerd.client import Client
from pycontainerd.client.task import exec_process, load_task
from pycontainerd.contracts.errors import InvalidArgument
from pycontainerd.oci import edits, from_any

from .interactive import discard, own_streams, run_to_end


async def exec_in(client: Client, name: str, args: Sequence[str], options: dict[str, Any]) -> int:
    """Add a process to container ``name`` and run it to its end (or, detached, start it). Returns its exit status."""
    spec = from_any((await client.containers.get(name)).spec)
    task = await load_task(client, name)
    process = exec_process(spec, args, cwd=options["cwd"], terminal=options["tty"])
    wrapped = {"process": process}
    if options["env"]:
        edits.env(options["env"])(wrapped)
    if options["user"]:
        edits.user(*_ids(options["user"]))(wrapped)
    added = await task.exec(
        options["exec_id"] or f"exec-{secrets.token_hex(6)}",
        process,
        None if options["detach"] and not options["tty"] else own_streams(options["tty"]),
        fifo_dir=options["fifo_dir"],
        log_uri=options["log_uri"],
    )
    if options["detach"]:
        await added.start()
        return 0
    try:
        return await run_to_end(added, options["tty"])
    finally:
        await discard(added)


def _ids(user: str) -> tuple[int, int]:
    uid, _, gid = user.partition(":")
    if not uid.isdigit() or not (gid or "0").isdigit():
        raise InvalidArgument(f"--user {user!r}: only numbers here", hint="UID[:GID]")
    return int(uid), int(gid or 0)
