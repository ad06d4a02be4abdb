"""Images between registries, archives and the stores."""
