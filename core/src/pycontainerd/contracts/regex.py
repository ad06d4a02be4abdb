"""Regular expressions for patterns that strangers send: RE2's syntax, and no pattern that takes forever.

Python's `re` backtracks, so ``(a+)+$`` on a long label would hold the interpreter for hours. Here a pattern becomes a
non-deterministic automaton whose states are tracked together: the time is bounded by pattern length times text length,
and what has been worked out for one text is remembered for the next (a deterministic automaton built as it is needed).
Only the question «is it in there?» is answered; there are no groups to get out.
"""

from __future__ import annotations

import attrs

from .regex_syntax import Assert, Chars, Choice, Node, RegexError, Repeat, Sequence, parse

__all__ = ["Regex", "RegexError"]

MAX_PROGRAM = 4000  # instructions a pattern may compile to
MAX_EDGES = 50_000  # steps of the deterministic automaton that are remembered

_START, _LINE, _WORD, _OTHER, _END = "start", "line", "word", "other", "end"


@attrs.define
class _Step:
    """One instruction: read a character (``chars``), look around (``look``), or go on at all of ``to``; none: match."""

    chars: Chars | None = None
    look: str = ""
    to: tuple[int, ...] = ()


@attrs.define(eq=False)
class _State:
    """Where a text may stand: instructions to follow, what kind of character came before, and edges known so far."""

    steps: frozenset[int]
    before: str
    edges: dict[str, _State | None]
    accepts: bool | None = None  # whether a text that ends here matches


class Regex:
    """A compiled pattern. Thread-safe.

    :raises RegexError: the pattern is not in RE2's syntax, or too big.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._program: list[_Step] = []
        self._states: dict[tuple[frozenset[int], str], _State] = {}
        self._edges = 0
        entry = self._compile(parse(pattern), self._add(_Step()))
        self._looks = any(step.look for step in self._program)
        self._entry = frozenset([entry])
        self._first = self._state(self._entry, _START)

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in ``text``."""
        state = self._first
        for char in text:
            try:
                following = state.edges[char]
            except KeyError:
                following = self._advance(state, char)
            if following is None:
                return True
            state = following
        if state.accepts is None:
            state.accepts = 0 in self._closure(state.steps, state.before, _END)
        return state.accepts

    def _advance(self, state: _State, char: str) -> _State | None:
        """The state after ``char``, remembered; None when the pattern has matched before ``char``."""
        reached = self._closure(state.steps, state.before, _kind(char))
        following: _State | None = None
        if 0 not in reached:
            moved = {to for at in reached if self._reads(at, char) for to in self._program[at].to}
            following = self._state(self._entry | moved, _kind(char))
        self._remember(state, char, following)
        return following

    def _remember(self, state: _State, char: str, following: _State | None) -> None:
        self._edges += 1
        if self._edges > MAX_EDGES:
            self._edges = 0
            for known in list(self._states.values()):
                known.edges.clear()
            self._states.clear()
        state.edges[char] = following

    def _reads(self, at: int, char: str) -> bool:
        chars = self._program[at].chars
        return chars is not None and chars.has(char)

    def _state(self, steps: frozenset[int], before: str) -> _State:
        key = (steps, before if self._looks else "")
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State(steps, key[1], {})
        return state

    def _closure(self, steps: frozenset[int], before: str, after: str) -> set[int]:
        """Every instruction reachable from ``steps`` without reading, between those two kinds of character."""
        reached = set(steps)
        todo = list(steps)
        while todo:
            step = self._program[todo.pop()]
            if step.chars is not None or (step.look and not _holds(step.look, before, after)):
                continue
            fresh = [to for to in step.to if to not in reached]
            reached.update(fresh)
            todo += fresh
        return reached

    def _add(self, step: _Step) -> int:
        if len(self._program) >= MAX_PROGRAM:
            raise RegexError("it is too big once its repetitions are written out")
        self._program.append(step)
        return len(self._program) - 1

    def _compile(self, node: Node, then: int) -> int:
        """Add the instructions of ``node``, which go on at ``then``; where they begin."""
        match node:
            case Chars():
                return self._add(_Step(chars=node, to=(then,)))
            case Assert():
                return self._add(_Step(look=node.look, to=(then,)))
            case Sequence():
                for part in reversed(node.parts):
                    then = self._compile(part, then)
                return then
            case Choice():
                return self._add(_Step(to=tuple(self._compile(part, then) for part in node.parts)))
            case Repeat():
                return self._repeat(node, then)

    def _repeat(self, node: Repeat, then: int) -> int:
        if node.most is None:
            loop = self._add(_Step())
            self._program[loop].to = (self._compile(node.part, loop), then)
            then = loop
        else:
            end = then
            for _ in range(node.most - node.least):
                then = self._add(_Step(to=(self._compile(node.part, then), end)))
        for _ in range(node.least):
            entry = self._compile(node.part, then)
            if entry == then:
                break  # nothing, however often
            then = entry
        return then


def _kind(char: str) -> str:
    if char == "\n":
        return _LINE
    return _WORD if char == "_" or (char.isascii() and char.isalnum()) else _OTHER


def _holds(look: str, before: str, after: str) -> bool:
    match look:
        case "text-start":
            return before == _START
        case "text-end":
            return after == _END
        case "line-start":
            return before in (_START, _LINE)
        case "line-end":
            return after in (_END, _LINE)
    boundary = (before == _WORD) != (after == _WORD)
    return boundary == (look == "word-boundary")
