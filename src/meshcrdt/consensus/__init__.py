"""Guardian registers: one sequence of decisions, chosen by a majority of a few named stores.

A register is CASPaxos (Rystsov, 2018) with two additions. Every decision carries a proof,
so that whoever was not asked can check it alone; and the set of guardians is part of the
value and changes by majorities of the old and the new set. What is ordered here is small
and rare: who governs the cluster, and what the shards of the IP space hand out. Everything
else is a CRDT and needs nobody's consent.

Rule N and counter-example CN refer to the model check of the design: see docs/adr.
"""
