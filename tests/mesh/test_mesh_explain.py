"""`Mesh.explain`: the story of a key as a user asks for it."""

import pytest

from meshcrdt.errors import UsageError
from meshcrdt.mesh.open import open_mesh
from meshcrdt.node.explain import Verdict

SECRET = b"s" * 32


async def test_each_node_tells_who_wrote_a_key_and_from_whom_it_came(autojump_clock):
    async with (
        open_mesh(name="n1", listen=["mem://n1"], secret=SECRET) as n1,
        open_mesh(name="n2", peers=["mem://n1"], secret=SECRET) as n2,
    ):
        await n1.members(at_least=2, timeout=30)
        await n2.members(at_least=2, timeout=30)  # a receipt asks whom the writer knows
        receipt = await n2.channel("acme/services").put("web", 80)
        await receipt.reached(timeout=30)
        story = n1.explain("acme/services", "web")
        assert [record.verdict for record in story.records] == [Verdict.WINS]
        assert story.winner.origin == story.winner.from_peer == n2.peer
        assert story.winner.dot.epoch == receipt.epoch
        assert story.winner.value == b"80"
        assert n2.explain("acme/services", "web").winner.from_peer is None
        with pytest.raises(UsageError, match="key"):
            n1.explain("acme/services", 7)
