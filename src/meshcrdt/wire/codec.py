"""Canonical trees to bytes and back: the only file that imports msgpack.

One tree has exactly one encoding, so equal hashes mean equal values. The encoding is the
subset of msgpack that a tree needs (nil, bool, int, bin, str, array), each in its
shortest form. `decode` accepts nothing else, whoever sent it.

How a bomb is refused. With its defaults msgpack turns 10 MB of empty maps into 720 MiB;
with our list bound, 3 kB of nested list headers that announce 65,535 items each into
80 MB. So the size is checked first; then msgpack's `skip`, which allocates nothing, shows
that every announced item is there; and a hook stops the real decoding at the first map.
What remains costs at most 40 bytes of memory for one of input (one-item lists): 10.6 MB
for the largest frame, measured. A few hundred bytes are not scanned first: no list in them
may announce more items than there are bytes, so their bomb is under a megabyte. Depth,
kinds and ranges are checked level by level with iterators that run at C speed, and
canonical form by encoding again: together about as much again as msgpack's own decoding
and encoding on large frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NoReturn

import msgpack

from meshcrdt.base.limits import DEFAULT_LIMITS, Limits
from meshcrdt.base.tree import INT_MAX, Tree
from meshcrdt.errors import MalformedTree, UsageError

_EXACT = frozenset({type(None), bool, int, bytes, str, tuple})
_SUBCLASSABLE = (int, bytes, str, tuple)
SMALL_BYTES = 512
_UINT64 = b"\xcf"
"""The only msgpack code that can carry an int above INT_MAX."""


def encode(tree: Tree) -> bytes:
    """Return the one encoding of `tree`.

    Subclasses of the tree types (PeerId, NamedTuples, IntEnums) encode as their base.
    Raises UsageError when something in it is not a tree, an int does not fit 64 signed
    bits, text is not valid Unicode, or lists nest deeper than the published limit.
    """
    _check_local(tree)
    try:
        data: bytes = msgpack.packb(tree, use_bin_type=True)
    except (OverflowError, UnicodeEncodeError) as error:
        raise UsageError(f"not a tree: {error}") from error
    if _UINT64 in data:
        _check_ints(tree)
    return data


def fingerprint(tree: Tree) -> bytes:
    """Return bytes that no other tree has, of one that `decode` gave: it needs no check again."""
    data: bytes = msgpack.packb(tree, use_bin_type=True)
    return data


def encode_list(items: Sequence[bytes]) -> bytes:
    """Return the encoding of a list whose items are encoded already."""
    return b"".join((_list_head(len(items)), *items))


def _list_head(count: int) -> bytes:
    """Return what msgpack writes before the items of a list, in its shortest form."""
    if count < 1 << 4:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def decode(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Tree:
    """Read one tree from outside; bytes come back as plain bytes, lists as tuples.

    `data` is at most `limits.frame_bytes_max` bytes. Raises MalformedTree, and nothing
    else, for everything that is not the canonical encoding of a tree within the limits.
    """
    if len(data) > limits.frame_bytes_max:
        raise MalformedTree(
            f"a tree of {len(data)} bytes: at most {limits.frame_bytes_max} are accepted"
        )
    items_max = limits.list_items_max
    try:
        if len(data) <= SMALL_BYTES:
            items_max = min(items_max, len(data))
        else:
            _check_complete(data)
        tree: Any = msgpack.unpackb(
            data,
            raw=False,
            use_list=False,
            object_hook=_refuse_map,
            max_map_len=0,
            max_ext_len=0,
            max_array_len=items_max,
            max_str_len=limits.text_bytes_max,
            max_bin_len=limits.frame_bytes_max,
        )
    except MalformedTree:
        raise
    except msgpack.ExtraData as error:
        raise MalformedTree(f"bytes follow the tree: {error}") from error
    except (ValueError, msgpack.UnpackException) as error:  # bad UTF-8 is a ValueError too
        raise MalformedTree(f"not a tree: {type(error).__name__}: {error}") from error
    _check_remote(tree, limits.tree_depth_max, ints_may_be_large=_UINT64 in data)
    if msgpack.packb(tree, use_bin_type=True) != data:
        raise MalformedTree("not canonical: another encoding of the same tree is shorter")
    return tree  # type: ignore[no-any-return]


def _check_complete(data: bytes) -> None:
    """Check that `data` is one whole item, without making it; raises as msgpack does."""
    scanner = msgpack.Unpacker(max_buffer_size=max(len(data), 1), read_size=1)
    scanner.feed(data)
    scanner.skip()
    if scanner.tell() != len(data):
        raise MalformedTree(f"{len(data) - scanner.tell()} bytes follow the tree")


def _refuse_map(_: object) -> NoReturn:
    raise MalformedTree("a tree has no maps")


def _check_remote(tree: Any, depth_max: int, *, ints_may_be_large: bool) -> None:
    """Check kinds, depth and ranges; raises MalformedTree."""
    items: Sequence[Any] = (tree,)
    for _ in range(depth_max + 1):
        kinds = set(map(type, items))
        if not kinds <= _EXACT:
            names = ", ".join(sorted(kind.__name__ for kind in kinds - _EXACT))
            raise MalformedTree(f"a tree has no {names}")
        if ints_may_be_large and int in kinds:
            for item in items:
                if type(item) is int and item > INT_MAX:
                    raise MalformedTree(f"{item} does not fit 64 signed bits")
        if tuple not in kinds:
            return
        lists = [item for item in items if type(item) is tuple]
        items = tuple(chain.from_iterable(lists))
    raise MalformedTree(f"lists nest deeper than {depth_max}")


def _check_local(tree: Tree) -> None:
    """Check kinds and depth of our own tree; raises UsageError."""
    items: Sequence[Any] = (tree,)
    for _ in range(DEFAULT_LIMITS.tree_depth_max + 1):
        kinds = set(map(type, items))
        if kinds <= _EXACT:
            if tuple not in kinds:
                return
            lists = [item for item in items if type(item) is tuple]
            items = tuple(chain.from_iterable(lists))
            continue
        for kind in kinds - _EXACT:
            if not issubclass(kind, _SUBCLASSABLE):
                raise UsageError(f"a tree has no {kind.__name__}")
        if not any(issubclass(kind, tuple) for kind in kinds):
            return
        items = tuple(chain.from_iterable(item for item in items if isinstance(item, tuple)))
    raise UsageError(f"lists nest deeper than {DEFAULT_LIMITS.tree_depth_max}")


def _check_ints(tree: Tree) -> None:
    """Check that no int of our own tree is above INT_MAX; raises UsageError."""
    items: Sequence[Any] = (tree,)
    while items:
        for item in items:
            if isinstance(item, int) and item > INT_MAX:
                raise UsageError(f"{item} does not fit 64 signed bits")
        items = tuple(chain.from_iterable(item for item in items if isinstance(item, tuple)))
