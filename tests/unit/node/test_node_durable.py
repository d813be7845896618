"""The node's own rows: what is written is read back, and nonsense names its table and key."""

import pytest

from meshcrdt.errors import CorruptStore
from meshcrdt.node import durable

HASH = b"g" * 32
READERS = {
    b"peers": durable.read_peers,
    b"genesis": durable.read_genesis,
    b"joining": durable.read_joining,
    b"boot": lambda tables: durable.next_epoch(tables, b"i" * 8),
}


def test_what_a_node_set_out_to_join_is_read_back():
    joining = durable.Joining(HASH, ("tcp://10.0.0.1:1", "mem://a"))
    table, key, value = durable.joining_row(joining)
    assert durable.read_joining({table: {key: value}}) == joining
    assert joining.cluster == HASH[:16].hex()
    assert durable.read_joining({}) is None


@pytest.mark.parametrize("key", READERS)
@pytest.mark.parametrize("raw", [b"", b"\xff", b"\x92\x01\x02", b"\xc0"])
def test_a_row_that_is_nonsense_is_named(key, raw):
    with pytest.raises(CorruptStore, match=f"table 'node', key '{key.decode()}'"):
        READERS[key]({durable.TABLE: {key: raw}})
