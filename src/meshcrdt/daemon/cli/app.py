"""The click group: verbs found lazily, and the options that go before and after any verb.

`--api`, `--json` and `--state-dir` mean the same in both places; the later one wins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from meshcrdt.daemon import places
from meshcrdt.daemon.client import ApiClient
from meshcrdt.daemon.exits import CommandError

F = TypeVar("F", bound=Callable[..., Any])

VERBS: Mapping[str, tuple[str, str]] = {
    "launch": ("launch", "Start the daemon on this host."),
    "stop": ("lifecycle", "Stop the daemon; workload traffic goes on."),
    "reset": ("lifecycle", "Leave the cluster and forget everything on this host."),
    "version": ("lifecycle", "Print the version."),
    "token": ("peers", "Make tokens that add a host."),
    "status": ("peers", "Show the daemon, its peers, ranges and names."),
    "connect": ("peers", "Add peers to connect to; kept over restarts."),
    "forget": ("peers", "Stop connecting to peers."),
    "rmpeer": ("peers", "Let a member go for good."),
    "allocate": ("addresses", "Give a workload an address."),
    "claim": ("addresses", "Take a given address for a workload."),
    "release": ("addresses", "Give back a workload's addresses."),
    "lookup": ("addresses", "Show a workload's addresses."),
    "ps": ("addresses", "List the addresses that this node holds."),
    "attach": ("workloads", "Connect a container or network namespace."),
    "detach": ("workloads", "Disconnect a container or network namespace."),
    "expose": ("workloads", "Give this host an address, and workloads the way outside."),
    "hide": ("workloads", "Close the way outside, or take single addresses from the host."),
    "dns-add": ("names", "Set this node's addresses for a name."),
    "dns-remove": ("names", "Remove this node's addresses from a name."),
    "dns-lookup": ("names", "Show the addresses of a name."),
    "dns-list": ("names", "List all names."),
    "put": ("channels", "Set a key of a channel."),
    "get": ("channels", "Show a key of a channel, or all of them."),
    "delete": ("channels", "Remove a key of a channel."),
    "watch": ("channels", "Print a channel's changes as they happen."),
    "why": ("stories", "Show why a key reads as it does."),
    "sim": ("sim", "Run whole clusters in the simulator."),
}
"""Verb -> (module of this package that holds it, its short help)."""


class Common:
    """What the options before and after a verb add up to."""

    def __init__(self) -> None:
        self.api: str | None = None
        self.state_dir: str | None = None
        self.json = False

    def client(self) -> ApiClient:
        """Return a client for the daemon that the options, variables and defaults mean."""
        root = places.is_root()
        try:
            url = places.resolve_api(self.api, self.state_dir, os.environ, root=root)
        except ValueError as error:
            # The flag was checked as it was read: what is wrong here is a variable.
            raise CommandError(str(error)) from None
        return ApiClient(url, state_dir=self.resolved_state_dir())

    def resolved_state_dir(self) -> Path:
        """Return the state directory that the options, variables and defaults mean."""
        return places.resolve_state_dir(self.state_dir, os.environ, root=places.is_root())

    def emit(self, value: Any, text: Callable[[], str] | str = "") -> None:
        """Print one JSON object with `--json`, else text for people."""
        shown = text() if callable(text) and not self.json else text
        if self.json:
            shown = json.dumps(value, ensure_ascii=False)
        if shown:
            click.echo(shown)

    def print_failure(self, error: CommandError) -> None:
        """Print the one line of an error, and with `--json` the outcome that it carries."""
        if self.json and error.body is not None:
            click.echo(json.dumps(error.body, ensure_ascii=False))
        click.echo(f"meshcrdt: {error}", err=True)


class LazyGroup(click.Group):
    """Finds a verb's module by name, so that one verb never loads another's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which a person meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb."""
        if cmd_name not in VERBS:
            return None
        module = import_module(f"meshcrdt.daemon.cli.{VERBS[cmd_name][0]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without loading any of them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


def _store(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Write an option into the object that both places share."""
    if value is None or value is False or ctx.resilient_parsing:
        return
    assert parameter.name is not None
    common = ctx.ensure_object(Common)
    if parameter.name == "api":
        try:
            places.parse_api(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=parameter) from None
    setattr(common, parameter.name, value)


def common_options(function: F) -> F:
    """Give a verb `--api`, `--state-dir` and `--json`."""
    for decorator in (
        click.option(
            "--json", is_flag=True, expose_value=False, callback=_store, help="Print JSON."
        ),
        click.option(
            "--state-dir",
            metavar="DIR",
            expose_value=False,
            callback=_store,
            help="Directory that holds all that a node remembers.",
        ),
        click.option(
            "--api",
            metavar="URL",
            expose_value=False,
            callback=_store,
            help="API address of the daemon: unix:///PATH or http://HOST:PORT.",
        ),
    ):
        function = decorator(function)
    return function


def example_text(example: str) -> str:
    r"""Return the end of a verb's help; \b keeps click from breaking a line that is copied."""
    return f"\b\nExample:\n  {example}"


def verb(
    name: str, *, example: str, click_settings: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a verb of a function: common options, an example in its help, its `Common` first."""

    def decorate(function: Callable[..., None]) -> click.Command:
        command = click.command(
            name,
            epilog=example_text(example),
            context_settings={"help_option_names": ["-h", "--help"], **(click_settings or {})},
        )
        return command(common_options(click.make_pass_decorator(Common)(function)))

    return decorate


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused or failed, 2 usage, 4 feature off, 5 no daemon.",
)
@common_options
def cli() -> None:
    """Connect workloads on many hosts without a central store."""
