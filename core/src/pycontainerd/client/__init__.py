"""Typed asyncio client for any containerd-compatible socket: ours, or the Go containerd's from 1.6 on.

async with Client("/run/containerd/containerd.sock", namespace="default") as client:
    for image in await client.images.list():
        print(image.name, image.target.digest)
"""

from __future__ import annotations

from .client import DEFAULT_ADDRESS, Client

__all__ = ["DEFAULT_ADDRESS", "Client"]
