"""All commands together, and what every error looks like. Heavy imports wait until a command runs."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import NoReturn, cast

import typer

from ..errors import InputError, missing_extra
from .app import app
from .benchmark import benchmark, report
from .data import info, search, simulate
from .demo import demo
from .evaluate import evaluate
from .fuse import fuse, methods
from .naming import Command
from .prepare import prepare
from .settings import Terminal, configured
from .study import study
from .train import app as train
from .view import view

INTERRUPTED = 130
"""Exit status after Ctrl-C, which the parser returns as well."""
EXTRAS = {
    "jinja2": "report",
    "matplotlib": "report",
    "PIL": "report",
    "safetensors": "torch",
    "tomli_w": "torch",
    "torch": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "distributed": "scale",
    "eodag": "download",
    "odc.stac": "stac",
}
"""Modules that need not be installed, and the extra that brings each."""
_UsageError = cast(
    "type[typer.BadParameter]", typer.BadParameter.__bases__[0]
)  # the parser's: from click, or from its copy inside newer typer

app.add_typer(train, name="train")
for command in (demo, simulate, info, search, prepare, fuse, evaluate, view, methods, benchmark, study, report):
    app.command(cls=Command)(configured(command))


def main() -> NoReturn:
    """Run the command line; exit 0 done, 2 bad usage or input, 130 interrupted, 1 anything else."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a pipe cannot show, such as a path that is not UTF-8, is escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logger = logging.getLogger("sitsfuse")
    logger.handlers = [Terminal()]
    logger.setLevel(logging.WARNING)
    debug = "--debug" in sys.argv[1:]
    # The flag may stand anywhere: commands need not know it.
    arguments = [a for a in sys.argv[1:] if a != "--debug"] or ["--help"]
    try:
        code = app(args=arguments, prog_name="sitsfuse", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; nothing more to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except InputError as error:
        _fail(str(error), 2, debug)
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else "sitsfuse"
        _fail(f"{error.format_message().rstrip('.') or 'no command given'}; see `{command} --help`", 2, debug)
    except OSError as error:
        # The system's own words, where it names a place: no permission, a full disk, a folder for a file …
        if error.filename is None:
            _fail(f"{type(error).__name__}: {error} (show more with --debug)", 1, debug)
        _fail(f"{os.fsdecode(error.filename)}: {error.strerror}; choose another place or mend it", 2, debug)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
            _fail(str(missing_extra(EXTRAS[error.name], error.name)), 2, debug)
        _fail(f"{type(error).__name__}: {error} (show more with --debug)", 1, debug)
    if code == INTERRUPTED:
        _fail("interrupted; run it again to go on where it was", INTERRUPTED, debug=False)
    sys.exit(code or 0)


def _fail(text: str, code: int, debug: bool) -> NoReturn:
    """One line on stderr, after the traceback if it is asked for, and exit."""
    if debug:
        import traceback

        traceback.print_exc()
    logging.getLogger("sitsfuse").error("%s", text)
    sys.exit(code)
