"""Arbitrary trees of the wire, and trees in which one place was changed."""

from __future__ import annotations

from hypothesis import strategies as st

LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-5, 100)
    | st.binary(max_size=40)
    | st.text(max_size=5)
)
"""Anything that may stand in a message; small numbers are the codes and counts of them."""
TREE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=6).map(tuple), max_leaves=20)


def paths(tree: object, prefix: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Return the path of every place in a tree, the root first."""
    found = [prefix]
    if isinstance(tree, tuple):
        for index, item in enumerate(tree):
            found += paths(item, (*prefix, index))
    return found


def replaced(tree: object, path: tuple[int, ...], value: object) -> object:
    """Return the tree with another value in one place."""
    if not path:
        return value
    assert isinstance(tree, tuple)
    head, *rest = path
    return (*tree[:head], replaced(tree[head], tuple(rest), value), *tree[head + 1 :])
