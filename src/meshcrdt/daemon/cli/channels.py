"""Verbs about channels: put, get, delete, watch."""

from __future__ import annotations

import json
from typing import Any

import click

from meshcrdt.daemon.cli.app import Common, verb
from meshcrdt.daemon.cli.output import table
from meshcrdt.daemon.cli.parameters import CHANNEL, KEY
from meshcrdt.daemon.client import segment
from meshcrdt.daemon.exits import CommandError
from meshcrdt.errors import UsageError
from meshcrdt.mesh.values import json_value


def _value(text: str) -> Any:
    """Read VALUE as JSON, else take it as a string."""
    try:
        return json_value(text.encode())
    except (UsageError, UnicodeEncodeError):
        return text


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@verb(
    "put",
    example="""meshcrdt put acme/services web '{"port": 80}'""",
    # A negative number is a value here, and no option.
    click_settings={"ignore_unknown_options": True},
)
@click.argument("channel", metavar="CHANNEL", type=CHANNEL)
@click.argument("key", metavar="KEY", type=KEY)
@click.argument("value", metavar="VALUE")
def put(common: Common, channel: str, key: str, value: str) -> None:
    """Set KEY of CHANNEL to VALUE: JSON, or else a string."""
    path = f"/v1/channels/{segment(channel)}/{segment(key)}"
    result = common.client().call("PUT", path, body=_value(value), has_body=True)
    common.emit(result)


@verb("get", example="meshcrdt get acme/services web")
@click.argument("channel", metavar="CHANNEL", type=CHANNEL)
@click.argument("key", metavar="[KEY]", type=KEY, required=False)
def get(common: Common, channel: str, key: str | None) -> None:
    """Show KEY of CHANNEL, or all its entries; an absent KEY exits 1."""
    if key is not None:
        found = common.client().call("GET", f"/v1/channels/{segment(channel)}/{segment(key)}")
        common.emit(found, lambda: _shown(found["value"]))
        return
    listing = common.client().call("GET", f"/v1/channels/{segment(channel)}")
    rows = [(name, _shown(value)) for name, value in sorted(listing["entries"].items())]
    common.emit(listing, lambda: table(("KEY", "VALUE"), rows))


@verb("delete", example="meshcrdt delete acme/services web")
@click.argument("channel", metavar="CHANNEL", type=CHANNEL)
@click.argument("key", metavar="KEY", type=KEY)
def delete(common: Common, channel: str, key: str) -> None:
    """Remove KEY from CHANNEL; done also when it is absent."""
    common.client().call("DELETE", f"/v1/channels/{segment(channel)}/{segment(key)}")
    common.emit({})


@verb("watch", example="meshcrdt watch acme/services --json")
@click.argument("channel", metavar="CHANNEL", type=CHANNEL)
@click.option("--resume", metavar="TOKEN", help="Go on after the event that had this token.")
def watch(common: Common, channel: str, resume: str | None) -> None:
    """Print CHANNEL's entries, then each change, until interrupted."""
    if resume is not None and not (resume.isascii() and resume.isprintable()):
        raise click.BadParameter("it is not the token of an event", param_hint="--resume")
    path = f"/v1/channels/{segment(channel)}?watch"
    for event in common.client().events(path, last_event_id=resume):
        common.emit(event, _event_text(event))
    raise CommandError("the daemon ended the watch")


def _event_text(event: dict[str, Any]) -> str:
    match event["kind"]:
        case "snapshot":
            return "\n".join(f"{k} = {_shown(v)}" for k, v in sorted(event["entries"].items()))
        case "change" if event.get("absent"):
            return f"{event['key']} deleted"
        case "change":
            return f"{event['key']} = {_shown(event['value'])}"
        case _:
            return f"({event.get('count')} changes were not shown)"
