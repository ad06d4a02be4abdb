"""``containerd config …``. Imported by that command alone; the daemon's start does without it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from .document import Finding
from .loader import merge, read_layers
from .records import DEFAULT_PATH, ConfigError, Layer, Settings

OK, FAILED, USAGE = 0, 1, 2


def main(argv: Sequence[str], config: str = "", prog: str = "containerd config") -> int:
    """Run a subcommand on the configuration at ``config``; returns the exit status (2: wrong usage)."""
    options = _parser(prog, config).parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except ConfigError as exc:
        print(f"containerd config: {exc}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        return FAILED


def _parser(prog: str, config: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Show, check and migrate the configuration.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, (run, text) in _COMMANDS.items():
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(run=run)
        if name not in ("default", "schema"):
            one.add_argument("-c", "--config", default=config, metavar="FILE", help=f"instead of {DEFAULT_PATH}")
        if name == "dump":
            one.add_argument("--origins", action="store_true", help="add the file and line that set each key")
        if name == "migrate":
            one.add_argument(
                "--in-place",
                action="store_true",
                help="rewrite the file and its imports; the old ones stay as FILE.bak",
            )
        if name == "check":
            one.add_argument("--strict", action="store_true", help="warnings fail the check, too")
            one.add_argument("-o", "--output", default="text", choices=["text", "json"], help="form of the output")
        if name == "explain":
            one.add_argument("key", metavar="KEY", help="such as root, grpc.address, or a plugin's URI and a key of it")
    return parser


def _default(_options: argparse.Namespace) -> int:
    from .plugins import installed
    from .show import default_text

    return _write(default_text(installed()))


def _dump(options: argparse.Namespace) -> int:
    from .plugins import installed
    from .show import dump_text

    settings = _usable(merge(read_layers(options.config)))
    plugins = installed(settings.disabled)
    wrong = [one for uri, config in plugins.tables.items() for one in settings.wrong_values(uri, config)]
    if wrong:
        return _say(wrong, sys.stderr)
    return _write(dump_text(settings, plugins, origins=options.origins))


def _explain(options: argparse.Namespace) -> int:
    from .plugins import installed
    from .show import explain

    settings = _usable(merge(read_layers(options.config)))
    return _write(explain(settings, installed(settings.disabled), options.key))


def _check(options: argparse.Namespace) -> int:
    from .check import check

    findings, settings = check(options.config)
    counts = {severity: sum(one.severity == severity for one in findings) for severity in ("error", "warning", "note")}
    if options.output == "json":
        print(json.dumps([_row(one) for one in findings], indent=2))
    else:
        _say(findings, sys.stdout)
        files = len(settings.files)
        print(", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in [*counts.items(), ("file", files)]))
    return FAILED if counts["error"] or (options.strict and counts["warning"]) else OK


def _migrate(options: argparse.Namespace) -> int:
    from .rewrite import prove, rewrite

    layers = read_layers(options.config)
    if not layers:
        raise ConfigError(f"there is no {DEFAULT_PATH}: nothing to migrate")
    texts = {}
    for place, layer in enumerate(layers if options.in_place else layers[:1]):
        _say(layer.document.findings, sys.stderr)
        if (
            options.in_place
            and layer.version == layer.document.get(("version",)) == 4
            and "version" in layer.raw.values
        ):
            continue
        texts[place] = rewrite(layer)
        prove(layers, place, texts[place])
    if not options.in_place:
        return _write(texts[0])
    for place, text in texts.items():
        _replace(layers[place], text)
        print(f"{layers[place].path}: version {layers[place].version} is now version 4")
    return OK


def _schema(_options: argparse.Namespace) -> int:
    from .plugins import installed
    from .schema import schema

    return _write(json.dumps(schema(installed()), indent=2) + "\n")


_COMMANDS: Mapping[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "default": (_default, "Print the defaults, each key with what it does."),
    "dump": (_dump, "Print the effective configuration: the defaults, the file, and all that it imports."),
    "migrate": (_migrate, "Print the file in the latest version. Fails if that would mean anything else."),
    "check": (_check, "List all that is wrong, with file and line. Fails if there is an error."),
    "explain": (_explain, "Show a key's value, its default, and every line that sets it."),
    "schema": (_schema, "Print a JSON Schema of the configuration."),
}


def _usable(settings: Settings) -> Settings:
    settings.check()
    return settings


def _write(text: str) -> int:
    sys.stdout.write(text)
    sys.stdout.flush()
    return OK


def _say(findings: Sequence[Finding], file: object) -> int:
    for finding in findings:
        print(finding, file=file)  # type: ignore[call-overload]
    return FAILED


def _row(finding: Finding) -> dict[str, object]:
    file, _, line = finding.where.rpartition(":")
    known = line.isdigit()
    return {
        "severity": finding.severity,
        "file": file if known else finding.where,
        "line": int(line) if known else 0,
        "message": finding.message,
        "hint": finding.hint,
    }


def _replace(layer: Layer, text: str) -> None:
    """Put ``text`` in the file's place in one step, with its mode and owner; the old file stays beside it."""
    path = os.path.realpath(layer.path)
    aside = f"{path}.new"
    try:
        status = os.stat(path)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        backup = f"{path}.bak"
        if not os.path.lexists(backup):
            os.link(path, backup)
        os.replace(aside, path)
    except OSError as exc:
        raise ConfigError(f"cannot rewrite {path}: {exc.strerror or exc}") from exc
