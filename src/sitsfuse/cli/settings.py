"""What every command takes: options from a file, and how much is told, where."""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from .naming import as_options

PANEL = "Options from a file, and messages"
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
"""What is told without -v, with -v and with -vv."""
COMPILING = "sitsfuse.compiling"
"""The logger that tells of compilations."""
_LOGGER = logging.getLogger("sitsfuse")


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--config``, ``--dump-config``, ``-v`` and ``--log-file``, which it need not know of."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())
    extra = list(inspect.signature(_settings, eval_str=True).parameters.values())

    @functools.wraps(command)
    def run(**given: Any) -> None:
        ctx = given.pop("ctx")
        dump, verbose, log_file = (given.pop(name) for name in ("dump_config", "verbose", "log_file"))
        del given["config_file"]
        if dump:
            print(dumped(ctx), end="")
            return
        listen(verbose, log_file, " ".join(sys.argv))
        command(**given)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *extra]]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    del run.__wrapped__
    return run


def _settings(
    ctx: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            is_eager=True,
            callback=lambda ctx, value: _configure(ctx, value),
            help="Options by their names, mtf = 0.3, those of one command alone under its name, [fuse]. What the "
            "command line says counts more.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    dump_config: Annotated[
        bool,
        typer.Option("--dump-config", help="Print all options as such a file, and do nothing.", rich_help_panel=PANEL),
    ] = False,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Tell more; -vv: all.", rich_help_panel=PANEL)
    ] = 0,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", help="Append all messages to a file.", rich_help_panel=PANEL)
    ] = None,
) -> None:
    """The options, as a signature."""


# --- options from a file ---------------------------------------------------------------------------------------------


def _configure(ctx: typer.Context, path: Path | None) -> Path | None:
    """Take options that the command line does not give from a file."""
    if path is not None:
        ctx.default_map = read_options(path, ctx)
    return path


def read_options(path: Path, ctx: typer.Context) -> dict[str, Any]:
    """The options of a command in a TOML file, by the names of their parameters.

    Raises
    ------
    InputError
        If the file cannot be read, or names an option that the command does not have.
    """
    from ..runtime.files import read_toml

    content = read_toml(path, "give a TOML file of options to --config")
    names = _names(ctx.command)
    commands = getattr(ctx.find_root().command, "commands", {})
    common = {key: value for key, value in content.items() if key not in commands}
    section: Any = content
    for part in ctx.command_path.split()[1:]:
        section = section.get(part, {})
        if not isinstance(section, dict):
            raise InputError(path, f"{part} is not a table", f"put the options of {part} under [{part}]")
    others = {name for command in _leaves(ctx.find_root().command) for name in _names(command)}
    found = {}
    for key, value in (common | section).items():
        name = names.get(key.replace("_", "-"))
        if name is not None:
            found[name] = _texts(value, name in _repeated(ctx.command))
        elif key in section or key.replace("_", "-") not in others:
            near = difflib.get_close_matches(key, names, 1)
            mend = f"do you mean {near[0]}?" if near else f"choose among {', '.join(names)}"
            raise InputError(path, f"{key!r} is not an option of {ctx.command_path}", mend)
    return found


def _texts(value: Any, several: bool) -> Any:
    """A value as the parser takes it: a table is name=value, several times; a list has commas in one text."""
    if isinstance(value, dict):
        return [f"{name}={_one(v)}" for name, v in value.items()]
    if several:
        return value if isinstance(value, list) else [value]
    return _one(value)


def _one(value: Any) -> Any:
    return ",".join(str(v) for v in value) if isinstance(value, list) else value


def _leaves(command: Any) -> Iterator[Any]:
    """A command, or all that it leads to."""
    if hasattr(command, "commands"):
        for inner in command.commands.values():
            yield from _leaves(inner)
    else:
        yield command


def _names(command: Any) -> dict[str, str]:
    """The command's parameters by their names in a file."""
    without = {"help", *inspect.signature(_settings).parameters}
    shown = [p for p in command.params if p.name is not None and p.name not in without]
    return {_name(p): str(p.name) for p in shown}


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).replace("_", "-")
    return str(max(parameter.opts, key=len)).lstrip("-")


def _repeated(command: Any) -> set[str]:
    """The parameters that take several values."""
    return {str(p.name) for p in command.params if getattr(p, "multiple", False) or p.nargs == -1}


def dumped(ctx: typer.Context) -> str:
    """The options of a command with their present values, as a file for ``--config``."""
    lines = [f"# sitsfuse {' '.join(ctx.command_path.split()[1:])} --config THIS_FILE"]
    repeated = _repeated(ctx.command)
    for key, name in _names(ctx.command).items():
        value = ctx.params.get(name)
        if value is None or (name in repeated and not value):
            lines.append(f"# {key} = ")
        elif name in repeated:
            lines.append(f"{key} = [{', '.join(_toml(v) for v in value)}]")
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A bool, a number or a text in TOML, whose strings JSON's are among."""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


# --- messages --------------------------------------------------------------------------------------------------------


class Terminal(logging.Handler):
    """Shows what the package logs, a line each."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        # That something is compiled explains a wait: it is not a matter of how much one wants to know.
        if record.levelno >= self.shown or record.name == COMPILING:
            print(f"sitsfuse: {' '.join(as_options(record.getMessage()).split())}", file=sys.stderr, flush=True)


def listen(verbose: int, log_file: Path | None, command: str) -> None:
    """Let the package's messages through: to the terminal by how often -v is given, to a file all."""
    level = LEVELS[min(verbose, len(LEVELS) - 1)]
    for handler in _LOGGER.handlers:
        if isinstance(handler, Terminal):
            handler.shown = level
    if log_file is not None:
        try:
            kept = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise InputError(log_file, f"cannot be written ({error.strerror})", "give another --log-file") from error
        kept.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        _LOGGER.addHandler(kept)
        level = logging.DEBUG
    _LOGGER.setLevel(level)
    _LOGGER.debug("%s", command)
