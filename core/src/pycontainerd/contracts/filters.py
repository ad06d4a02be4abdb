"""containerd's filter syntax (containerd pkg/filters).

A filter is selectors joined by commas, all of which must match: ``name==foo``, ``labels."a.b"!=x``, ``media~=^app/``,
or a bare field path, which matches where the field is present. Of several filters one must match; none match all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import attrs

from .errors import InvalidArgument

MAX_FILTER = 4096  # characters
MAX_FILTERS = 1024

Resolve = Callable[[Sequence[str]], str | None]

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE_VALUE = re.compile(r"[^\s,]+")
_OPERATORS = ("==", "!=", "~=")


@attrs.frozen
class Selector:
    """One condition; ``operator`` is ``==``, ``!=``, ``~=`` or "" (presence)."""

    path: Sequence[str]
    operator: str = ""
    value: str = ""
    pattern: re.Pattern[str] | None = None

    def match(self, resolve: Resolve) -> bool:
        found = resolve(self.path)
        if self.operator == "==":
            return found is not None and found == self.value
        if self.operator == "!=":
            return found != self.value
        if self.pattern is not None:
            return found is not None and self.pattern.search(found) is not None
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
    """Compile ``filters``; empty ones match everything.

    :raises InvalidArgument: a syntax error, with its position, or a filter over the limits.
    """
    if len(filters) > MAX_FILTERS:
        raise InvalidArgument(f"{len(filters)} filters given, the limit is {MAX_FILTERS}")
    if any(text == "" for text in filters):
        return Filter()
    return Filter([_Parser(text).filter() for text in filters])


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > MAX_FILTER:
            raise InvalidArgument(f"a filter of {len(text)} characters given, the limit is {MAX_FILTER}")
        self._text = text
        self._at = 0

    def filter(self) -> Sequence[Selector]:
        selectors = [self._selector()]
        while self._at < len(self._text):
            self._expect(",")
            selectors.append(self._selector())
        return selectors

    def _selector(self) -> Selector:
        path = [self._field()]
        while self._peek("."):
            self._at += 1
            path.append(self._field())
        operator = next((one for one in _OPERATORS if self._peek(one)), "")
        if not operator:
            return Selector(path)
        self._at += len(operator)
        value = self._value(regex=operator == "~=")
        return Selector(path, operator, value, self._compile(value) if operator == "~=" else None)

    def _compile(self, value: str) -> re.Pattern[str]:
        try:
            return re.compile(value)
        except re.error as exc:
            raise self._error(f"bad regular expression {value!r}: {exc}") from exc

    def _field(self) -> str:
        if self._peek('"'):
            return self._quoted('"')
        found = _FIELD.match(self._text, self._at)
        if not found:
            raise self._error("expected a field name")
        self._at = found.end()
        return found[0]

    def _value(self, *, regex: bool) -> str:
        for quote in '"/|' if regex else '"':
            if self._peek(quote):
                return self._quoted(quote)
        found = _BARE_VALUE.match(self._text, self._at)
        if not found:
            raise self._error("expected a value")
        self._at = found.end()
        return found[0]

    def _quoted(self, quote: str) -> str:
        out: list[str] = []
        at = self._at + 1
        while at < len(self._text):
            char = self._text[at]
            if char == quote:
                self._at = at + 1
                return "".join(out)
            if char == "\\" and at + 1 < len(self._text):
                at += 1
                follows = self._text[at]
                escapes = {"n": "\n", "t": "\t", "r": "\r"} if quote == '"' else {}
                char = escapes.get(follows, follows if quote == '"' or follows == quote else "\\" + follows)
            out.append(char)
            at += 1
        raise self._error("the quotation does not end")

    def _peek(self, token: str) -> bool:
        return self._text.startswith(token, self._at)

    def _expect(self, token: str) -> None:
        if not self._peek(token):
            raise self._error(f"expected {token!r}")
        self._at += len(token)

    def _error(self, reason: str) -> InvalidArgument:
        return InvalidArgument(f"filter {self._text!r}: {reason} at position {self._at + 1}")
