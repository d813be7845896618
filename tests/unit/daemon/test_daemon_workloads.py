"""Records that survive a restart, and what should be in the kernel; both without one."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from attrs import evolve

from meshcrdt.base.ids import Epoch, PeerId
from meshcrdt.daemon.exits import CommandError
from meshcrdt.daemon.workloads.desired import Seen, desired_state
from meshcrdt.daemon.workloads.plane import bridge_name, network_id
from meshcrdt.daemon.workloads.records import (
    RECORDS_NAME,
    Attached,
    HostPresence,
    Remembered,
    load_records,
    save_records,
)
from meshcrdt.daemon.workloads.targets import docker_container
from meshcrdt.dataplane.model import Exposure
from meshcrdt.node.statistics import MemberStatus
from meshcrdt.node.workloads import Endpoint
from meshcrdt.topology.outputs import PeerState

ME, OTHER, GONE = (PeerId(bytes([n]) * 16) for n in (1, 2, 3))
ENTRY = Attached(
    id="netns:/run/netns/w1",
    target="netns:/run/netns/w1",
    namespace="/run/netns/w1",
    identity="4:17",
    addresses=("10.32.0.1/12",),
    kept=(),
    names=("w1.mesh.internal",),
    mac="02:00:00:00:00:01",
    since=1.5,
)


def member(peer: PeerId, state: PeerState) -> MemberStatus:
    return MemberStatus(
        peer=peer,
        name=f"n{peer[0]}",
        state=state,
        epoch=Epoch(1, bytes(8)),
        addresses=(),
        underlay=("192.0.2.1",),
        trusted=("192.0.2.0/24",),
    )


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    remembered = Remembered(
        workloads=(ENTRY,), host=HostPresence(addresses=("10.32.0.9/12",), is_exposed=True)
    )
    assert load_records(tmp_path) == Remembered()
    save_records(tmp_path, remembered)
    assert load_records(tmp_path) == remembered
    assert (tmp_path / RECORDS_NAME).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 9}', "{"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORDS_NAME).write_text(content)
    with pytest.raises(CommandError, match=r"workloads\.json"):
        load_records(tmp_path)


def test_desired_state_leaves_out_who_left_and_what_is_ours() -> None:
    seen = Seen(
        ME,
        (member(OTHER, PeerState.DEAD), member(GONE, PeerState.LEFT)),
        (
            Endpoint("10.32.0.1", ME, "02:00:00:00:00:01", "w1"),
            Endpoint("10.33.0.1", OTHER, "02:00:00:00:00:02", "w2"),
            Endpoint("10.34.0.1", GONE, "02:00:00:00:00:03", "w3"),
            Endpoint("10.35.0.1", OTHER, "", "no hardware address"),
        ),
    )
    unfinished = evolve(ENTRY, id="x", addresses=())
    desired = desired_state(
        seen, Remembered(workloads=(ENTRY, unfinished), host=HostPresence(is_exposed=True))
    )
    assert [remote.peer for remote in desired.remotes] == [str(OTHER)]
    assert [(e.address, e.peer) for e in desired.endpoints] == [("10.33.0.1", str(OTHER))]
    assert [(p.workload, p.namespace, p.identity) for p in desired.ports] == [
        (ENTRY.id, ENTRY.namespace, ENTRY.identity)
    ]
    assert desired.gateway.exposure is Exposure.OUTSIDE


def test_a_member_that_declares_nonsense_stops_no_other_hosts_dataplane() -> None:
    odd = evolve(
        member(OTHER, PeerState.ALIVE),
        underlay=("junk", "192.0.2.1", "fe80::1%eth0", ""),
        trusted=("10.0.0.1/8", "192.0.2.0/24", "junk"),
    )
    good = member(GONE, PeerState.ALIVE)
    endpoints = (
        Endpoint("junk", OTHER, "02:00:00:00:00:02", "w2"),
        Endpoint("10.33.0.1", OTHER, "no:hardware:at:al", "w3"),
        Endpoint("10.33.0.2", OTHER, "02:00:00:00:00:AB", "w4"),
    )
    desired = desired_state(Seen(ME, (odd, good), endpoints), Remembered())
    assert [(remote.underlay, remote.trusted) for remote in desired.remotes] == [
        (("192.0.2.1",), ("192.0.2.0/24",)),
        (("192.0.2.1",), ("192.0.2.0/24",)),
    ]
    assert [(e.address, e.mac) for e in desired.endpoints] == [("10.33.0.2", "02:00:00:00:00:ab")]


def test_two_daemons_on_a_host_have_two_bridges(tmp_path: Path) -> None:
    names = {bridge_name(Path("/var/lib/meshcrdt")), bridge_name(tmp_path), bridge_name(Path("/x"))}
    assert len(names) == 3
    assert "meshcrdt" in names
    assert all(len(name) <= 15 for name in names)


def test_the_network_id_is_the_clusters_and_never_zero() -> None:
    assert network_id("0" * 32) == 1
    assert network_id("ff" * 16) == 0xFFFFFF


def docker(path: Path, status: str, body: object) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def once() -> None:
        data = json.dumps(body).encode()
        with listener:
            stream, _ = listener.accept()
            with stream:
                stream.recv(65_536)
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n"
                stream.sendall(head.encode() + data)

    thread = threading.Thread(target=once)
    thread.start()
    return thread


def test_a_container_is_found_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    thread = docker(path, "200 OK", {"Id": "c" * 64, "State": {"Pid": 4711}})
    assert docker_container("web", path) == ("c" * 64, 4711)
    thread.join()


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        ("404 Not Found", {"message": "no"}, "no such container"),
        ("200 OK", {"Id": "c", "State": {"Pid": 0}}, "does not run"),
    ],
)
def test_a_container_that_cannot_be_attached_is_named(
    tmp_path: Path, status: str, body: object, text: str
) -> None:
    path = tmp_path / "docker.sock"
    thread = docker(path, status, body)
    with pytest.raises(CommandError, match=f"'web'.*{text}"):
        docker_container("web", path)
    thread.join()


def test_no_docker_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="neither netns:PATH nor pid:N"):
        docker_container("web", tmp_path / "docker.sock")
