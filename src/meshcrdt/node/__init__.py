"""Floor 4: the sans-IO door that joins topology, gossip, ipam and names in one node.

`effects = node.handle(event, now)`; ask `node.next_deadline()` and call
`node.handle_timeout(now)` when it passes. Nothing here reads a clock, opens a socket or
rolls dice that it was not given.
"""
