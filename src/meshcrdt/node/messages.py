"""Which message codes belong to which machine.

A message is a tuple whose first item is its code. Codes are never reused. A code that a
version does not know is ignored, so that a minor version can add one.
"""

from __future__ import annotations

LINK_CODES = range(16)
"""Of these, the topology owns 0 and 1: ping and pong."""
GENESIS_ASK = 2
GENESIS = 3

GOSSIP_CODES = range(16, 32)
UNICAST_CODES = range(32, 48)

RECEIPT_PAYLOADS = range(64, 80)
IPAM_PAYLOADS = range(80, 96)
