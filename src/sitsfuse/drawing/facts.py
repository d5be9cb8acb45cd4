"""A fact: a number with its label, as the head of a page shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """A number that matters."""

    label: str
    value: str
    note: str = ""
