"""The daemon's configuration: TOML files in layers, each key with the file and line that set it."""

from .loader import load
from .records import ConfigError, Settings

__all__ = ["ConfigError", "Settings", "load"]
