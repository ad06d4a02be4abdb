"""A sample of a third-party snapshotter."""
