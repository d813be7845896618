"""HTTP `/v1` against its own document: routes, codes and shapes, on a real node in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from attrs import evolve, frozen
from trio.testing import MockClock, wait_all_tasks_blocked

from meshcrdt.base.ids import Dot, PeerId
from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.crdt import GCounter
from meshcrdt.daemon import values
from meshcrdt.daemon.config import load_settings
from meshcrdt.daemon.context import Control, Daemon
from meshcrdt.daemon.http.app import make_app
from meshcrdt.daemon.http.guard import Guard
from meshcrdt.daemon.http.peers import openapi_document
from meshcrdt.daemon.workloads import attach as attach_module
from meshcrdt.daemon.workloads.attach import Workloads
from meshcrdt.daemon.workloads.records import Remembered
from meshcrdt.daemon.workloads.targets import Place
from meshcrdt.ipam import outcomes
from meshcrdt.mesh.birth import Security
from meshcrdt.mesh.open import open_mesh
from meshcrdt.node.explain import KeyStory, RecordStory, Verdict
from meshcrdt.node.views import NODE_CHANNELS

DOCUMENT: Any = openapi_document()


@frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """Calls an ASGI application directly, as anycorn would."""

    def __init__(self, app: Any, daemon: Daemon) -> None:
        self.app = app
        self.daemon = daemon
        self.sent: list[dict[str, Any]] = []
        """What was sent in answer to the last call."""

    def scope(
        self, method: str, target: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the ASGI scope of a request."""
        path, _, query = target.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
            "client": None,
            "server": None,
        }

    async def call(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        scope = self.scope(method, target, headers)
        incoming = [{"type": "http.request", "body": data, "more_body": False}]
        sent = self.sent = []

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop(0)
            await trio.sleep_forever()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return answer_of(sent)

    async def holds(self, method: str, target: str, body: Any = None, **more: Any) -> Answer:
        """Call, and check the answer against the document."""
        answer = await self.call(method, target, body, **more)
        conforms(answer, method, target)
        return answer


def answer_of(sent: Sequence[Mapping[str, Any]]) -> Answer:
    return Answer(
        sent[0]["status"],
        {k.decode(): v.decode() for k, v in sent[0]["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


def conforms(answer: Answer, method: str, target: str) -> None:
    """Check an answer against what the document says of its operation and code."""
    responses = operation_of(method, target)["responses"]
    assert str(answer.status) in responses, (method, target, answer)
    content = resolved(responses[str(answer.status)]).get("content", {})
    if not content:
        assert answer.body == b""
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, (kind, content)
    check(answer.json, content[kind]["schema"], where=f"{method} {target}")


def resolved(node: Any) -> Any:
    """Follow a reference into the components of the document."""
    if "$ref" not in node:
        return node
    _, _, section, name = node["$ref"].split("/")
    return DOCUMENT["components"][section][name]


def operation_of(method: str, target: str) -> Any:
    parts = target.partition("?")[0].split("/")
    candidates = [
        pattern
        for pattern, operations in DOCUMENT["paths"].items()
        if len(pattern.split("/")) == len(parts)
        and all(p == q or p.startswith("{") for p, q in zip(pattern.split("/"), parts, strict=True))
        and method.lower() in operations
    ]
    assert candidates, f"{method} {target} is not in the document"
    best = min(candidates, key=lambda pattern: pattern.count("{"))
    return DOCUMENT["paths"][best][method.lower()]


TYPES: Mapping[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def check(value: Any, schema: Any, *, where: str) -> None:
    """Check a value against the part of JSON Schema that the document uses."""
    schema = resolved(schema)
    if "oneOf" in schema:
        fitting = [one for one in schema["oneOf"] if fits(value, one)]
        assert len(fitting) == 1, (where, value)
        return
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], where
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert any(isinstance(value, TYPES[name]) for name in names), (where, value, names)
    if isinstance(value, dict) and "properties" in schema:
        missing = set(schema.get("required", ())) - set(value)
        assert not missing, (where, missing)
        for key, item in value.items():
            if key in schema["properties"]:
                check(item, schema["properties"][key], where=f"{where}.{key}")
            else:
                assert schema.get("additionalProperties", True) is not False, (where, key)
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for key, item in value.items():
            check(item, schema["additionalProperties"], where=f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for item in value:
            check(item, schema["items"], where=f"{where}[]")


def fits(value: Any, schema: Any) -> bool:
    try:
        check(value, schema, where="one of several")
    except AssertionError:
        return False
    return True


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    settings = load_settings(
        {"state_dir": str(tmp_path), "dataplane": "none", "ipalloc_range": ("10.44.0.0/29",)},
        environ={},
        config_file=None,
        root=False,
    )
    async with open_mesh(name="n1", universes=["10.44.0.0/29"]) as mesh:
        daemon = Daemon(mesh=mesh, settings=settings, control=Control(tmp_path / "lock"))
        # Its own directory record reaches the store first: digests are still after that.
        await wait_all_tasks_blocked(0.01)
        yield Api(make_app(daemon), daemon)


def test_the_document_and_the_routes_are_the_same() -> None:
    from meshcrdt.daemon.http import addresses, channels, names, peers, workloads

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return Anything()

    daemon: Any = Anything()
    topics = (
        peers.PeerRoutes,
        addresses.AddressRoutes,
        channels.ChannelRoutes,
        names.NameRoutes,
        workloads.WorkloadRoutes,
    )
    served = {
        (route.path, method)
        for topic in topics
        for route in topic(daemon).routes()
        for method in route.methods or ()
        if method != "HEAD"
    }
    documented = {
        (path, method.upper())
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert served == documented


def test_every_operation_has_an_id_of_its_own_and_a_summary() -> None:
    operations = [
        operation
        for path in DOCUMENT["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(operation["summary"].endswith(".") for operation in operations)
    anywhere = {"401", "403", "405", "421", "500"}
    assert all(anywhere <= set(operation["responses"]) for operation in operations)


def test_the_document_has_the_defaults_and_bounds_of_a_token() -> None:
    body = DOCUMENT["paths"]["/v1/token"]["post"]["requestBody"]["content"]["application/json"]
    ttl_s, uses = body["schema"]["properties"]["ttl_s"], body["schema"]["properties"]["uses"]
    assert (ttl_s["default"], ttl_s["maximum"]) == (values.TOKEN_TTL_S, values.TOKEN_TTL_S_MAX)
    assert (uses["default"], uses["maximum"]) == (values.TOKEN_USES, values.TOKEN_USES_MAX)


async def test_status_health_and_the_document(api: Api) -> None:
    status = (await api.holds("GET", "/v1/status")).json
    assert (status["state"], status["name"], status["minority"]) == ("ready", "n1", False)
    assert (await api.holds("GET", "/v1/health")).json == {"state": "ready"}
    assert (await api.holds("GET", "/v1/openapi.json")).json == DOCUMENT


async def test_addresses(api: Api) -> None:
    allocate = "/v1/ipam/allocate"
    first = await api.holds("POST", allocate, {"id": "a/b ü"})
    assert first.json["outcome"] == "allocated"
    assert first.json["address"].endswith("/29")
    assert (await api.holds("POST", allocate, {"id": "a/b ü"})).json == first.json
    path = f"/v1/ipam/{quote('a/b ü', safe='')}"
    assert (await api.holds("GET", path)).json["addresses"] == [first.json["address"]]
    assert (await api.holds("GET", "/v1/ipam/nobody")).status == 404
    held = first.json["address"].partition("/")[0]
    refused = await api.holds("POST", "/v1/ipam/claim", {"id": "c", "address": held})
    assert (refused.status, refused.json["outcome"]) == (409, "refused")
    assert refused.json["holder"] == "a/b ü"
    claimed = await api.holds("POST", "/v1/ipam/claim", {"id": "c", "address": "10.44.0.5"})
    assert (claimed.status, claimed.json["outcome"]) == (200, "claimed")
    assert (await api.holds("GET", "/v1/ipam")).json["entries"].keys() == {"a/b ü", "c"}
    for target in (path, path, "/v1/ipam/c/10.44.0.5", "/v1/ipam/c/10.44.0.6"):
        assert (await api.holds("DELETE", target)).status == 204
    assert (await api.holds("GET", "/v1/ipam")).json == {"entries": {}}


async def test_a_full_range_is_409_with_the_outcome(api: Api) -> None:
    for number in range(6):
        answer = await api.holds("POST", "/v1/ipam/allocate", {"id": f"w{number}"})
        assert answer.status == 200
    full = await api.holds("POST", "/v1/ipam/allocate", {"id": "one more", "timeout_s": 0.5})
    assert (full.status, full.json["outcome"]) == (409, "exhausted")
    assert "10.44.0.0/29" in full.json["reason"]
    assert full.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (outcomes.Exhausted("full"), 409),
        (outcomes.Frozen("two records"), 409),
        (outcomes.Refused("held", "x"), 409),
        (outcomes.Unreachable("no guardian"), 503),
        (outcomes.Recovering("loading"), 503),
        (outcomes.Draining("ending"), 503),
        (outcomes.TimedOut("too late"), 504),
    ],
)
async def test_every_outcome_has_its_code(
    api: Api, monkeypatch: pytest.MonkeyPatch, outcome: Any, status: int
) -> None:
    async def allocate(*_: Any, **__: Any) -> Any:
        return outcome

    monkeypatch.setattr(api.daemon.mesh.ipam, "allocate", allocate)
    answer = await api.holds("POST", "/v1/ipam/allocate", {"id": "a"})
    assert answer.status == status
    assert answer.json["outcome"] == outcome.outcome
    assert answer.json["reason"] == outcome.reason
    assert ("retry-after" in answer.headers) == (status == 503)
    # Attach and expose ask for the same: who calls them may tell a wait from a refusal too.
    plane: Any = OpenPlane()
    workloads = Workloads(
        api.daemon.mesh, api.daemon.settings.state_dir, Remembered(), default_subnet=None
    )
    workloads.plane = plane
    api.daemon.workloads = workloads
    here = Place(id="netns:/x", namespace="/x", identity="1:1")
    monkeypatch.setattr(attach_module, "find_place", lambda target: here)
    for path, body in (("/v1/attach", {"target": "netns:/x"}), ("/v1/expose", {})):
        again = await api.holds("POST", path, body)
        assert (again.status, again.json) == (answer.status, answer.json), path
        assert ("retry-after" in again.headers) == (status == 503)


class OpenPlane:
    """As much of a plane as is asked before there is an address."""

    def why_closed(self) -> None:
        return None

    async def settle(self) -> None:
        pass


async def test_channels(api: Api) -> None:
    path = "/v1/channels/acme%2Fthings/k%2F1"
    assert (await api.holds("GET", path)).status == 404
    bodies: tuple[Any, ...] = ({"a": [1, 2.5, None]}, "text", None, False, 0, [])
    for value in bodies:
        put = await api.holds("PUT", path, raw=json.dumps(value).encode())
        assert put.json == {"channel": "acme/things", "key": "k/1", "value": value}
        assert (await api.holds("GET", path)).json == {"value": value}
    entries = (await api.holds("GET", "/v1/channels/acme%2Fthings")).json
    assert entries == {"entries": {"k/1": []}}
    for _ in range(2):
        assert (await api.holds("DELETE", path)).status == 204
    assert (await api.holds("GET", path)).status == 404
    assert (await api.holds("GET", "/v1/channels/empty")).json == {"entries": {}}


async def test_a_story_tells_who_wrote_a_key_and_from_whom_it_came(
    api: Api, autojump_clock: MockClock
) -> None:
    secret = b"s" * 32
    async with (
        open_mesh(name="n1", listen=["mem://n1"], secret=secret) as n1,
        open_mesh(name="n2", peers=["mem://n1"], secret=secret) as n2,
    ):
        await n1.members(at_least=2, timeout=30)
        await n2.members(at_least=2, timeout=30)
        receipt = await n2.channel("acme/things").put("k/1", [80])
        await receipt.reached(timeout=30)
        path = "/v1/channels/acme%2Fthings/k%2F1/explain"
        daemon = evolve(api.daemon, mesh=n1)
        there = Api(make_app(daemon), daemon)
        (before,) = (await there.holds("GET", path)).json["records"]
        autojump_clock.jump(50)
        story = (await there.holds("GET", path)).json
        (record,) = story.pop("records")
        assert story == {"channel": "acme/things", "key": "k/1", "type": "ormap-lww"}
        assert record.pop("age_s") == pytest.approx(before["age_s"] + 50, abs=1)
        assert "highest (counter, origin)" in record.pop("reason")
        writer = {"peer": str(n2.peer), "name": "n2"}
        assert record == {
            "writer": writer,
            "epoch": str(receipt.epoch),
            "seq": n1.explain("acme/things", "k/1").records[0].dot.seq,
            "value": [80],
            "source": "neighbour",
            "from": writer,
            "verdict": "wins",
            "superseded_by": [],
        }
        own_daemon = evolve(api.daemon, mesh=n2)
        own = await Api(make_app(own_daemon), own_daemon).holds("GET", path)
        (record,) = own.json["records"]
        assert (record["source"], record["from"], record["writer"]) == ("own", None, writer)


async def test_a_story_has_every_verdict_and_no_clock(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = api.daemon.mesh
    stranger = PeerId(b"x" * 16)
    mine = RecordStory(
        origin=mesh.peer,
        dot=Dot(mesh.peer, mesh.epoch, 7),
        value=b"no JSON",
        counter=3,
        from_peer=None,
        arrived_at=trio.current_time() - 20,
        superseded_by=(stranger,),
        verdict=Verdict.SUPERSEDED,
        reason="why",
    )
    cancel = evolve(mine, origin=stranger, value=None, superseded_by=(), arrived_at=1e12)
    records = (mine, *(evolve(cancel, verdict=verdict) for verdict in Verdict))
    monkeypatch.setattr(
        mesh, "explain", lambda channel, key: KeyStory(channel, key.encode(), None, records)
    )
    shown = (await api.holds("GET", "/v1/channels/c/k/explain")).json["records"]
    first, others = shown[0], shown[1:]
    assert 20 <= first["age_s"] < 30
    assert (first["seq"], first["bytes"]) == (7, b"no JSON".hex())
    assert first["superseded_by"] == [{"peer": str(stranger), "name": None}]
    assert {other["verdict"] for other in others} == {verdict.value for verdict in Verdict}
    for other in others:
        assert (other["source"], other["age_s"]) == ("disk", 0)
        assert not {"value", "bytes", "arrived_at"} & set(other)


async def test_a_story_of_nothing_is_404_and_names_what_is_there(api: Api) -> None:
    nothing = await api.holds("GET", "/v1/channels/acme/k/explain")
    assert (nothing.status, nothing.headers["content-type"]) == (404, "application/problem+json")
    assert nothing.json["detail"] == "channel 'acme' is not known here: no channel is known yet"
    await api.holds("PUT", "/v1/channels/b/k", 1)
    mesh = api.daemon.mesh
    await mesh.channel("hits", GCounter).update(lambda count: count.increment(mesh.peer, 2))
    whole = (await api.holds("GET", "/v1/channels/hits/%00/explain")).json
    assert (whole["key"], whole["type"]) == (None, "GCounter")
    assert [record["verdict"] for record in whole["records"]] == ["joined"]
    for target, detail in (
        ("acme/k", "channel 'acme' is not known here: 'b', 'hits' can be asked about"),
        ("b/other", "channel 'b' holds no record of key 'other'"),
        ("b/%00", "channel 'b' is a map: one of its keys is expected"),
        ("hits/k", "key 'k': channel 'hits' is one GCounter without keys"),
    ):
        answer = await api.holds("GET", f"/v1/channels/{target}/explain")
        assert answer.status == 404
        assert answer.json["detail"].startswith(detail)
    for target in ("names/web", "~adjacency/k", "b/%01", "b/%FF"):
        assert (await api.holds("GET", f"/v1/channels/{target}/explain")).status == 400
    for number in range(9):
        await api.holds("PUT", f"/v1/channels/c{number}/k", 1)
    many = await api.holds("GET", "/v1/channels/acme/k/explain")
    assert many.json["detail"].endswith("'c6' and 3 more can be asked about")


async def test_names(api: Api) -> None:
    assert (await api.holds("GET", "/v1/names/web")).status == 404
    put = await api.holds("PUT", "/v1/names/Web", {"addresses": ["10.44.0.2", "10.44.0.1"]})
    assert put.json["name"] == "Web.mesh.internal"
    found = await api.holds("GET", "/v1/names/wEB")
    assert found.json["addresses"] == ["10.44.0.1", "10.44.0.2"]
    assert list((await api.holds("GET", "/v1/names")).json["entries"]) == ["Web.mesh.internal"]
    assert (await api.holds("DELETE", "/v1/names/web?address=10.44.0.1")).status == 204
    assert (await api.holds("GET", "/v1/names/web")).json["addresses"] == ["10.44.0.2"]
    for _ in range(2):
        assert (await api.holds("DELETE", "/v1/names/web")).status == 204
    assert (await api.holds("GET", "/v1/names/web")).status == 404


async def test_peers_and_tokens(api: Api) -> None:
    connected = await api.holds("POST", "/v1/connect", {"peers": ["192.0.2.1"]})
    assert connected.json == {"peers": ["tcp://192.0.2.1:6783"]}
    assert (await api.holds("POST", "/v1/forget", {"peers": ["nobody"]})).status == 404
    assert (await api.holds("POST", "/v1/forget", {"peers": ["192.0.2.1"]})).status == 200
    token = (await api.holds("POST", "/v1/token", {})).json["token"]
    assert token.startswith("mct1-")
    insecure = load_settings(
        {"insecure": True, "state_dir": "/x"}, environ={}, config_file=None, root=False
    )
    app = make_app(evolve(api.daemon, settings=insecure))
    assert (await Api(app, api.daemon).holds("POST", "/v1/token", {})).status == 501


@pytest.mark.parametrize("path", ["attach", "detach", "expose", "hide"])
async def test_workloads_are_501_without_a_dataplane(api: Api, path: str) -> None:
    body = {"target": "netns:/x"} if path in ("attach", "detach") else {}
    api.daemon.dataplane_reason = "off here"
    answer = await api.holds("POST", f"/v1/{path}", body)
    assert (answer.status, answer.json["detail"]) == (501, "off here")


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/ipam/allocate", {}),
        ("POST", "/v1/ipam/allocate", {"id": ""}),
        ("POST", "/v1/ipam/allocate", {"id": 7}),
        ("POST", "/v1/ipam/allocate", {"id": "a\x00"}),
        ("POST", "/v1/ipam/allocate", {"id": "a", "colour": "red"}),
        ("POST", "/v1/ipam/allocate", {"id": "a", "subnet": "10.44.0.1/29"}),
        ("POST", "/v1/ipam/allocate", {"id": "a", "subnet": "192.0.2.0/24"}),
        ("POST", "/v1/ipam/allocate", {"id": "a", "timeout_s": -1}),
        ("POST", "/v1/ipam/allocate", {"id": "a", "timeout_s": True}),
        ("POST", "/v1/ipam/allocate", ["a"]),
        ("POST", "/v1/ipam/claim", {"id": "a", "address": "10.44.0"}),
        ("GET", "/v1/ipam/%00", None),
        ("GET", "/v1/ipam/%FF", None),
        ("PUT", "/v1/names/bad%07name", {"addresses": ["10.44.0.1"]}),
        ("PUT", "/v1/names/a b", {"addresses": ["10.44.0.1"]}),
        ("PUT", "/v1/names/web", {"addresses": []}),
        ("PUT", "/v1/names/web", {"addresses": "10.44.0.1"}),
        ("PUT", "/v1/channels/~adjacency/k", 1),
        ("PUT", "/v1/channels/names/k", 1),
        ("POST", "/v1/connect", {"peers": []}),
        ("POST", "/v1/connect", {"peers": ["192.0.2.1", "300.1.1.1"]}),
        ("POST", "/v1/connect", {"peers": ["1.2.3"]}),
        ("POST", "/v1/token", {"ttl_s": 0}),
        ("POST", "/v1/token", {"uses": 0}),
    ],
)
async def test_bad_values_are_400_by_name_and_change_nothing(
    api: Api, method: str, target: str, body: Any
) -> None:
    before = (await api.call("GET", "/v1/status")).json["digests"]
    answer = await api.holds(method, target, body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert "\n" not in answer.json["detail"]
    assert (await api.call("GET", "/v1/status")).json["digests"] == before
    assert (await api.call("GET", "/v1/ipam")).json == {"entries": {}}


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"NaN", b"[" * 5_000, b"\xff", b"1e999", b'"\\ud800"', "1".encode("utf-16")],
)
async def test_a_body_that_is_not_json_is_400(api: Api, raw: bytes) -> None:
    assert (await api.holds("PUT", "/v1/channels/c/k", raw=raw)).status == 400


async def test_a_body_without_end_is_refused(api: Api) -> None:
    answer = await api.holds("PUT", "/v1/channels/c/k", raw=b"1" * (1024 * 1024 + 1))
    assert answer.status == 400


async def test_a_value_above_the_limit_is_refused(api: Api) -> None:
    answer = await api.holds("PUT", "/v1/channels/c/k", "x" * 70_000)
    assert answer.status == 400
    assert "65536" in answer.json["detail"]


async def test_a_full_quota_is_409_and_names_its_limit(api: Api) -> None:
    channels_max = len(NODE_CHANNELS) + 1
    limits = evolve(DEFAULT_LIMITS, streams_per_origin_max=channels_max)
    async with open_mesh(name="n3", limits=limits) as mesh:
        daemon = evolve(api.daemon, mesh=mesh)
        full = Api(make_app(daemon), daemon)
        assert (await full.holds("PUT", "/v1/channels/first/k", 1)).status == 200
        answer = await full.holds("PUT", "/v1/channels/second/k", 1)
        assert answer.status == 409
        assert f"streams_per_origin_max is {channels_max}" in answer.json["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert "retry-after" not in answer.headers
        assert (await full.holds("PUT", "/v1/channels/first/k", 2)).status == 200


async def test_a_watch_is_a_stream_of_the_events_of_the_document(api: Api) -> None:
    path = "/v1/channels/acme"
    await api.holds("PUT", f"{path}/a", 1)
    send, sent = trio.open_memory_channel[dict[str, Any]](16)
    gone = trio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def next_event() -> Any:
        data = (await sent.receive())["body"].decode()
        assert data.startswith("data: ")
        assert data.endswith("\n\n")
        shown, event_id = data.removeprefix("data: ").removesuffix("\n\n").split("\nid: ")
        ids.append(event_id)
        return json.loads(shown)

    ids: list[str] = []
    content = operation_of("GET", path)["responses"]["200"]["content"]["text/event-stream"]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(api.app, api.scope("GET", f"{path}?watch"), receive, send.send)
            start = await sent.receive()
            assert start["status"] == 200
            assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
            events = [await next_event()]
            await api.holds("PUT", f"{path}/b", [2])
            events.append(await next_event())
            await api.holds("DELETE", f"{path}/a")
            events.append(await next_event())
            gone.set()
    assert events == [
        {"kind": "snapshot", "entries": {"a": 1}},
        {"kind": "change", "key": "b", "value": [2]},
        {"kind": "change", "key": "a", "absent": True},
    ]
    for event in events:
        check(event, content["schema"], where="watch")
    assert len(set(ids)) == 3


async def test_unknown_paths_and_methods_are_problems(api: Api) -> None:
    answer = await api.call("GET", "/v1/nothing")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    answer = await api.call("POST", "/v1/status")
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]
    conforms(answer, "GET", "/v1/status")


async def test_a_bug_is_one_line_and_no_traceback(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(api.daemon.mesh.ipam, "entries", broken)
    with pytest.raises(ZeroDivisionError):
        # Starlette re-raises for the server's log after it has answered.
        await api.call("GET", "/v1/ipam")
    answer = answer_of(api.sent)
    assert answer.status == 500
    assert b"secret detail" not in answer.body
    conforms(answer, "GET", "/v1/ipam")


async def test_stop_and_reset_name_what_to_wait_for(api: Api) -> None:
    answer = await api.holds("POST", "/v1/stop", {})
    assert answer.status == 202
    assert answer.json == {
        "pid": api.daemon.control.pid,
        "lock": str(api.daemon.control.lock_path),
    }
    assert api.daemon.control.stopping.is_set()
    assert not api.daemon.control.wipe
    await api.holds("POST", "/v1/reset", {})
    assert api.daemon.control.wipe


async def test_over_tcp_only_the_token_and_the_own_name_open(api: Api) -> None:
    guarded = Api(Guard(api.app, token="t0k", address="127.0.0.1:6784"), api.daemon)
    good = {"host": "127.0.0.1:6784", "authorization": "Bearer t0k"}
    cases: list[tuple[dict[str, str], int]] = [
        (good, 200),
        ({**good, "host": "localhost:6784", "origin": "http://localhost:6784"}, 200),
        ({**good, "host": "evil.example"}, 421),
        ({**good, "origin": "http://evil.example"}, 403),
        ({**good, "authorization": "Bearer other"}, 401),
        ({"host": "127.0.0.1:6784"}, 401),
        ({}, 421),
    ]
    for headers, status in cases:
        answer = await guarded.holds("GET", "/v1/status", headers=headers)
        assert answer.status == status, headers


async def test_a_node_that_has_not_joined_says_so(tmp_path: Path) -> None:
    settings = load_settings(
        {"state_dir": str(tmp_path), "dataplane": "none", "insecure": True},
        environ={},
        config_file=None,
        root=False,
    )
    async with open_mesh(
        name="n2", peers=["mem://nobody"], security=Security.INSECURE, join_wait_s=0
    ) as mesh:
        daemon = Daemon(mesh=mesh, settings=settings, control=Control(tmp_path / "lock"))
        api = Api(make_app(daemon), daemon)
        assert (await api.holds("GET", "/v1/status")).json["state"] == "starting"
        health = await api.holds("GET", "/v1/health")
        assert health.status == 503
        assert "retry-after" in health.headers
        answer = await api.holds("POST", "/v1/ipam/allocate", {"id": "a"})
        assert (answer.status, answer.json["outcome"]) == (503, "recovering")
        assert (await api.holds("PUT", "/v1/channels/c/k", 1)).status == 503
        assert (await api.holds("GET", "/v1/channels/c")).json == {"entries": {}}


async def test_a_watch_resumes_only_with_the_id_of_an_event_of_the_channel(api: Api) -> None:
    scope = api.scope("GET", "/v1/channels/acme?watch")
    scope["headers"] = [*scope["headers"], (b"last-event-id", b"nothing")]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    with trio.fail_after(10):
        await api.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert "resume is not the token of an event" in sent[1]["body"].decode()


async def test_a_stream_goes_on_after_the_event_whose_id_it_is_given(api: Api) -> None:
    path = "/v1/channels/acme"

    async def first_of(last_event_id: str | None) -> tuple[list[Any], str]:
        """Return the events of the first moment of a stream, and the id of the last."""
        headers = {} if last_event_id is None else {"Last-Event-ID".lower(): last_event_id}
        send, sent = trio.open_memory_channel[dict[str, Any]](16)
        gone = trio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        events: list[Any] = []
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                scope = api.scope("GET", f"{path}?watch", headers)
                nursery.start_soon(api.app, scope, receive, send.send)
                assert (await sent.receive())["status"] == 200
                event_id = ""
                while not event_id:
                    data = (await sent.receive())["body"].decode().removesuffix("\n\n")
                    shown, _, event_id = data.removeprefix("data: ").partition("\nid: ")
                    events.append(json.loads(shown))
                gone.set()
        return events, event_id

    await api.holds("PUT", f"{path}/a", 1)
    events, event_id = await first_of(None)
    assert [event["kind"] for event in events] == ["snapshot"]
    await api.holds("PUT", f"{path}/b", 2)
    await api.holds("DELETE", f"{path}/a")
    events, event_id = await first_of(event_id)
    assert events == [
        {"kind": "change", "key": "a", "absent": True, "more": 1},
        {"kind": "change", "key": "b", "value": 2},
    ]
    await api.holds("PUT", f"{path}/c", 3)
    events, _ = await first_of(event_id)
    assert events == [{"kind": "change", "key": "c", "value": 3}]
