"""bytes: what an update and an entry weigh, and a state after rewrites and deletions.

python -m benchmarks.engine.bytes
"""

from benchmarks.engine.engines import main

COUNT = 10_000

if __name__ == "__main__":
    main("bytes", COUNT)
