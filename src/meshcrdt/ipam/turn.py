"""What one call into the machine gives back, collected in the order that makes it safe."""

from __future__ import annotations

from collections.abc import Iterable

from meshcrdt.ipam.outcomes import Outcome
from meshcrdt.ipam.outputs import Answer, Notice, Output, Store


class Turn:
    """Collects rows, outputs and answers; all rows of a turn are one Store, answers come last."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes | None] = {}
        self._outputs: list[Output] = []
        self._answers: list[Output] = []
        self.count = 0
        """How many turns came to their end: nothing of the machine moves outside of one."""

    def rows(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Add rows of the own table; a later row of a key replaces an earlier one."""
        for key, value in rows:
            self._rows[key] = value

    def output(self, output: Output) -> None:
        """Add an output that does not depend on the rows of this turn."""
        self._outputs.append(output)

    def answer(self, request: int, outcome: Outcome) -> None:
        """Add the outcome of a call."""
        self._answers.append(Answer(request, outcome))

    def notice(self, level: str, text: str) -> None:
        """Add a line for the operator."""
        self._outputs.append(Notice(level, text))

    def finish(self) -> list[Output]:
        """Return everything and begin anew."""
        self.count += 1
        stores: list[Output] = [Store(tuple(self._rows.items()))] if self._rows else []
        outputs = [*stores, *self._outputs, *self._answers]
        self._rows, self._outputs, self._answers = {}, [], []
        return outputs
