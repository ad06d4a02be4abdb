"""Quoted strings as Go writes them, delimited by ``"``, ``/`` or ``|``."""

from __future__ import annotations

_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


class QuoteError(ValueError):
    """A quotation is not well formed."""


def scan_quoted(text: str, at: int) -> tuple[str, int]:
    """The string whose opening delimiter is ``text[at]``, and the position after its closing one.

    Bytes given by ``\\xNN`` or ``\\NNN`` that are not UTF-8 come out as lone surrogates (PEP 383).

    :raises QuoteError: no end, a line break, or an escape Go does not know.
    """
    quote = text[at]
    out = bytearray()
    at += 1
    while True:
        char = text[at : at + 1]
        if char in ("", "\n"):
            raise QuoteError("quoted literal not terminated")
        if char == quote:
            return out.decode("utf-8", "surrogateescape"), at + 1
        if char == "\\":
            piece, at = _escape(text, at + 1, quote)
            out += piece
        else:
            out += char.encode("utf-8", "surrogatepass")
            at += 1


def quote(value: str) -> str:
    """``value`` as a literal in double quotes that `scan_quoted` reads back."""
    out = ['"']
    for char in value:
        if char in '"\\':
            out.append("\\" + char)
        elif 0xDC80 <= ord(char) <= 0xDCFF:
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char.isprintable() and char != "\ufffd":
            out.append(char)
        elif ord(char) < 0x80:
            out.append(f"\\x{ord(char):02x}")
        else:
            out.append(f"\\U{ord(char):08x}")
    return "".join([*out, '"'])


def _escape(text: str, at: int, quote: str) -> tuple[bytes, int]:
    """What the escape that begins at ``at`` (after the backslash) stands for, and where it ends."""
    char = text[at : at + 1]
    if char == quote and char:
        return char.encode(), at + 1
    if char in _SIMPLE:
        return bytes([_SIMPLE[char]]), at + 1
    if char in _HEX_DIGITS:
        end = at + 1 + _HEX_DIGITS[char]
        code = _number(text[at + 1 : end], 16, _HEX_DIGITS[char])
        return (bytes([code]) if char == "x" else _encode(code)), end
    if char and char in "01234567":
        code = _number(text[at : at + 3], 8, 3)
        if code > 255:
            raise QuoteError("illegal numeric escape sequence")
        return bytes([code]), at + 3
    raise QuoteError("illegal escape sequence")


def _encode(code: int) -> bytes:
    if code > 0x10FFFF:
        raise QuoteError("illegal numeric escape sequence")
    return b"\xef\xbf\xbd" if 0xD800 <= code <= 0xDFFF else chr(code).encode()


def _number(digits: str, base: int, length: int) -> int:
    if len(digits) != length or not all(
        digit in "0123456789abcdefABCDEF"[: 8 if base == 8 else 22] for digit in digits
    ):
        raise QuoteError("illegal numeric escape sequence")
    return int(digits, base)
