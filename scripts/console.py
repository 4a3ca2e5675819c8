"""The only place that prints: results on stdout, progress and problems on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def say(text: str = "") -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201


def progress(text: str) -> None:
    """Print what is being done or has just been done."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header, columns aligned."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
