"""The verb about how a key came to its value: why."""

from __future__ import annotations

import json
from typing import Any

import click

from meshcrdt.daemon.cli.app import Common, verb
from meshcrdt.daemon.cli.output import table
from meshcrdt.daemon.cli.parameters import CHANNEL, KEY
from meshcrdt.daemon.client import segment

WHOLE_PATH = "%00"
"""The key of a channel that is one value; nobody can type it."""
VALUE_CHARACTERS_MAX = 40
ID_DIGITS = 8
HEADERS = ("WRITER", "EPOCH", "SEQ", "AGE", "FROM", "VALUE", "VERDICT", "REASON")


@verb("why", example="meshcrdt why acme/services web")
@click.argument("channel", metavar="CHANNEL", type=CHANNEL)
@click.argument("key", metavar="[KEY]", type=KEY, required=False)
def why(common: Common, channel: str, key: str | None) -> None:
    """Show why KEY of CHANNEL reads as it does here: who wrote what, and which record wins.

    A channel that is one value, such as a counter, has no KEY. A CHANNEL or KEY of which
    nothing was ever held here exits 1.
    """
    part = WHOLE_PATH if key is None else segment(key)
    story = common.client().call("GET", f"/v1/channels/{segment(channel)}/{part}/explain")
    common.emit(story, lambda: table(HEADERS, [_row(each) for each in story["records"]]))


def _row(record: dict[str, Any]) -> tuple[object, ...]:
    sender = record["from"]
    return (
        _peer(record["writer"]),
        record["epoch"],
        record["seq"],
        f"{record['age_s']:.1f} s",
        f"({record['source']})" if sender is None else _peer(sender),
        _value(record),
        _verdict(record),
        record["reason"],
    )


def _peer(peer: dict[str, Any]) -> str:
    short = str(peer["peer"])[:ID_DIGITS]
    return f"{peer['name']} ({short})" if peer["name"] else f"({short})"


def _verdict(record: dict[str, Any]) -> str:
    writers = ", ".join(map(_peer, record["superseded_by"]))
    return f"{record['verdict']} by {writers}" if writers else str(record["verdict"])


def _value(record: dict[str, Any]) -> str:
    if "value" in record:
        text = json.dumps(record["value"], ensure_ascii=False)
    else:
        text = f"0x{record['bytes']}" if "bytes" in record else "-"
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"
