"""map: 10k sets, a merge of 10k divergent entries, and set + delta + apply one by one.

python -m benchmarks.engine.map
"""

from benchmarks.engine.engines import main

COUNT = 10_000

if __name__ == "__main__":
    main("map", COUNT)
