"""sd_notify(3): tell a service manager how the daemon is. Without NOTIFY_SOCKET every call does nothing."""

from __future__ import annotations

import os
import socket


def notify(*states: str) -> None:
    """Send ``states`` (such as ``READY=1``, ``STATUS=…``) to the service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto("\n".join(states).encode(), address)
        except OSError:
            return  # a service manager that went away must not take the daemon with it
