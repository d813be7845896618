"""One host's dataplane, driven over standard input and output; tests start it in a namespace.

Each line in is a JSON object: {"config": {...}} first, then {"desired": {...}},
{"check": [...]}, {"plan": {...}} or {"reset": true}. Each gets one JSON line back. Reports of
the watch come as {"watched": {...}}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from meshcrdt.dataplane.linux import LinuxDataplane, open_linux
from meshcrdt.dataplane.linux_kernel import LinuxKernel
from meshcrdt.dataplane.model import (
    DataplaneConfig,
    Desired,
    Endpoint,
    Exposure,
    Gateway,
    Port,
    Remote,
    Report,
)
from meshcrdt.dataplane.plan import plan


def read_desired(tree: dict[str, Any]) -> Desired:
    gateway = tree.get("gateway", {})
    return Desired(
        ports=tuple(Port(**item) for item in tree.get("ports", [])),
        remotes=tuple(Remote(**item) for item in tree.get("remotes", [])),
        endpoints=tuple(Endpoint(**item) for item in tree.get("endpoints", [])),
        gateway=Gateway(
            addresses=gateway.get("addresses", ()),
            exposure=Exposure(gateway.get("exposure", "host")),
        ),
    )


def shown(report: Report) -> dict[str, Any]:
    return {
        "paths": dict(report.paths),
        "gone": list(report.gone),
        "errors": list(report.errors),
        "mtu": report.mtu,
    }


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


async def answer(dataplane: LinuxDataplane, kernel: LinuxKernel, request: dict[str, Any]) -> None:
    if "desired" in request:
        say(shown(await dataplane.apply(read_desired(request["desired"]))))
    elif "check" in request:
        say({"reason": await dataplane.check(request["check"])})
    elif "plan" in request:
        wanted = read_desired(request["plan"])
        seen = await trio.to_thread.run_sync(kernel.observe, dataplane.config, wanted)
        found = plan(dataplane.config, wanted, seen)
        say({"plan": [type(operation).__name__ for operation in found]})
    elif "reset" in request:
        await dataplane.reset()
        say({"reset": True})
    else:
        raise SystemExit(f"unknown request {request}")


async def relay(reports: trio.MemoryReceiveChannel[Report]) -> None:
    async for report in reports:
        say({"watched": shown(report)})


async def main() -> None:
    config = DataplaneConfig(**json.loads(sys.stdin.readline())["config"])
    dataplane, kernel = open_linux(config), LinuxKernel(config)
    async with dataplane.run() as reports, trio.open_nursery() as nursery:
        nursery.start_soon(relay, reports)
        say({"ready": True})
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            await answer(dataplane, kernel, json.loads(line))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
