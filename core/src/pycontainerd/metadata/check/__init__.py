"""fsck: the records, the files, the trees of snapshotters and the mounts, compared while no daemon runs."""
