"""What a run leaves behind."""

from __future__ import annotations

from attrs import define, field

from meshcrdt.sim.expect import Verdict
from meshcrdt.sim.metrics import Measured
from meshcrdt.sim.scenario import Scenario


@define
class Report:
    """The outcome of one run; `violations` empty means that every invariant held."""

    scenario: Scenario
    violations: list[str] = field(factory=list)
    trace_hash: str = ""
    steps: int = 0
    frames: int = 0
    bytes_sent: int = 0
    commands: int = 0
    acknowledged: int = 0
    outcomes: dict[str, int] = field(factory=dict)
    """How often each kind of outcome was heard, by the name of its record."""
    crashes: int = 0
    partitions: int = 0
    converged_after_s: float | None = None
    measured: Measured = field(factory=Measured)
    spread: list[tuple[float, float]] = field(factory=list)
    """Which share of the deliveries had happened so many seconds after they were sent."""
    verdicts: list[Verdict] = field(factory=list)
    """What was expected, and whether it held."""

    @property
    def held(self) -> bool:
        """Return True when no invariant was violated and every expectation was met."""
        return not self.violations and all(verdict.held for verdict in self.verdicts)

    def __str__(self) -> str:
        head = (
            f"seed {self.scenario.seed}: {self.steps} steps, {self.frames} frames, "
            f"{self.bytes_sent} bytes, {self.acknowledged}/{self.commands} acknowledged, "
            f"{self.crashes} crashes, {self.partitions} partitions, trace {self.trace_hash}"
        )
        missed = [f"  missed: {verdict}" for verdict in self.verdicts if not verdict.held]
        return "\n".join([head, *(f"  violated: {line}" for line in self.violations), *missed])
