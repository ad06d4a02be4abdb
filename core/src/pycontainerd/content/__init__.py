"""Content: blobs by digest on disk, and who may see them."""
