"""containerd's filter syntax (containerd pkg/filters).

    selectors := selector ("," selector)*
    selector  := fieldpath [operator value]
    fieldpath := field ("." field)*
    field     := quoted | [A-Za-z0-9_]+
    operator  := "==" | "!=" | "~="
    value     := quoted | any run of printable characters that are neither space nor comma

All selectors of a filter must match. A selector without operator asks whether the field is there. Quotation is Go's
(``"…"`` with its escapes); for the regular expression after ``~=`` it may also be ``/…/`` or ``|…|``. Space may
precede a token. Of several filters one must match; no filter, or an empty one, matches everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from .errors import InvalidArgument
from .quoting import QuoteError, scan_quoted
from .regex import Regex, RegexError

MAX_FILTER = 8192  # characters: a label (4096 bytes) and its quotation fit
MAX_FILTERS = 1024

Resolve = Callable[[Sequence[str]], str | None]

_FIELD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_OPERATOR = frozenset("=!~")
_QUOTES = frozenset('/|"')
_SPACE = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))))


@attrs.frozen
class Selector:
    """One condition; ``operator`` is ``==``, ``!=``, ``~=`` or "" (presence)."""

    path: Sequence[str]
    operator: str = ""
    value: str = ""
    pattern: Regex | None = attrs.field(default=None, eq=False, repr=False)

    def match(self, resolve: Resolve) -> bool:
        """A missing field is as good as an empty one for ``!=`` and ``~=``, and never equal for ``==``."""
        found = resolve(self.path)
        if self.operator == "==":
            return found == self.value
        if self.operator == "!=":
            return (found or "") != self.value
        if self.pattern is not None:
            return self.pattern.search(found or "")
        return found is not None


@attrs.frozen
class Filter:
    """Alternatives of conjunctions; without alternatives it matches everything."""

    alternatives: Sequence[Sequence[Selector]] = ()

    def match(self, resolve: Resolve) -> bool:
        """Whether the thing whose fields ``resolve`` looks up is wanted; ``resolve`` gives None for a missing field."""
        return not self.alternatives or any(
            all(selector.match(resolve) for selector in selectors) for selectors in self.alternatives
        )


def parse(filters: Sequence[str]) -> Filter:
    """Compile ``filters``; none, or an empty one among them, match everything.

    :raises InvalidArgument: a syntax error, with its position, or a filter over the limits.
    """
    if len(filters) > MAX_FILTERS:
        raise InvalidArgument(f"{len(filters)} filters given, the limit is {MAX_FILTERS}")
    alternatives = [_Parser(text).filter() for text in filters]
    return Filter(alternatives if all(alternatives) else ())


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > MAX_FILTER:
            raise InvalidArgument(f"a filter of {len(text)} characters given, the limit is {MAX_FILTER}")
        self._text = text
        self._at = 0
        for at, char in enumerate(text):
            if char in "\0\ufffd":
                raise self._error(at, "unexpected null" if char == "\0" else "not valid UTF-8")

    def filter(self) -> Sequence[Selector]:
        if not self._text:
            return ()
        selectors = [self._selector()]
        while char := self._peek():
            if char != ",":
                raise self._error(self._at, f"unexpected input {char!r}")
            self._at += 1
            selectors.append(self._selector())
        return selectors

    def _selector(self) -> Selector:
        path = [self._field()]
        while self._peek() == ".":
            self._at += 1
            path.append(self._field())
        if self._peek() in (",", ""):
            return Selector(path)
        operator = self._operator()
        began = self._at
        value = self._value(regex=operator == "~=")
        return Selector(path, operator, value, self._compile(value, began) if operator == "~=" else None)

    def _compile(self, value: str, at: int) -> Regex:
        try:
            return Regex(value)
        except RegexError as exc:
            raise self._error(at, f"bad regular expression {value!r}: {exc}") from exc

    def _field(self) -> str:
        began = self._skip_space()
        if self._peek() in _QUOTES:
            return self._quoted(regex=False)
        self._run(_FIELD.__contains__)
        if self._at == began:
            raise self._error(began, "expected field or quoted")
        return self._text[began : self._at]

    def _operator(self) -> str:
        began = self._skip_space()
        self._run(_OPERATOR.__contains__)
        operator = self._text[began : self._at]
        if not operator:
            raise self._error(began, 'expected an operator ("=="|"!="|"~=")')
        if operator not in ("==", "!=", "~="):
            raise self._error(began, f"unsupported operator {operator!r}")
        return operator

    def _value(self, *, regex: bool) -> str:
        began = self._skip_space()
        char = self._peek()
        if char in _QUOTES:
            return self._quoted(regex=regex)
        if not char or char in ",." or char in _OPERATOR:
            raise self._error(began, "expected value or quoted")
        self._at += 1
        self._run(_in_value)
        return self._text[began : self._at]

    def _quoted(self, *, regex: bool) -> str:
        began = self._at
        try:
            value, self._at = scan_quoted(self._text, began)
        except QuoteError as exc:
            raise self._error(began, str(exc)) from exc
        if self._text[began] != '"' and not regex:
            raise self._error(began, "invalid quote encountered")
        return value

    def _run(self, wanted: Callable[[str], bool]) -> None:
        while self._at < len(self._text) and wanted(self._text[self._at]):
            self._at += 1

    def _skip_space(self) -> int:
        self._run(_SPACE.__contains__)
        return self._at

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _error(self, at: int, reason: str) -> InvalidArgument:
        text = self._text if len(self._text) <= 256 else self._text[:256] + "…"
        return InvalidArgument(f"filter {text!r}: parse error at character {at + 1}: {reason}")


def _in_value(char: str) -> bool:
    return char != "," and char not in _SPACE and char.isprintable()
