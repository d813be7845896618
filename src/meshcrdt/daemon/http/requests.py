"""Reading requests: path segments, bodies and fields, each refused by name when wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from meshcrdt.daemon import values
from meshcrdt.daemon.http.problems import bad_value
from meshcrdt.errors import UsageError
from meshcrdt.mesh.values import json_value

T = TypeVar("T")
BODY_BYTES_MAX = 1024 * 1024
MISSING: Any = object()


class EncodedPath:
    """Routes by the path as it was sent, so that %2F stays inside its segment.

    The lifespan is answered here: the application has nothing to do then, and the daemon
    may end the server by cancelling it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with its raw path."""
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        if scope["type"] == "http" and scope.get("raw_path"):
            scope = {**scope, "path": scope["raw_path"].decode("ascii", "replace")}
        await self._app(scope, receive, send)


def segment(request: Request, name: str, check: Callable[[str], T]) -> T:
    """Return one decoded and checked segment of the path."""
    raw = request.path_params[name]
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise bad_value(f"{name} {raw!r} is not UTF-8") from None
    return checked(name, text, check)


def checked(name: str, text: Any, check: Callable[[str], T]) -> T:
    """Return `text` as `check` accepts it; a ValueError becomes the problem of a bad value."""
    if not isinstance(text, str):
        raise bad_value(f"{name} {text!r} is {type(text).__name__}: a string is expected")
    try:
        return check(text)
    except ValueError as error:
        raise bad_value(str(error)) from None


async def json_body(request: Request) -> Any:
    """Return the body as any JSON value; raises the Problem of a bad or too large one."""
    data = bytearray()
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) > BODY_BYTES_MAX:
                    raise bad_value(f"the body has over {BODY_BYTES_MAX} bytes: too many")
    except ClientDisconnect:
        raise bad_value("the body was not sent to its end") from None
    try:
        return json_value(bytes(data))
    except UsageError as error:
        raise bad_value(f"the body is {error}") from None


class Fields:
    """The members of a JSON object in a body; each is taken once, the rest is refused."""

    def __init__(self, members: Mapping[str, Any], accepted: Collection[str]) -> None:
        unknown = sorted(set(members) - set(accepted))
        if unknown:
            raise bad_value(
                f"member {unknown[0]!r} is unknown: {', '.join(accepted)} are accepted"
                if accepted
                else f"member {unknown[0]!r} is unknown: none is accepted"
            )
        self._members = members

    @classmethod
    async def of(cls, request: Request, *accepted: str) -> Fields:
        """Read the body of a request as an object."""
        body = await json_body(request)
        if not isinstance(body, dict):
            raise bad_value(f"the body is {type(body).__name__}: an object is expected")
        return cls(body, accepted)

    def text(self, name: str, check: Callable[[str], T], default: Any = MISSING) -> Any:
        """Return a string member; absent or null gives `default`, or a problem without one."""
        value = self._members.get(name)
        if value is None:
            if default is MISSING:
                raise bad_value(f"member {name!r} is missing: a string is expected")
            return default
        return checked(name, value, check)

    def texts(self, name: str, check: Callable[[str], T], *, at_least: int = 0) -> tuple[T, ...]:
        """Return a member that is a list of strings."""
        value = self._members.get(name)
        value = [] if value is None else value
        if not isinstance(value, list) or len(value) < at_least:
            raise bad_value(
                f"member {name!r} is {value!r}: a list of at least {at_least} strings is expected"
            )
        return tuple(checked(name, item, check) for item in value)

    def seconds(self, name: str, default: float, *, high: float = values.TIMEOUT_S_MAX) -> float:
        """Return a member that is a number of seconds, above 0 and at most `high`."""
        value = self._members.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= high:
            raise bad_value(f"member {name!r} is {value!r}: above 0 to {high:g} s are accepted")
        return float(value)

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a member that is a whole number within [low, high]."""
        value = self._members.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise bad_value(f"member {name!r} is {value!r}: {low} to {high} are accepted")
        return value

    def flag(self, name: str) -> bool:
        """Return a member that is true or false; absent or null is false."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, bool):
            raise bad_value(f"member {name!r} is {value!r}: true or false is accepted")
        return bool(value)
