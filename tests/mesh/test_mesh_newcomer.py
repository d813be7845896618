"""A newcomer with one link gets everything, however much, and the link is never stuck."""

import pytest
import trio

from meshcrdt.mesh.open import open_mesh
from meshcrdt.mesh.pump import Pump

PATIENCE_S = 60
SECRET = b"s" * 32


@pytest.mark.parametrize(
    ("channels", "keys", "value_bytes"), [(12, 17, 60_000), (1, 64, 65_500)], ids=["many", "leaf"]
)
async def test_a_newcomer_gets_megabytes_over_its_one_link(
    channels, keys, value_bytes, monkeypatch
):
    ends = []
    end = Pump._end

    def noted(self, reason):
        ends.append(reason)
        end(self, reason)

    monkeypatch.setattr(Pump, "_end", noted)
    names = [f"c{number}" for number in range(channels)]
    async with open_mesh(name="n1", listen=["tcp://127.0.0.1:0"], secret=SECRET) as n1:
        for name in names:
            for key in range(keys):
                await n1.channel(name).put(str(key), "x" * value_bytes)
        (address,) = n1.listening
        async with open_mesh(name="n2", secret=SECRET, peers=[address]) as n2:
            with trio.fail_after(PATIENCE_S):
                while any(len(n2.channel(name).entries()) < keys for name in names):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            assert not [reason for reason in ends if "stuck" in reason]
