"""pycontainerd: containerd 2.x as a Python plugin microkernel."""

__version__ = "0.1.0"
API_VERSION = f"2.3.0+pycontainerd.{__version__}"
"""What the API reports: the version of containerd that is kept to, and ours."""
