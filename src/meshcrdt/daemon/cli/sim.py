"""Verbs of the simulator: sim run, sim list, sim compare, sim sweep, sim replay.

They ask no daemon. What they need is loaded when they run, so that no other verb waits for it.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from meshcrdt.daemon.cli.app import Common, common_options, example_text, verb
from meshcrdt.daemon.cli.parameters import Checked
from meshcrdt.daemon.exits import CommandError

RUN_EXAMPLE = "meshcrdt sim run partition-heal --seed 7 --nodes 20"


def _nodes(text: str) -> int:
    from meshcrdt.daemon.simulate.files import nodes_in_range

    return nodes_in_range(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no seed: a whole number, 0 or more, is accepted")
    return int(text)


def _seeds(text: str) -> tuple[int, ...]:
    from meshcrdt.daemon.simulate.pool import parse_seeds

    return parse_seeds(text)


def _executor(text: str) -> str:
    from meshcrdt.daemon.simulate.pool import parse_executor

    return parse_executor(text)


def _plot(text: str) -> str:
    from meshcrdt.daemon.simulate.plot import plot_path

    return plot_path(text)


NODES = click.option(
    "--nodes", metavar="N", type=Checked("nodes", _nodes), help="Nodes, in place of the file's."
)
SAVE = click.option("--save", metavar="FILE", help="Write the result there as JSON, too.")
PLOT = click.option(
    "--plot",
    metavar="FILE",
    type=Checked("plot", _plot),
    help="Draw the result: .svg, .png or .pdf.",
)


@click.group(
    "sim",
    epilog=example_text(RUN_EXAMPLE),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@common_options
def sim() -> None:
    """Run whole clusters in the simulator: no daemon, no network, one number replays a run."""


@verb("run", example=RUN_EXAMPLE)
@click.argument("scenario", metavar="SCENARIO")
@click.option(
    "--seed",
    metavar="N",
    type=Checked("seed", _seed),
    default="0",
    show_default=True,
    help="What all chance follows from.",
)
@NODES
@SAVE
@PLOT
@click.option("--record", metavar="FILE", help="Write every event and effect of every node there.")
def run(
    common: Common,
    scenario: str,
    seed: int,
    nodes: int | None,
    save: str | None,
    plot: str | None,
    record: str | None,
) -> None:
    """Run SCENARIO, a TOML file or a name that `sim list` shows.

    Exits 1 when an invariant is violated or an expectation of the scenario is not met.
    """
    from meshcrdt.daemon.simulate import runs

    _finish(common, runs.run(scenario, seed=seed, nodes=nodes, record=record), save, plot)


@verb("list", example="meshcrdt sim list --json")
def list_scenarios(common: Common) -> None:
    """List the scenarios that come with meshcrdt."""
    from meshcrdt.daemon.cli.output import table
    from meshcrdt.daemon.simulate.files import load_scenario, shipped

    scenarios = [load_scenario(name) for name in shipped()]
    entries = {each.name: {"nodes": each.nodes, "about": each.about} for each in scenarios}
    rows = [(each.name, each.nodes, each.about.partition("\n")[0]) for each in scenarios]
    common.emit({"entries": entries}, lambda: table(("NAME", "NODES", "ABOUT"), rows))


@verb("compare", example="meshcrdt sim compare before.json after.json")
@click.argument("first", metavar="FIRST")
@click.argument("second", metavar="SECOND")
def compare(common: Common, first: str, second: str) -> None:
    """Show two saved results side by side, and the ratio of SECOND to FIRST."""
    from meshcrdt.daemon.simulate.files import load_result
    from meshcrdt.daemon.simulate.show import comparison_text
    from meshcrdt.sim.compare import compare as compare_results

    rows = compare_results(load_result(first), load_result(second))
    figures = {
        row.figure: {"first": row.first, "second": row.second, "ratio": row.ratio} for row in rows
    }
    common.emit({"figures": figures}, lambda: comparison_text(rows, first, second))


@verb("sweep", example="meshcrdt sim sweep partition-heal --seeds 0..199")
@click.argument("scenario", metavar="SCENARIO")
@click.option(
    "--seeds",
    metavar="FIRST..LAST",
    type=Checked("seeds", _seeds),
    required=True,
    help="A range of seeds, or a list such as 1,2,17.",
)
@NODES
@click.option(
    "--executor",
    metavar="WHERE",
    type=Checked("executor", _executor),
    default="process",
    show_default=True,
    help="process, thread, or the scheduler of a Dask cluster: dask://HOST:PORT.",
)
@click.option("--workers", metavar="N", type=Checked("workers", _nodes), help="Runs at a time.")
@SAVE
@PLOT
def sweep(
    common: Common,
    scenario: str,
    seeds: tuple[int, ...],
    nodes: int | None,
    executor: str,
    workers: int | None,
    save: str | None,
    plot: str | None,
) -> None:
    """Run SCENARIO under many seeds, as many at a time as there are processors.

    Exits 1 when a run fails, and names its seed.
    """
    from meshcrdt.daemon.simulate import runs

    def done(result: dict[str, Any]) -> None:
        if not common.json and sys.stderr is not None and sys.stderr.isatty():
            click.echo(f"seed {result['seed']}: {'held' if result['held'] else 'failed'}", err=True)

    value = runs.sweep(scenario, seeds, nodes=nodes, executor=executor, workers=workers, done=done)
    _finish(common, value, save, plot)


@verb("replay", example="meshcrdt sim replay incident.trace")
@click.argument("trace", metavar="TRACE")
@click.option("--node", metavar="NAME", help="Replay this node of the trace only.")
def replay(common: Common, trace: str, node: str | None) -> None:
    """Give the events of a recorded TRACE to nodes again, and compare what they do.

    Exits 1 where a node does something else than was recorded, and shows the first difference.
    """
    from meshcrdt.daemon.simulate import runs

    value = runs.replay(trace, node=node)
    common.emit(value, lambda: runs.replay_text(value))
    if not value["same"]:
        raise CommandError(f"trace {trace}: a node does something else than was recorded")


def _finish(common: Common, value: dict[str, Any], save: str | None, plot: str | None) -> None:
    """Print a result, keep it where it is wanted, and end with what it means."""
    if save is not None:
        from meshcrdt.daemon.simulate.files import save as save_result

        save_result(save, value)
    if plot is not None:
        from meshcrdt.daemon.simulate.plot import plot as plot_result

        plot_result(value, plot)
    from meshcrdt.daemon.simulate.show import result_text

    common.emit(value, lambda: result_text(value))
    if not value["held"]:
        raise CommandError(f"scenario {value['scenario']}: not everything held")


for _command in (run, list_scenarios, compare, sweep, replay):
    sim.add_command(_command)
