"""Layers: applied to file systems, and made from the difference of two."""
