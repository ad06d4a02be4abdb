"""`containerd config migrate`: a file in the words of the latest version, its comments kept, its meaning proved."""

from __future__ import annotations

import attrs
import tomli

from . import toml
from .document import Document, Path, leaves
from .hooks import migrated
from .lines import key_lines
from .loader import merge
from .migrations import LATEST, migrate
from .records import ConfigError, Layer, Settings


def rewrite(layer: Layer) -> str:
    """The file of ``layer`` as text of the latest version: what it sets, and nothing that it does not."""
    document = layer.document
    values = {"version": LATEST, **{key: value for key, value in document.values.items() if key != "version"}}
    comments, last = comments_of(layer.text)
    placed: dict[Path, toml.Comment] = {}
    for path in [("version",), *document.origins]:
        if path not in document.derived and (comment := comments.pop(document.name(path), None)):
            placed[path] = comment
    text = toml.dumps(values, placed)
    rest = [line for comment in comments.values() for line in (*comment.before, comment.after) if line]
    return text + "".join(f"# {line}\n" if line else "\n" for line in (*rest, *last))


def prove(layers: list[Layer], place: int, text: str) -> None:
    """Make sure that the configuration is the same with ``text`` in place of one of its files.

    :raises ConfigError: it is not; says which key differs.
    """
    old = layers[place]
    raw = Document(tomli.loads(text), {path: f"{old.path}:{line}" for path, line in key_lines(text).items()})
    new = old._replace(version=LATEST, text=text, raw=raw, document=migrate(raw, LATEST))
    before, after = merge(layers), merge(migrated([*layers[:place], new, *layers[place + 1 :]]))
    different = difference(before, after)
    if different:
        raise ConfigError(f"{old.path}: the migrated file would not mean the same: {different}")


def difference(before: Settings, after: Settings) -> str:
    """The first key that two configurations do not agree on; empty where they agree."""
    old, new = (dict(leaves(one.values)) for one in (before, after))
    for path in [*old, *(path for path in new if path not in old)]:
        if path == ("version",):
            continue
        if repr(old.get(path)) != repr(new.get(path)):
            return f"{'.'.join(path)} is {old.get(path)!r} before and {new.get(path)!r} after"
    return ""


def comments_of(text: str) -> tuple[dict[Path, toml.Comment], list[str]]:
    """The comments of a document by the key they stand at, and those at its end."""
    by_line = {line: path for path, line in key_lines(text).items()}
    found: dict[Path, toml.Comment] = {}
    pending: list[str] = []
    last: Path = ()
    open_statement = ""
    for number, line in enumerate(text.splitlines(), 1):
        if number in by_line:
            last = by_line[number]
            after = _split(line)
            open_statement = "" if _complete(line) else line
            inner = _behind(line, "{}\n]") if open_statement else ""
            found[last] = toml.Comment((*_trim(pending), *filter(None, [inner])), after)
            pending = []
        elif open_statement:
            open_statement = f"{open_statement}\n{line}"
            after = _split(open_statement)
            inner = line.strip()[1:].strip() if line.strip().startswith("#") else _behind(line, "list = [{}\n]")
            if inner and not _complete(open_statement):
                old = found[last]
                found[last] = attrs.evolve(old, before=(*old.before, inner))
            if _complete(open_statement):
                found[last] = attrs.evolve(found[last], after=after or found[last].after)
                open_statement = ""
        elif line.strip().startswith("#"):
            pending.append(line.strip()[1:].removeprefix(" ").rstrip())
        elif not line.strip() and pending:
            pending.append("")
    comments = {path: one for path, one in found.items() if one.before or one.after}
    return comments, list(_trim(pending))


def _trim(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def _split(line: str) -> str:
    """The comment behind a statement."""
    return _behind(line, "{}")


def _behind(line: str, form: str) -> str:
    """What follows the first ``#`` before which the line, put into ``form``, is TOML."""
    place = line.find("#")
    while place >= 0:
        if _complete(form.format(line[:place])):
            return " ".join(line[place + 1 :].split())
        place = line.find("#", place + 1)
    return ""


def _complete(statement: str) -> bool:
    try:
        tomli.loads(statement)
    except tomli.TOMLDecodeError:
        return False
    return bool(statement.strip())
