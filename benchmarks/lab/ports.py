"""Which ports are whose, in every namespace of the bench."""

FIRST_PEER_PORT = 20_000
LAST_PEER_PORT = 29_999
"""Where peers listen for each other; what is on other ports is not counted."""
FIRST_CONTROL_PORT = 30_000
"""Where the bench speaks to peers."""
