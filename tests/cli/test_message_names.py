"""Messages of the library name parameters as Python does; the command line shows its own names of them."""

from __future__ import annotations

import ast
from pathlib import Path

import sitsfuse

SOURCE = Path(sitsfuse.__file__).parent


def test_errors_outside_the_command_line_name_no_option_of_it() -> None:
    named = []
    for path in sorted(SOURCE.rglob("*.py")):
        if "cli" in path.relative_to(SOURCE).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError":
                texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                named += [f"{path.name}:{node.lineno}" for t in texts if t.startswith("--") or " --" in t]
    assert named == []
