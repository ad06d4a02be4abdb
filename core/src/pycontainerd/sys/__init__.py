"""The kernel's interfaces, by ctypes and os only. Nothing here keeps state."""
