"""RE2's syntax (github.com/google/re2/wiki/Syntax), parsed to a tree: what `regex` compiles.

Left out: named Unicode scripts (``\\p{Greek}``); general categories (``\\pL``, ``\\p{Lu}``) are there.
"""

from __future__ import annotations

import unicodedata
from typing import NoReturn

import attrs

MAX_DEPTH = 50  # parentheses within parentheses
MAX_REPEAT = 1000


class RegexError(ValueError):
    """The pattern is not one we can compile."""


@attrs.frozen
class Chars:
    """One character: within ``ranges`` or a Unicode category, or outside of them all when ``negated``."""

    ranges: tuple[tuple[str, str], ...] = ()
    categories: tuple[tuple[str, bool], ...] = ()  # (prefix of the category, whether it is to be absent)
    parts: tuple[Chars, ...] = ()
    negated: bool = False
    fold: bool = False

    def has(self, char: str) -> bool:
        forms = (char, char.lower(), char.upper()) if self.fold else (char,)
        return any(len(form) == 1 and self._holds(form) for form in forms) != self.negated

    def _holds(self, char: str) -> bool:
        if any(low <= char <= high for low, high in self.ranges):
            return True
        if self.categories:
            category = unicodedata.category(char)
            if any(category.startswith(prefix) != absent for prefix, absent in self.categories):
                return True
        return any(part.has(char) for part in self.parts)


@attrs.frozen
class Assert:
    """A place: text-start, text-end, line-start, line-end, word-boundary or no-word-boundary."""

    look: str


@attrs.frozen
class Sequence:
    """One after the other."""

    parts: tuple[Node, ...] = ()


@attrs.frozen
class Choice:
    """One of these; the first that fits is preferred."""

    parts: tuple[Node, ...]


@attrs.frozen
class Repeat:
    """``part``, ``least`` to ``most`` times (None: without limit)."""

    part: Node
    least: int
    most: int | None


Node = Chars | Assert | Sequence | Choice | Repeat

_DIGIT = (("0", "9"),)
_WORD = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_SPACE = (("\t", "\n"), ("\f", "\r"), (" ", " "))
_PERL = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_POSIX = {
    "alnum": (("0", "9"), ("A", "Z"), ("a", "z")),
    "alpha": (("A", "Z"), ("a", "z")),
    "ascii": (("\0", "\x7f"),),
    "blank": (("\t", "\t"), (" ", " ")),
    "cntrl": (("\0", "\x1f"), ("\x7f", "\x7f")),
    "digit": _DIGIT,
    "graph": (("!", "~"),),
    "lower": (("a", "z"),),
    "print": ((" ", "~"),),
    "punct": (("!", "/"), (":", "@"), ("[", "`"), ("{", "~")),
    "space": (("\t", "\r"), (" ", " ")),
    "upper": (("A", "Z"),),
    "word": _WORD,
    "xdigit": (("0", "9"), ("A", "F"), ("a", "f")),
}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTS = {"A": "text-start", "z": "text-end", "b": "word-boundary", "B": "no-word-boundary"}
_CATEGORIES = frozenset(
    [
        "L",
        "Lu",
        "Ll",
        "Lt",
        "Lm",
        "Lo",
        "M",
        "Mn",
        "Mc",
        "Me",
        "N",
        "Nd",
        "Nl",
        "No",
        "P",
        "Pc",
        "Pd",
        "Ps",
        "Pe",
        "Pi",
        "Pf",
        "Po",
        "S",
        "Sm",
        "Sc",
        "Sk",
        "So",
        "Z",
        "Zs",
        "Zl",
        "Zp",
        "C",
        "Cc",
        "Cf",
        "Cs",
        "Co",
    ]
)


def parse(pattern: str) -> Node:
    """The tree of ``pattern``.

    :raises RegexError: it is not RE2 syntax.
    """
    parser = _Parser(pattern)
    node = parser.choice(0)
    if parser.more():
        parser.fail("unexpected )")
    return node


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._fold = self._multiline = self._dot_all = False

    def more(self) -> bool:
        return self._at < len(self._text)

    def fail(self, reason: str) -> NoReturn:
        raise RegexError(f"{reason} at character {self._at + 1}")

    def choice(self, depth: int) -> Node:
        """Alternatives up to the end or an unread ``)``; flags set within them end with them."""
        if depth > MAX_DEPTH:
            self.fail("too many parentheses within parentheses")
        flags = self._fold, self._multiline, self._dot_all
        branches = [self._sequence(depth)]
        while self._take("|"):
            branches.append(self._sequence(depth))
        self._fold, self._multiline, self._dot_all = flags
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.more() and self._peek() not in "|)":
            if self._take("\\Q"):
                parts += self._literal_run()
                continue
            node = self._atom(depth)
            if node is not None:
                parts.append(self._repetition(node))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _literal_run(self) -> list[Node]:
        end = self._text.find("\\E", self._at)
        run = self._text[self._at : end if end >= 0 else len(self._text)]
        self._at += len(run) + (2 if end >= 0 else 0)
        nodes: list[Node] = [self._char(char) for char in run]
        if nodes:
            nodes[-1] = self._repetition(nodes[-1])
        return nodes

    def _atom(self, depth: int) -> Node | None:
        """One item; None for a group that only sets flags."""
        if self._take("("):
            return self._group(depth)
        if self._take("["):
            return self._bracket()
        char = self._next()
        if char == "\\":
            return self._escape()
        if char == ".":
            return Chars(negated=True) if self._dot_all else Chars((("\n", "\n"),), negated=True)
        if char == "^":
            return Assert("line-start" if self._multiline else "text-start")
        if char == "$":
            return Assert("line-end" if self._multiline else "text-end")
        if char in "*+?":
            self._at -= 1
            self.fail(f"nothing before {char!r} to repeat")
        return self._char(char)

    def _group(self, depth: int) -> Node | None:
        flags = self._fold, self._multiline, self._dot_all
        if self._take("?") and not self._name() and not self._flags():
            return None
        inner = self.choice(depth + 1)
        if not self._take(")"):
            self.fail("missing )")
        self._fold, self._multiline, self._dot_all = flags
        return inner

    def _name(self) -> bool:
        if not (self._take("P<") or self._take("<")):
            return False
        end = self._text.find(">", self._at)
        name = self._text[self._at : max(end, self._at)]
        if not name or not all(char == "_" or (char.isascii() and char.isalnum()) for char in name):
            self.fail("a group needs a name of letters, digits and _ (there is no looking around)")
        self._at = end + 1
        return True

    def _flags(self) -> bool:
        """Read ``ims-U:`` or ``ims-U)``; whether a group follows."""
        on = True
        while (char := self._next("missing )")) not in ":)":
            if char == "-" and on:
                on = False
            elif char == "i":
                self._fold = on
            elif char == "m":
                self._multiline = on
            elif char == "s":
                self._dot_all = on
            elif char != "U":
                self._at -= 1
                self.fail(f"unknown group or flag {char!r}")
        return char == ":"

    def _repetition(self, node: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        self._take("?")
        if self.more() and (self._peek() in "*+?" or self._counted(self._at)):
            self.fail("a repetition of a repetition")
        return Repeat(node, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for token, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(token):
                return bounds
        counted = self._counted(self._at)
        if counted is None:
            return None
        least, most, self._at = counted
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            self.fail(f"bad repetition count (the limit is {MAX_REPEAT})")
        return least, most

    def _counted(self, at: int) -> tuple[int, int | None, int] | None:
        """``{n}``, ``{n,}`` or ``{n,m}`` at ``at``; anything else in braces stands for itself."""
        end = self._text.find("}", at, at + 16)
        if end < 0 or self._text[at] != "{":
            return None
        low, comma, high = self._text[at + 1 : end].partition(",")
        if not (low.isascii() and low.isdigit()) or (high and not (high.isascii() and high.isdigit())):
            return None
        return int(low), (int(high) if high else None) if comma else int(low), end + 1

    def _escape(self) -> Node:
        if self._peek() in _ASSERTS and self.more():
            return Assert(_ASSERTS[self._next()])
        found = self._class()
        return found if found is not None else self._char(self._escaped_char())

    def _class(self) -> Chars | None:
        """``\\d``, ``\\D``, ``\\pL``, ``\\P{Lu}`` and their like, after the backslash."""
        char = self._peek()
        if char and char in "dswDSW":
            self._at += 1
            return Chars(_PERL[char.lower()], negated=char.isupper())
        if char and char in "pP":
            self._at += 1
            return self._category(absent=char == "P")
        return None

    def _category(self, *, absent: bool) -> Chars:
        name = self._next("missing category")
        if name == "{":
            end = self._text.find("}", self._at)
            if end < 0:
                self.fail("missing }")
            name, self._at = self._text[self._at : end], end + 1
        if name.startswith("^"):
            name, absent = name[1:], not absent
        if name == "Any":
            return Chars(negated=not absent)
        if name not in _CATEGORIES:
            self.fail(f"unknown Unicode category {name!r} (scripts are not supported)")
        return Chars(categories=((name, absent),), fold=self._fold)

    def _escaped_char(self) -> str:
        char = self._next("trailing backslash")
        if char in _CONTROL:
            return _CONTROL[char]
        if char == "x":
            return self._hex()
        if char == "0" or (char in "1234567" and self._peek() and self._peek() in "01234567"):
            digits = char
            while len(digits) < 3 and self._peek() and self._peek() in "01234567":
                digits += self._next()
            return chr(int(digits, 8))
        if not char.isascii() or char.isalnum():
            self._at -= 1
            self.fail(f"unknown escape \\{char}")
        return char

    def _hex(self) -> str:
        if self._take("{"):
            end = self._text.find("}", self._at, self._at + 16)
            digits, after = self._text[self._at : max(end, self._at)], end + 1
        else:
            digits, after = self._text[self._at : self._at + 2], self._at + 2
            digits = digits if len(digits) == 2 else ""
        if not digits or any(digit not in "0123456789abcdefABCDEF" for digit in digits) or int(digits, 16) > 0x10FFFF:
            self.fail("bad hexadecimal escape")
        self._at = after
        return chr(int(digits, 16))

    def _bracket(self) -> Node:
        negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        parts: list[Chars] = []
        first = True
        while first or self._peek() != "]":
            first = False
            part = self._bracket_class()
            if part is not None:
                parts.append(part)
                continue
            low = high = self._bracket_char()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._bracket_char()
            if high < low:
                self.fail("a range that ends before it begins")
            ranges.append((low, high))
        self._at += 1
        return Chars(tuple(ranges), parts=tuple(parts), negated=negated, fold=self._fold)

    def _bracket_class(self) -> Chars | None:
        if self._take("[:"):
            end = self._text.find(":]", self._at)
            name = self._text[self._at : max(end, self._at)]
            negated = name.startswith("^")
            if name.removeprefix("^") not in _POSIX:
                self.fail(f"unknown class [:{name}:]")
            self._at = end + 2
            return Chars(_POSIX[name.removeprefix("^")], negated=negated)
        if self._peek() == "\\":
            self._at += 1
            found = self._class()
            if found is None:
                self._at -= 1
            return found
        return None

    def _bracket_char(self) -> str:
        char = self._next("missing ]")
        return self._escaped_char() if char == "\\" else char

    def _char(self, char: str) -> Chars:
        return Chars(((char, char),), fold=self._fold)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self, otherwise: str = "unexpected end") -> str:
        if not self.more():
            self.fail(otherwise)
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True
