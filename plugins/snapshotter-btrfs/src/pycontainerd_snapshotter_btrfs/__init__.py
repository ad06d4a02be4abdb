"""The btrfs snapshotter of pycontainerd."""
