"""The log: text or JSON, and no forged lines."""

from __future__ import annotations

import io
import json
import logging

from meshcrdt.daemon.log import set_up_log


def test_text_is_one_line_whatever_a_peer_is_called() -> None:
    stream = io.StringIO()
    set_up_log("info", "text", stream).info("peer %s", "a\nb\x1b[2J")
    logging.getLogger("meshcrdt.http").debug("not shown")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("info    peer a b\\x1b[2J")


def test_json_has_a_time_a_level_and_the_peer() -> None:
    stream = io.StringIO()
    logger = set_up_log("warning", "json", stream)
    logger.warning("gone", extra={"peer": "ab12"})
    logger.info("not shown")
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["message"], entry["peer"]) == ("warning", "gone", "ab12")
    assert entry["time"].endswith("Z")
