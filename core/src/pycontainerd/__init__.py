"""pycontainerd: containerd 2.x as a Python plugin microkernel."""

__version__ = "0.1.0"
