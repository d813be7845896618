"""The prefix trie against a dict of blocks, as a Hypothesis state machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from meshcrdt.errors import InternalError
from meshcrdt.ranges import IPV4, IPV6, Cidr, PrefixTrie, bits_of


@st.composite
def blocks(draw: st.DrawFn) -> Cidr:
    """Draw blocks that nest and collide: at the top, in the middle, and at single addresses."""
    family = draw(st.sampled_from((IPV4, IPV6)))
    bits = bits_of(family)
    number = draw(st.integers(0, 7)) << (bits - 3) | draw(st.integers(0, 7))
    length = draw(st.integers(0, 4) | st.integers(bits - 4, bits))
    return Cidr.of_address(family, number, length=length)


class TrieMachine(RuleBasedStateMachine):
    """Runs the same calls on a trie and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.trie: PrefixTrie[int] = PrefixTrie(lambda cidr, value: value * (cidr.length + 1))
        self.model: dict[Cidr, int] = {}

    @rule(cidr=blocks(), value=st.integers(0, 9))
    def set(self, cidr: Cidr, value: int) -> None:
        self.trie.set(cidr, value)
        self.model[cidr] = value

    @rule(cidr=blocks())
    def delete(self, cidr: Cidr) -> None:
        assert self.trie.delete(cidr) == (self.model.pop(cidr, None) is not None)

    @rule(data=st.data())
    def delete_held(self, data: st.DataObject) -> None:
        if self.model:
            cidr = data.draw(st.sampled_from(sorted(self.model)))
            assert self.trie.delete(cidr)
            del self.model[cidr]

    @rule(cidr=blocks())
    def look(self, cidr: Cidr) -> None:
        covering = sorted((c, v) for c, v in self.model.items() if c.contains(cidr))
        covered = sorted((c, v) for c, v in self.model.items() if cidr.contains(c))
        assert list(self.trie.covering(cidr)) == covering
        assert list(self.trie.covered(cidr)) == covered
        assert self.trie.longest_match(cidr) == (covering[-1] if covering else None)
        assert self.trie.get(cidr) == self.model.get(cidr)
        assert (cidr in self.trie) == (cidr in self.model)
        assert self.trie.sum(cidr) == sum(v * (c.length + 1) for c, v in covered)
        assert self.trie.count(cidr) == len(covered)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        self.trie.check()
        assert list(self.trie.items()) == sorted(self.model.items())
        assert list(self.trie) == sorted(self.model)
        assert len(self.trie) == len(self.model)
        statistics = self.trie.statistics()
        assert statistics.blocks == len(self.model)
        assert statistics.nodes <= max(0, 2 * len(self.model))


TrieMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
test_trie_is_a_dict_of_blocks = TrieMachine.TestCase


def test_depth_is_bounded_by_blocks_not_by_bits() -> None:
    trie: PrefixTrie[str] = PrefixTrie()
    for place in range(64):
        trie.set(Cidr.of_address(IPV6, (0xFD << 120) + place), str(place))
    assert trie.statistics().depth == 7
    assert trie.sum(Cidr.parse("fd00::/16")) == 64
    assert trie.sum(Cidr.parse("fd00::20/123")) == 32


def test_replacing_a_value_keeps_sums_right() -> None:
    trie: PrefixTrie[int] = PrefixTrie(lambda cidr, value: value)
    block = Cidr.parse("10.0.0.0/8")
    trie.set(block, 5)
    trie.set(Cidr.parse("10.1.0.0/16"), 1)
    trie.set(block, 7)
    assert trie.sum(block) == 8
    assert trie.longest_match(Cidr.parse("11.0.0.0/8")) is None


def _stale_sum(trie: PrefixTrie[int], root: Any) -> None:
    root.total += 1


def _swapped_children(trie: PrefixTrie[int], root: Any) -> None:
    root.lower, root.upper = root.upper, root.lower


def _needless_node(trie: PrefixTrie[int], root: Any) -> None:
    root.lower = None


@pytest.mark.parametrize("damage", [_stale_sum, _swapped_children, _needless_node])
def test_check_finds_damage(damage: Any) -> None:
    trie: PrefixTrie[int] = PrefixTrie()
    trie.set(Cidr.parse("10.0.0.0/9"), 1)
    trie.set(Cidr.parse("10.128.0.0/9"), 2)
    trie.check()
    damage(trie, trie._roots[IPV4])
    with pytest.raises(InternalError):
        trie.check()
