"""What plugins implement and consume: Protocols, the records they exchange, and the error family.

This package imports nothing else of pycontainerd, so a plugin author depends on it alone (and on the kernel).
"""
