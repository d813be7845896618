"""What the demo tells, live: one line a step with its time, and tables."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Account:
    """The live account of one run."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._begun = time.monotonic()
        self.failures: list[str] = []

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._console.print(f"\n[bold]{escape(title)}[/bold]")

    def tell(self, text: str) -> None:
        """Tell one step."""
        self._console.print(f"[dim]{self.elapsed_s:6.1f} s[/dim]  {escape(text)}")

    def check(self, what: str, problem: str | None) -> None:
        """Tell whether an invariant held; `problem` says how it did not."""
        word, colour, why = ("held", "green", "") if problem is None else ("BROKEN", "red", problem)
        if problem is not None:
            self.failures.append(f"{what}: {problem}")
        line = f"{what}: {why}" if why else what
        self._console.print(
            f"[dim]{self.elapsed_s:6.1f} s[/dim]  [{colour}]{word:<6}[/{colour}]  {escape(line)}"
        )

    def table(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table."""
        table = Table(*headers, title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self._console.print(table)

    def verdict(self) -> int:
        """Tell the end and return the exit code."""
        if self.failures:
            self._console.print(f"\n[red]{len(self.failures)} invariants did not hold:[/red]")
            for failure in self.failures:
                self._console.print(f"  {escape(failure)}")
            return 1
        self._console.print(f"\n[green]Every invariant held[/green], {self.elapsed_s:.0f} s.")
        return 0
