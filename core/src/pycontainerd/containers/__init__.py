"""Container records: what a container is, whether or not it runs."""
