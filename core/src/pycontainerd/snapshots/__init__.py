"""Snapshots: layered file systems by key, in namespaces, on any snapshotter."""
