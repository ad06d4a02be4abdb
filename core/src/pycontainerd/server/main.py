"""The executable ``containerd``."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop, or a subcommand; returns the exit status."""
    options = parser().parse_args(argv)
    if options.command:
        return _command(options)
    from .startup import Startup

    startup = Startup()
    gc.disable()  # while thousands of modules' objects are made that all stay; the daemon enables it when it serves
    from pycontainerd.config import ConfigError, load

    try:
        settings = load(options.config)
        settings.check()
        overrides = {key: getattr(options, key) for key in ("root", "state", "address") if getattr(options, key)}
        level = options.log_level or settings.get("debug", "level", kind=str, default="info") or "info"
        style = settings.get("debug", "format", kind=str, default="") or "text"
        if options.log_level:
            overrides["log_level"] = options.log_level
        if options.plugin_dir:
            overrides["plugin_dir"] = os.path.abspath(options.plugin_dir)
        if options.profile_startup is not None:
            overrides["profile"] = options.profile_startup
        daemon_args = (settings, overrides, options.config, startup)
    except ConfigError as exc:
        print(f"containerd: {exc}", file=sys.stderr)
        return 1

    startup.mark("config")
    from .daemon import Process
    from .logs import configure

    configure(level, style)
    startup.mark("modules")
    log = logging.getLogger("containerd")
    for finding in settings.findings:
        log.log(logging.INFO if finding.severity == "note" else logging.WARNING, str(finding))
    return Process(*daemon_args).run()


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    from pycontainerd import API_VERSION

    parser = argparse.ArgumentParser(
        prog="containerd",
        description="The container daemon, as a plugin microkernel.",
        epilog="Without a command the daemon starts. 'containerd config --help' has the commands for its configuration,"
        " 'containerd fsck --help' those that check and repair what a stopped daemon has on disk.",
    )
    parser.add_argument("-c", "--config", default="", metavar="FILE", help="configuration file")
    parser.add_argument("-a", "--address", default="", help="socket of the gRPC API")
    parser.add_argument("--root", default="", metavar="DIR", help="persistent data")
    parser.add_argument("--state", default="", metavar="DIR", help="volatile data")
    parser.add_argument(
        "-l", "--log-level", default="", choices=["trace", "debug", "info", "warn", "error", "fatal", "panic"]
    )
    parser.add_argument(
        "--plugin-dir", default="", metavar="DIR", help="also load plugins from the .py files in DIR, for experiments"
    )
    parser.add_argument(
        "--profile-startup",
        nargs="?",
        const="",
        metavar="FILE",
        help="once it serves, write how long each part of the start and each plugin took (without =FILE to stderr)",
    )
    parser.add_argument("-v", "--version", action="version", version=f"containerd {API_VERSION}")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="[COMMAND]", help="config or fsck")
    return parser


def _command(options: argparse.Namespace) -> int:
    name, *rest = options.command
    if name == "config":
        from pycontainerd.config.commands import main as config

        return config(rest, options.config)
    if name == "fsck":
        from .fsck import main as fsck

        return fsck(rest, options.config, options.root)
    # A stray word must not start a daemon that its writer did not ask for.
    print(f"containerd: there is no command {name!r}; 'containerd --help' shows what there is", file=sys.stderr)
    return 2


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
