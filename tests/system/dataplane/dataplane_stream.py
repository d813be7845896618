"""A TCP transfer both ways, proven by hash; tests run each end in a workload's namespace.

`serve ADDRESS PORT BYTES` and `send ADDRESS PORT BYTES [PAUSE_S]`: each sends BYTES of its own
stream and receives the other's. Both streams follow from a seed, so each end knows what to
expect. Exit 0 and "ok" only when every byte arrived as sent.
"""

from __future__ import annotations

import hashlib
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 60.0


def stream(seed: str, size: int) -> Iterator[bytes]:
    chunk = random.Random(seed).randbytes(_CHUNK_BYTES)
    for start in range(0, size, _CHUNK_BYTES):
        # Every chunk differs, so that one lost or doubled is seen.
        yield (start.to_bytes(8, "big") + chunk)[: min(_CHUNK_BYTES, size - start)]


def digest(parts: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def received(connection: socket.socket) -> Iterator[bytes]:
    while data := connection.recv(_CHUNK_BYTES):
        yield data


def exchange(connection: socket.socket, mine: str, theirs: str, size: int, pause_s: float) -> bool:
    def push() -> None:
        for part in stream(mine, size):
            connection.sendall(part)
            if pause_s:
                time.sleep(pause_s)
        connection.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=push)
    sender.start()
    got = digest(received(connection))
    sender.join()
    return got == digest(stream(theirs, size))


def main() -> int:
    role, address, port, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    pause_s = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if role == "serve":
        with socket.create_server((address, port), family=family) as listener:
            print("listening", flush=True)
            listener.settimeout(_TIMEOUT_S)
            connection, _ = listener.accept()
    else:
        connection = socket.create_connection((address, port), timeout=_TIMEOUT_S)
        print("connected", flush=True)
    with connection:
        connection.settimeout(_TIMEOUT_S)
        other = "send" if role == "serve" else "serve"
        is_right = exchange(connection, role, other, size, pause_s)
    print("ok" if is_right else "the bytes differ", flush=True)
    return 0 if is_right else 1


if __name__ == "__main__":
    raise SystemExit(main())
