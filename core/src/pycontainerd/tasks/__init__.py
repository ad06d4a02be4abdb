"""Tasks: the daemon's side of shims."""
