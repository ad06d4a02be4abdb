"""Every hook has documentation and a test, and an implementation that fits no hook is refused where it is written."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from pycontainerd.contracts import hooks
from pycontainerd.contracts.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from pycontainerd.contracts.hooks import Hooks, hook, refusal

TESTS = Path(__file__).resolve().parents[2]


def covered() -> set[str]:
    """The hooks that tests say they are about: ``@pytest.mark.hook("name")``."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.hook":
                found |= {ast.literal_eval(argument) for argument in node.args}
    return found


@pytest.mark.parametrize("name", hooks.names())
def test_every_hook_says_when_it_is_called_and_what_happens_when_it_raises(name: str) -> None:
    text = inspect.getdoc(getattr(Hooks, name)) or ""
    assert len(text.split("\n\n")) >= 3, f"{name}: a summary, when it is called, and what an error does"
    assert "Called " in text
    assert "Raising" in text or "raising" in text


@pytest.mark.parametrize("name", hooks.names())
def test_every_hook_has_a_test_that_runs_the_real_thing(name: str) -> None:
    assert name in covered(), f'no test is marked @pytest.mark.hook("{name}")'


def test_every_marked_test_is_about_a_hook_that_there_is() -> None:
    assert covered() <= set(hooks.names())


def test_a_misspelt_hook_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(InvalidArgument, match=r"there is no hook 'edit_oci_spek'.*did you mean edit_oci_spec"):

        @hook
        def edit_oci_spek() -> None: ...


def test_an_argument_that_the_hook_does_not_have_is_an_error_with_those_it_has() -> None:
    with pytest.raises(InvalidArgument, match=r"no argument 'container'.*namespace, id, runtime, spec"):

        @hook
        def edit_oci_spec(container: str) -> None: ...


def test_hooks_are_plain_functions() -> None:
    with pytest.raises(InvalidArgument, match="plain function"):

        @hook
        async def event_published() -> None: ...


def test_a_refusal_keeps_the_code_and_the_hint_of_the_plugins_error() -> None:
    failed = Exception("plugin x: its hook y failed: not this one (ask somebody)")
    failed.__cause__ = PermissionDenied("not this one", hint="ask somebody")
    made = refusal(failed, "cannot do it")
    assert isinstance(made, PermissionDenied)
    assert str(made) == "cannot do it: plugin x: its hook y failed: not this one (ask somebody)"
    failed.__cause__ = ZeroDivisionError()
    assert isinstance(refusal(failed, "cannot do it"), FailedPrecondition)
