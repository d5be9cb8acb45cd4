"""The application that the commands register with, and its options before any command."""

from __future__ import annotations

from typing import Annotated

import typer

from ..version import __version__

app = typer.Typer(
    name="sitsfuse",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=lambda v: _version(v))
    ] = False,
) -> None:
    """Fuse sparse sharp and dense coarse satellite image time series: sharp images at every date.

    Try `sitsfuse demo` first. Then, on your own images: `sitsfuse info GUIDE`, `sitsfuse fuse GUIDE TARGET -o OUT`.
    """


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit
