"""Images to snapshots, layer by layer."""
