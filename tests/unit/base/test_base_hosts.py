"""Addresses of endpoints: what is accepted, and what it becomes."""

import pytest

from meshcrdt.base.hosts import (
    SECRET_MARKS,
    number_within,
    parse_peer_address,
    shown_host_port,
    split_host_port,
)
from meshcrdt.errors import UsageError
from meshcrdt.trust.secret import SECRET_PREFIX
from meshcrdt.trust.token import TOKEN_PREFIX


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("192.0.2.7", "tcp://192.0.2.7:6783"),
        ("192.0.2.7:80", "tcp://192.0.2.7:80"),
        ("tcp://192.0.2.7", "tcp://192.0.2.7:6783"),
        ("TCP://host.example:80", "tcp://host.example:80"),
        ("2001:db8::1", "tcp://[2001:db8::1]:6783"),
        ("tcp://[2001:db8::1]:80", "tcp://[2001:db8::1]:80"),
        ("fe80::1%eth0", "tcp://[fe80::1%eth0]:6783"),
        ("7.example", "tcp://7.example:6783"),
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        ("mem://n1", "mem://n1"),
        ("UNIX:///run/X.sock", "unix:///run/X.sock"),
        ("tcp://192.0.2.7/", "tcp://192.0.2.7:6783"),
        ("tcp://192.0.2.7:80/", "tcp://192.0.2.7:80"),
    ],
)
def test_addresses_become_urls(text, url):
    assert parse_peer_address(text) == url
    assert parse_peer_address(url) == url


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tcp://127.0.0.1:99999", "99999"),
        ("127.0.0.1:http", "http"),
        ("tcp://", "tcp://"),
        ("tcp://[::1", "[::1"),
        ("a b", "a b"),
        ("mem://\x1b[2J", "\\x1b"),
        ("tcp://\ud800:1", "\\ud800"),
        ("", "''"),
        ("300.1.1.1", "300.1.1.1"),
        ("1.2.3", "1.2.3"),
        ("tcp://1.2.3.4.5:80", "1.2.3.4.5"),
        ("10.0.0.01", "10.0.0.01"),
        ("6783", "6783"),
        ("host.7:80", "host.7"),
        ("1.2.3.4:80:90", "[ADDRESS]:PORT"),
        ("2001:db8:1:2:3:4:5:6:6783", "[ADDRESS]:PORT"),
        ("[192.0.2.1]:80", "[ADDRESS]:PORT"),
        ("host:\u00b2", "\u00b2"),
        ("host:\u0663", "\u0663"),
        ("host:" + "9" * 500, "999"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("tcp://host/path", "host/path"),
        ("tcp://user@host:80", "user@host"),
        ("tcp://host?x", "host?x"),
        ("tcp://host#x", "host#x"),
    ],
)
def test_what_is_no_address_is_named(text, named):
    with pytest.raises(UsageError) as caught:
        parse_peer_address(text, source="listener")
    assert named in str(caught.value)
    assert "listener" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [
        ("192.0.2.7", 80, "192.0.2.7:80"),
        ("::1", 53, "[::1]:53"),
        ("name.example", 0, "name.example:0"),
    ],
)
def test_a_host_and_port_are_shown_as_they_are_read(host, port, shown):
    assert shown_host_port(host, port) == shown
    assert split_host_port(shown, default_port=1) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "\u00b2", "\u0663", "-1", "+1", "1_0", " 1", "9" * 5_000, "11"]
)
def test_a_number_has_ascii_digits_and_is_within_its_bounds(text):
    assert number_within(text, low=0, high=10) is None
    assert number_within("010", low=0, high=10) == 10


@pytest.mark.parametrize("mark", SECRET_MARKS)
def test_a_secret_in_place_of_an_address_is_refused_and_not_shown(mark):
    with pytest.raises(UsageError, match="token or a secret") as caught:
        parse_peer_address(f"{mark}kept-to-ourselves")
    assert "kept" not in str(caught.value)


def test_the_marks_of_secrets_are_those_of_trust():
    assert SECRET_MARKS == (TOKEN_PREFIX, SECRET_PREFIX)
