"""in sync: what it costs to learn that nothing is new, and to move one changed key.

python -m benchmarks.engine.in_sync
"""

from benchmarks.engine.engines import main

COUNT = 60_000

if __name__ == "__main__":
    main("in_sync", COUNT)
