"""The overlayfs snapshotter of pycontainerd."""
