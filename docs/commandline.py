"""The reference of the command line, from the parser itself."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from sitsfuse.cli.app import app
from sitsfuse.cli.main import main as _registered  # noqa: F401  (registers the commands)
from sitsfuse.cli.settings import PANEL

HEAD = """The
exit status is 0 where all went well, 2 where usage or input is at fault (one line says what, and how to mend it), 130
after Ctrl-C and 1 for anything else.
"""


def write_commands(page: Path) -> None:
    """Write the page of all commands."""
    root = typer.main.get_command(app)
    page.write_text(HEAD + "".join(sections(root, "sitsfuse")), encoding="utf-8")


def sections(command: Any, name: str) -> Iterator[str]:
    """The section of a command, or those of its subcommands."""
    if hasattr(command, "commands"):
        for sub, inner in command.commands.items():
            yield from sections(inner, f"{name} {sub}")
        return
    shown = " ".join(metavar(p) for p in command.params if p.param_type_name == "argument")
    usage = " ".join(part for part in (name, shown, "[OPTIONS]") if part)
    yield f"\n## {name}\n\n    {usage}\n\n{inspect.cleandoc(command.help or '')}\n"
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    named = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    # What every command takes stands once, above all of them.
    options = [p for p in named if getattr(p, "rich_help_panel", None) != PANEL]
    panels: dict[str, list[Any]] = {}
    for option in options:
        panels.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(option)
    for title, rows in ({"Arguments": arguments} | panels).items():
        if rows:
            yield f"\n| {title} | | default |\n|---|---|---|\n" + "".join(row(p) for p in rows)


def metavar(parameter: Any) -> str:
    """How an argument is written in the usage line."""
    return str(parameter.metavar or parameter.name.upper())


def row(parameter: Any) -> str:
    """A row of a table: names, what it means, default."""
    if parameter.param_type_name == "argument":
        names = code(metavar(parameter))
    else:
        names = ", ".join(code(name) for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    text = re.sub(r"\s+", " ", parameter.help or "")
    silent = default is None or default is False or callable(default) or default in ((), []) or "Default:" in text
    shown = "" if silent else code(str(default))
    required = "required" if parameter.required and parameter.param_type_name == "option" else shown
    return f"| {names} | {cell(text)} | {required} |\n"


def code(text: str) -> str:
    """Text as code in a cell of a table."""
    return f"`{text}`".replace("|", "\\|")


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
