"""The zfs snapshotter of pycontainerd."""
