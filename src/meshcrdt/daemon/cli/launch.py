"""The verb `launch`: its options are generated from the table, its work is the daemon's."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from meshcrdt.daemon import places
from meshcrdt.daemon.cli.app import Common, common_options, example_text
from meshcrdt.daemon.cli.parameters import Checked
from meshcrdt.daemon.options import OPTIONS, Kind, Option

_SHARED = ("api", "state_dir")
"""Options of every verb, which come in by another way."""
_MANY = " May be given more than once."


def _declare(option: Option) -> Callable[[Any], Any]:
    checked = Checked(option.metavar or option.name, option.check)
    if option.flag == "PEER":
        return click.argument(option.name, metavar="[PEER]...", nargs=-1, type=checked)
    match option.kind:
        case Kind.SWITCH:
            return click.option(option.flag, option.name, is_flag=True, help=option.help)
        case Kind.MANY | Kind.ONE:
            return click.option(
                option.flag,
                *option.also,
                option.name,
                metavar=option.metavar,
                type=checked,
                multiple=option.kind is Kind.MANY,
                help=option.help + (_MANY if option.kind is Kind.MANY else ""),
            )


def _all_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        if option.name not in _SHARED:
            function = _declare(option)(function)
    return function


@click.command(
    "launch",
    epilog=example_text("meshcrdt launch 192.0.2.7 --join-file token.txt"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@_all_options
@click.option("--config", "config_file", metavar="FILE", help="TOML file with these options.")
@click.option("--resume", is_flag=True, help="Accepted; a state directory is always resumed.")
@click.option("--detach", is_flag=True, help="Return when the daemon is ready.")
@common_options
@click.make_pass_decorator(Common)
def launch(
    common: Common, /, config_file: str | None, resume: bool, detach: bool, **given: Any
) -> None:
    """Start the daemon; PEER addresses say whom to connect to.

    A first launch without PEER makes a new cluster; with PEER and a token it joins one. Later
    launches on the same state directory need neither.
    """
    from meshcrdt.daemon.config import load_settings

    # By identity: the 0 that --mtu auto means equals False.
    flags = {
        name: value
        for name, value in given.items()
        if value is not None and value is not False and value != ()
    }
    for name in _SHARED:
        if getattr(common, name) is not None:
            value = getattr(common, name)
            flags[name] = places.parse_api(value) if name == "api" else value
    settings = load_settings(
        flags, environ=os.environ, config_file=config_file, root=places.is_root()
    )
    from meshcrdt.daemon.launch import launch_daemon, launch_detached

    code = launch_detached(settings) if detach else launch_daemon(settings)
    if code:
        raise click.exceptions.Exit(code)
