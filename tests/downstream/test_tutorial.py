"""The tutorial, as it is printed: its files are written, its commands run in one shell, and what they print is compared."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from pycontainerd.sys.mount import remove_tree
from pycontainerd.testing import leftovers, needs

pytestmark = pytest.mark.root
TUTORIAL = Path(__file__).resolve().parents[2] / "docs/tutorial.md"
PLACE = "/tmp/first"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEXT = "---next---"


def steps(text: str) -> list[tuple[str, str]]:
    """Every block: what it is and its text."""
    return [(found[1], found[2]) for found in BLOCK.finditer(text)]


def script(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The shell script that does it all, and each command with what it is to print."""
    lines, expected = ["exec 2>&1"], []
    for kind, body in steps(text):
        if kind != "console":
            lines.append(written(body))
            continue
        for command, out in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
            lines += [command, f"echo '{NEXT}' $?"]
            expected.append((command, out))
    return "\n".join(lines) + "\n", expected


def written(body: str) -> str:
    """A command that writes the file a block begins with."""
    head, _, rest = body.partition("\n")
    path, _, how = head.removeprefix("# ").partition(", ")
    path = f"{PLACE}/{path}"
    target = {"": path, "added": path, "at the top": f"{path}.new"}[how]
    mode = ">>" if how == "added" else ">"
    command = f"cat {mode} {target} <<'END'\n{rest}END"
    if how == "at the top":
        command += f"\ncat {path} >> {target}; mv {target} {path}"
    return command


def pattern(out: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, out.split("..."))) + r"\Z", re.DOTALL)


def test_every_command_of_the_tutorial_does_what_it_says(clean_venv):
    needs.command("runc")
    pip = Path(clean_venv.path / "bin/pip")
    # pip's command line, with uv's cache behind it: no index is asked for what is there.
    pip.write_text(f'#!/bin/sh\nverb=$1; shift\nexec {clean_venv.uv} pip "$verb" --python {clean_venv.python} "$@"\n')
    pip.chmod(0o755)
    area = tempfile.mkdtemp(prefix="pyc-", dir="/tmp")
    text, expected = script(TUTORIAL.read_text(encoding="utf-8"))
    place = f"{area}/first"
    environment = {**clean_venv.environment(), leftovers.MARK: area}
    out = Path(f"{area}/out")
    Path(f"{area}/script").write_text(text.replace(PLACE, place), encoding="utf-8")
    try:
        # Not through pipes: a daemon that a step has left running would hold them open.
        with out.open("w", encoding="utf-8") as file:
            subprocess.run(
                ["bash", f"{area}/script"], env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                timeout=110, check=False,
            )  # fmt: skip
    finally:
        printed = out.read_text(encoding="utf-8").replace(place, PLACE)
        print(printed)
        leftovers.remove(area)
        remove_tree(area)
        pip.unlink()
    said = re.split(rf"{NEXT} (\d+)\n", printed)
    outputs, statuses = said[:-1:2], said[1::2]
    assert len(outputs) == len(expected)
    for (command, out), real, status in zip(expected, outputs, statuses, strict=True):
        assert status == "0", f"$ {command}\nended with {status}:\n{real}"
        assert pattern(out).match(real), f"$ {command}\nprinted\n{real}\nwhere the tutorial has\n{out}"


def test_nothing_in_the_tutorial_is_passed_over():
    text = TUTORIAL.read_text(encoding="utf-8")
    assert {kind for kind, _ in steps(text)} <= {"console", "toml", "python"}
    assert text.count("\n$ ") == len(script(text)[1])
    for kind, body in steps(text):
        assert kind == "console" or body.startswith("# "), f"which file is this?\n{body}"
    assert not os.path.exists(PLACE)
