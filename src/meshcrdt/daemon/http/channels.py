"""`/v1/channels`: keys and values of a channel, and its changes as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from meshcrdt.daemon import values
from meshcrdt.daemon.context import Daemon
from meshcrdt.daemon.http.problems import unknown
from meshcrdt.daemon.http.requests import json_body, segment
from meshcrdt.daemon.stories import story_key, story_object, why_none
from meshcrdt.errors import ClosedError
from meshcrdt.mesh.channel import MapChannel
from meshcrdt.mesh.resume import bookmark_of
from meshcrdt.mesh.watch import ABSENT, Change, Lost, Snapshot

HEARTBEAT_S = 10.0
"""A comment is sent so often, so that both ends notice when the other has gone."""


class ChannelRoutes:
    """The channel routes of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def routes(self) -> list[Route]:
        """Return the routes."""
        key = "/v1/channels/{channel}/{key}"
        return [
            Route("/v1/channels/{channel}", self.entries, methods=["GET"]),
            Route(key, self.get, methods=["GET"]),
            Route(key, self.put, methods=["PUT"]),
            Route(key, self.delete, methods=["DELETE"]),
            Route(f"{key}/explain", self.explain, methods=["GET"]),
        ]

    def _channel(self, request: Request) -> MapChannel:
        return self._daemon.mesh.channel(segment(request, "channel", values.channel))

    async def entries(self, request: Request) -> Response:
        """GET /v1/channels/{channel}, or with `?watch` its changes."""
        channel = self._channel(request)
        if "watch" in request.query_params:
            resume = request.headers.get("last-event-id") or None
            if resume is not None:
                bookmark_of(channel.name, resume)  # while a refusal can still be the status
            return WatchResponse(channel, self._daemon.control.stopping, resume)
        return JSONResponse({"entries": dict(channel.entries())})

    async def get(self, request: Request) -> Response:
        """GET /v1/channels/{channel}/{key}."""
        key = segment(request, "key", values.key)
        channel = self._channel(request)
        value = channel.get(key, ABSENT)
        if value is ABSENT:
            raise unknown(f"channel {channel.name!r} has no key {key!r}")
        return JSONResponse({"value": value})

    async def put(self, request: Request) -> Response:
        """PUT /v1/channels/{channel}/{key}."""
        key = segment(request, "key", values.key)
        channel = self._channel(request)
        value = await json_body(request)
        await channel.put(key, value)
        return JSONResponse({"channel": channel.name, "key": key, "value": value})

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/channels/{channel}/{key}."""
        key = segment(request, "key", values.key)
        await self._channel(request).delete(key)
        return Response(status_code=204)

    async def explain(self, request: Request) -> Response:
        """GET /v1/channels/{channel}/{key}/explain."""
        channel = segment(request, "channel", values.channel)
        mesh = self._daemon.mesh
        story = mesh.explain(channel, segment(request, "key", story_key))
        if not story.records:
            raise unknown(why_none(mesh, story))
        return JSONResponse(story_object(mesh, story))


class WatchResponse(Response):
    """A watch as server-sent events, until the reader goes or the daemon ends."""

    def __init__(
        self, channel: MapChannel, stopping: trio.Event, resume: str | None = None
    ) -> None:
        super().__init__(media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._channel = channel
        self._stopping = stopping
        self._resume = resume

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the snapshot, then each change."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_gone, receive, nursery.cancel_scope)
            nursery.start_soon(self._until_stopping, nursery.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with self._channel.watch(resume=self._resume) as changes:
                await self._relay(aiter(changes), send)
            nursery.cancel_scope.cancel()
        if self._stopping.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _relay(self, changes: AsyncIterator[Snapshot | Change | Lost], send: Send) -> None:
        while True:
            data = b": still here\n\n"
            with trio.move_on_after(HEARTBEAT_S):
                try:
                    event = await anext(changes)
                except (StopAsyncIteration, ClosedError):
                    return
                data = event_bytes(event)
            await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _until_gone(self, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _until_stopping(self, scope: trio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()


def event_bytes(event: Snapshot | Change | Lost) -> bytes:
    """Return one server-sent event; its id resumes the stream after it (Last-Event-ID)."""
    data = b"data: " + json.dumps(event_object(event), ensure_ascii=False).encode()
    token = None if isinstance(event, Lost) else event.token
    return data + (b"\n\n" if token is None else b"\nid: " + token.encode() + b"\n\n")


def event_object(event: Snapshot | Change | Lost) -> dict[str, Any]:
    """Return the contract's object for one event of a watch."""
    match event:
        case Snapshot():
            return {"kind": "snapshot", "entries": dict(event.entries)}
        case Change():
            shown = {"absent": True} if event.value is ABSENT else {"value": event.value}
            more = {"more": event.more} if event.more else {}
            return {"kind": "change", "key": event.key, **shown, **more}
        case _:
            return {"kind": "lost", "count": event.count}
