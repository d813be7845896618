"""`make demo`: the main job, run live by real daemon processes, with a readable account.

No daemon has a fault switch: the demo owns the TCP relays between them and stops
forwarding. It exits 0 only when its invariants held.
"""
