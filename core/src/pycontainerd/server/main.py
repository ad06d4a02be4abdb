"""The executable ``containerd``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

API_VERSION = "2.3.0"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop; returns the exit status."""
    options = _parse(argv)
    from pycontainerd.config import ConfigError, load

    try:
        settings = load(options.config)
        settings.check()
        overrides = {key: getattr(options, key) for key in ("root", "state", "address") if getattr(options, key)}
        level = options.log_level or settings.get("debug", "level", kind=str, default="info") or "info"
        style = settings.get("debug", "format", kind=str, default="") or "text"
        daemon_args = (settings, overrides)
    except ConfigError as exc:
        print(f"containerd: {exc}", file=sys.stderr)
        return 1

    from .daemon import Process
    from .logs import configure

    configure(level, style)
    return Process(*daemon_args).run()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    from pycontainerd import __version__

    parser = argparse.ArgumentParser(prog="containerd", description="The container daemon, as a plugin microkernel.")
    parser.add_argument("-c", "--config", default="", metavar="FILE", help="configuration file")
    parser.add_argument("-a", "--address", default="", help="socket of the gRPC API")
    parser.add_argument("--root", default="", metavar="DIR", help="persistent data")
    parser.add_argument("--state", default="", metavar="DIR", help="volatile data")
    parser.add_argument(
        "-l", "--log-level", default="", choices=["trace", "debug", "info", "warn", "error", "fatal", "panic"]
    )
    parser.add_argument("-v", "--version", action="version", version=f"containerd {version(__version__)}")
    return parser.parse_args(argv)


def version(package: str) -> str:
    """The version the API reports: containerd's that we keep to, with ours."""
    return f"{API_VERSION}+pycontainerd.{package}"


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
