"""What the daemon and the zygote agree on: a JSON object per packet, a number that answers repeat."""

from __future__ import annotations

MAX_MESSAGE = 1 << 16
TITLE_ROOM = 1024  # bytes of the command line that a shim may overwrite with its own
