"""Floor 7: the trio shell. `open_mesh` gives a node with a clock, sockets and a disk.

The shell decides nothing. It brings events to the node's door and performs the effects
that come out: `driver` owns the node, `performer` is its hands, `pump` moves one link's
frames, `storekeeper` writes, `gatekeeper` lets links in.
"""
