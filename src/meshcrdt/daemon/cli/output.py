"""Tables for people: drawn by rich on a terminal, plain columns everywhere else."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

READABLE_MAX = 10**9


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as text; cells are printed with `str`."""
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty():
        return _drawn(headers, cells)
    widths = [
        max(len(header), *(len(row[column]) for row in cells), 0)
        for column, header in enumerate(headers)
    ]
    lines = [list(headers), *cells]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _drawn(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(*headers, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        drawn.add_row(*(escape(cell) for cell in row))
    console = Console()
    with console.capture() as capture:
        console.print(drawn)
    return capture.get().rstrip("\n")


def count(number: int) -> str:
    """Return a count for people: an IPv6 range has more addresses than anybody reads."""
    if number < READABLE_MAX:
        return f"{number:,}"
    bits = math.log2(number)
    exact = number == 1 << (number.bit_length() - 1)
    return f"2^{number.bit_length() - 1}" if exact else f"about 2^{bits:.4g}"
