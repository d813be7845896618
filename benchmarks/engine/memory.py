"""memory: resident memory an entry.

python -m benchmarks.engine.memory
"""

from benchmarks.engine.engines import main

COUNT = 50_000

if __name__ == "__main__":
    main("memory", COUNT)
