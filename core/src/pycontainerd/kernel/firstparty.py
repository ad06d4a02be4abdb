"""The plugins of this project that come in packages of their own: what to install for a URI that is not there."""

from __future__ import annotations

PACKAGES: dict[str, str] = {
    "io.containerd.snapshotter.v1.overlayfs": "pycontainerd-snapshotter-overlay",
    "io.containerd.snapshotter.v1.btrfs": "pycontainerd-snapshotter-btrfs",
    "io.containerd.snapshotter.v1.zfs": "pycontainerd-snapshotter-zfs",
    "io.containerd.runtime-handler.v1.runc": "pycontainerd-runtime-runc",
    "io.containerd.runtime-handler.v1.crun": "pycontainerd-runtime-crun",
    "io.containerd.runtime-handler.v1.windows": "pycontainerd-runtime-windows",
    "io.containerd.grpc.v1.cri": "pycontainerd-cri",
    "io.containerd.gc.v1.scheduler": "pycontainerd-gc",
    "io.containerd.server.v1.metrics": "pycontainerd-metrics",
}
