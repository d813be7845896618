"""CRDT engine, addresses and names: what one core does, beside other engines."""
