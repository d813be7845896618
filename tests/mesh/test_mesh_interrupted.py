"""Joining that was cut off at the worst moment goes on as joining: it never founds a cluster."""

import pytest
import trio

from meshcrdt.errors import UsageError
from meshcrdt.mesh.keys import Keyring
from meshcrdt.mesh.open import open_mesh
from meshcrdt.storage.memory import MemoryStore

SECRET = b"s" * 32
PATIENCE_S = 30


async def _never(self, rows):
    await trio.sleep_forever()


@pytest.mark.parametrize("credential", ["token", "secret"])
async def test_a_joiner_cut_off_with_the_secret_in_hand_still_joins(
    credential, autojump_clock, monkeypatch
):
    async with open_mesh(name="n1", listen=["mem://n1"], secret=SECRET) as n1:
        given = {"token": n1.token()} if credential == "token" else {"secret": SECRET}
        with monkeypatch.context() as patched, trio.move_on_after(5):
            keep = Keyring.keep_secret

            async def keep_and_stop(self, secret):
                await keep(self, secret)
                patched.setattr(MemoryStore, "write", _never)  # as after a power cut
                await trio.sleep_forever()

            patched.setattr(Keyring, "keep_secret", keep_and_stop)
            async with open_mesh(name="n2", peers=["mem://n1"], store="mem://cut", **given):
                await trio.sleep_forever()
        async with open_mesh(name="n2", store="mem://cut") as n2:
            await n2.ready(timeout=PATIENCE_S)
            assert n2.cluster == n1.cluster


async def test_a_joiner_cut_off_before_its_admission_never_founds_a_cluster(autojump_clock):
    async with open_mesh(name="n1", listen=["mem://n1"], secret=SECRET, store="mem://n1") as n1:
        token, cluster = n1.token(), n1.cluster
    with trio.move_on_after(5):  # nobody answers, and then the host loses power
        async with open_mesh(
            name="n2", peers=["mem://n1"], token=token, store="mem://early", join_wait_s=60
        ):
            pytest.fail("nobody was there to join")
    with pytest.raises(UsageError, match=f"join cluster {cluster}"):
        async with open_mesh(name="n2", store="mem://early"):
            pytest.fail("it founded a cluster")
    async with (
        open_mesh(name="n1", listen=["mem://n1"], store="mem://n1") as n1,
        open_mesh(name="n2", token=token, store="mem://early") as n2,
    ):
        await n2.ready(timeout=PATIENCE_S)
        assert n2.cluster == n1.cluster == cluster
