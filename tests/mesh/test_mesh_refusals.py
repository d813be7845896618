"""Who was turned away is kept for status: bounded, by source, with the last reason."""

import trio

from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.refusals import SOURCES_MAX, RefusalLog, Refusals, RefusedCaller


def test_a_source_is_counted_once_with_its_last_reason():
    refusals = Refusals()
    refusals.note("tcp://192.0.2.1:4001", "first")
    refusals.note("tcp://192.0.2.2:4001", "other")
    refusals.note("tcp://192.0.2.1:4002", "second")
    assert refusals.latest() == (
        RefusedCaller(source="192.0.2.1", reason="second", count=2),
        RefusedCaller(source="192.0.2.2", reason="other", count=1),
    )
    refusals.welcomed("tcp://192.0.2.1:4003")
    assert [caller.source for caller in refusals.latest()] == ["192.0.2.2"]


def test_the_longest_silent_source_gives_way():
    refusals = Refusals()
    for number in range(SOURCES_MAX + 1):
        refusals.note(f"tcp://192.0.2.{number}:1", "stranger")
        refusals.check()
        refusals.note("tcp://198.51.100.1:1", "busy")
    sources = [caller.source for caller in refusals.latest()]
    assert len(sources) == SOURCES_MAX
    assert sources[0] == "198.51.100.1"
    assert "192.0.2.0" not in sources


def test_the_log_hears_of_each_source_and_reason_once_and_then_of_a_count():
    heard = RefusalLog()
    cluster = "tcp://192.0.2.1:{} gets no answer: cluster {}"

    def line(port: int, which: str, now: float) -> str | None:
        remote = f"tcp://192.0.2.1:{port}"
        return heard.line(remote, cluster.format(port, which), now)

    assert line(1, "a", 0.0) == cluster.format(1, "a")
    assert line(2, "b", 0.5) is None, "too soon after the last line of all"
    assert line(3, "b", 1.5) == cluster.format(3, "b"), "another cluster from there"
    for now in range(2, 60):
        assert line(now, "a", float(now)) is None
    assert line(4, "a", 60.0) == cluster.format(4, "a") + " (and 58 times more in the last 60 s)"
    assert line(4, "a", 61.0) is None


def test_any_number_of_sources_gets_a_line_a_second():
    heard = RefusalLog()
    lines = [
        heard.line(f"tcp://10.{n >> 8}.{n & 255}.1:1", "stranger", n / 100) for n in range(1_000)
    ]
    assert sum(line is not None for line in lines) == 10


async def test_another_cluster_is_named_at_both_ends(autojump_clock):
    first, second = b"\x01" * 32, b"\x02" * 32
    async with (
        open_mesh(name="a", listen=["mem://refusing"], secret=first) as a,
        open_mesh(name="b", secret=second) as b,
    ):
        await b.connect(["mem://refusing"])
        while not a.activity().refused:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.1)
        (caller,) = a.activity().refused
        assert a.cluster in caller.reason
        assert b.cluster in caller.reason
        while not any(c.reason for c in b.status().connections):  # noqa: ASYNC110
            await trio.sleep(0.1)
        (connection,) = b.status().connections
        assert "closed the link without an answer: it holds another secret" in connection.reason
        assert "another cluster or is not meshcrdt" in connection.reason
        assert f"this node is of cluster {b.cluster}" in connection.reason
