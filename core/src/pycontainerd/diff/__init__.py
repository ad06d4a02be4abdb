"""Layers to file systems and back: applying untrusted tar streams, and writing what changed as one."""
