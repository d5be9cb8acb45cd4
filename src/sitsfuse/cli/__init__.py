"""The command line: parses, calls one function, prints."""

from .main import main

__all__ = ["main"]
