"""A numbered conversation between two workloads, by TCP and by UDP at once.

`echo ADDRESS PORT` answers; `talk ADDRESS PORT` sends a numbered record every few
milliseconds on each until a line comes on standard input, then prints what it saw as JSON:
how many were sent, how many never came back, whether TCP's came in order, and the longest
silences in seconds.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
import time

RECORD = struct.Struct(">Q504x")
INTERVAL_S = 0.005
LAST_WORDS_S = 3.0


def echo(address: str, port: int) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, port))
    with socket.create_server((address, port)) as listener:
        print("listening", flush=True)
        stream, _ = listener.accept()
    threading.Thread(target=_echo_datagrams, args=(udp,), daemon=True).start()
    with stream:
        while data := stream.recv(65_536):
            stream.sendall(data)


def _echo_datagrams(udp: socket.socket) -> None:
    while True:
        data, asker = udp.recvfrom(2_048)
        udp.sendto(data, asker)


class Heard:
    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0
        self.last_at = time.monotonic()

    def one(self) -> None:
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - self.last_at)
        self.last_at = now
        self.count += 1


def talk(address: str, port: int) -> int:
    stream = socket.create_connection((address, port), timeout=30)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect((address, port))
    print("talking", flush=True)
    tcp_heard, udp_heard, sent, in_order = Heard(), Heard(), 0, True
    pending = b""
    next_at, end_at = time.monotonic(), None
    while True:
        now = time.monotonic()
        if end_at is not None and (now > end_at or tcp_heard.count == udp_heard.count == sent):
            break
        if end_at is None and now >= next_at:
            record = RECORD.pack(sent)
            stream.sendall(record)
            udp.send(record)
            sent += 1
            next_at += INTERVAL_S
        wait_s = max(0.0, next_at - now) if end_at is None else 0.05
        readable, _, _ = select.select([stream, udp, sys.stdin], [], [], wait_s)
        if sys.stdin in readable and end_at is None:
            end_at = now + LAST_WORDS_S
        if udp in readable:
            udp.recv(2_048)
            udp_heard.one()
        if stream in readable:
            pending += stream.recv(65_536)
            while len(pending) >= RECORD.size:
                in_order = in_order and RECORD.unpack_from(pending)[0] == tcp_heard.count
                pending = pending[RECORD.size :]
                tcp_heard.one()
    found = {
        "sent": sent,
        "tcp_lost": sent - tcp_heard.count,
        "udp_lost": sent - udp_heard.count,
        "in_order": in_order,
        "tcp_silence_s": round(tcp_heard.longest_s, 3),
        "udp_silence_s": round(udp_heard.longest_s, 3),
    }
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    role, where, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if role == "echo":
        echo(where, number)
    else:
        raise SystemExit(talk(where, number))
