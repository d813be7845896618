"""How a node begins: remember, found or join; contradictions are refused by name."""

import pytest

from meshcrdt.errors import StoreError, UsageError, WrongStore
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.mesh.addresses import advertised, reachable
from meshcrdt.mesh.birth import Beginning, Given, Remembered, Security, plan
from meshcrdt.mesh.keys import open_keyring
from meshcrdt.mesh.open import open_mesh
from meshcrdt.node.durable import Joining
from meshcrdt.topology.dialer import Discovery
from meshcrdt.trust.identity import Identity
from meshcrdt.trust.token import make_token

SECRET, OTHER = b"s" * 32, b"o" * 32
GENESIS = Genesis.make(Identity(b"1" * 32), nonce=b"n" * 16)
TOKEN = make_token(
    SECRET,
    token_id=b"t" * 8,
    uses=1,
    expiry_s=1,
    genesis=GENESIS.hash,
    addresses=["tcp://10.0.0.9:1"],
)
STRANGE = make_token(SECRET, token_id=b"t" * 8, uses=1, expiry_s=1, genesis=b"g" * 32)
PEERS = ("tcp://10.0.0.1:1",)
HERE = "store sqlite:///x"


def decide(remembered=None, *, security=Security.ENCRYPTED, **given):
    return plan(Given(security=security, **given), remembered or Remembered(where=HERE))


def test_first_launch_without_peers_founds_and_makes_a_secret():
    decided = decide()
    assert decided.beginning is Beginning.FOUND
    assert decided.makes_secret


def test_founder_takes_the_secret_that_it_is_given():
    decided = decide(secret=SECRET, universes=("10.0.0.0/8",))
    assert (decided.beginning, decided.secret) == (Beginning.FOUND, SECRET)
    assert not decided.makes_secret


def test_joiner_with_secret_needs_no_admission():
    decided = decide(secret=SECRET, peers=PEERS)
    assert (decided.beginning, decided.admission) == (Beginning.JOIN, None)


def test_joiner_with_token_seeks_admission_at_peers_and_hints():
    decided = decide(token=TOKEN, peers=PEERS)
    assert decided.beginning is Beginning.JOIN
    assert decided.admission is TOKEN
    assert decided.pinned == GENESIS.hash
    assert decided.peers == (*PEERS, "tcp://10.0.0.9:1")
    assert not decided.makes_secret


def test_without_discovery_the_named_peers_are_all_that_is_dialled():
    assert decide(token=TOKEN, peers=PEERS, discovery=Discovery.OFF).peers == PEERS
    alone = decide(token=TOKEN, discovery=Discovery.OFF)
    assert alone.peers == TOKEN.addresses, "the one way in"


def test_token_beside_a_known_secret_only_pins_and_hints():
    decided = decide(Remembered(where=HERE, secret=SECRET), token=TOKEN)
    assert (decided.beginning, decided.admission) == (Beginning.JOIN, None)
    assert decided.pinned == GENESIS.hash


def test_interrupted_joiner_goes_on_joining():
    decided = decide(Remembered(where=HERE, secret=SECRET, peers=PEERS))
    assert decided.beginning is Beginning.JOIN


def test_joiner_cut_off_before_its_admission_never_founds():
    joining = Joining(GENESIS.hash, PEERS)
    cut_off = Remembered(where=HERE, joining=joining)
    with pytest.raises(UsageError, match=f"{GENESIS.cluster}.*token again"):
        decide(cut_off)
    assert decide(cut_off, token=TOKEN).beginning is Beginning.JOIN
    with_secret = decide(cut_off, secret=SECRET)
    assert (with_secret.beginning, with_secret.peers) == (Beginning.JOIN, PEERS)
    kept = decide(Remembered(where=HERE, joining=joining, secret=SECRET))
    assert (kept.beginning, kept.peers, kept.pinned) == (Beginning.JOIN, PEERS, GENESIS.hash)
    elsewhere = decide(cut_off, secret=OTHER, peers=("tcp://10.0.0.2:1",))
    assert (elsewhere.peers, elsewhere.pinned) == (("tcp://10.0.0.2:1",), None)


def test_interrupted_founder_goes_on_founding():
    assert decide(Remembered(where=HERE, secret=SECRET)).beginning is Beginning.FOUND


def test_memory_needs_nothing_and_a_used_token_does_no_harm():
    known = Remembered(where=HERE, secret=SECRET, genesis=GENESIS)
    assert decide(known).beginning is Beginning.RESUME
    decided = decide(known, token=TOKEN, secret=SECRET, universes=GENESIS.universes)
    assert (decided.beginning, decided.admission) == (Beginning.RESUME, None)


@pytest.mark.parametrize("peers", [(), PEERS])
def test_insecure_mesh_has_no_secret(peers):
    decided = decide(security=Security.INSECURE, peers=peers)
    assert decided.beginning is (Beginning.JOIN if peers else Beginning.FOUND)
    assert (decided.secret, decided.makes_secret) == (None, False)


@pytest.mark.parametrize(
    ("remembered", "given", "named"),
    [
        ({}, {"peers": PEERS}, "neither a token nor a secret"),
        ({}, {"security": Security.INSECURE, "secret": SECRET}, "insecure"),
        ({}, {"security": Security.INSECURE, "token": TOKEN}, "insecure"),
        ({"secret": SECRET}, {"security": Security.INSECURE}, "is encrypted, and an insecure"),
        ({"secret": SECRET}, {"secret": OTHER}, HERE),
        ({"genesis": GENESIS}, {}, "is insecure, and an encrypted"),
        ({"genesis": GENESIS}, {"secret": SECRET}, "is insecure, and an encrypted"),
        ({"genesis": GENESIS}, {"token": TOKEN}, "is insecure, and an encrypted"),
        ({"secret": SECRET, "genesis": GENESIS}, {"token": STRANGE}, b"gggggggggggggggg".hex()),
        ({"secret": SECRET, "genesis": GENESIS}, {"token": STRANGE}, GENESIS.cluster),
        (
            {"secret": SECRET, "genesis": GENESIS},
            {"universes": ("10.9.0.0/16",)},
            "10.9.0.0/16 are asked for, .* has 10.32.0.0/12",
        ),
        ({}, {"universes": ("10.9.0.0/99",)}, "10.9.0.0/99"),
    ],
)
def test_contradictions_name_both_values_and_no_secret(remembered, given, named):
    with pytest.raises(UsageError, match=named) as caught:
        decide(Remembered(where=HERE, **remembered), **given)
    assert "ssss" not in str(caught.value)
    assert "oooo" not in str(caught.value)


def test_nothing_prints_a_secret():
    decided = decide(secret=SECRET, peers=PEERS)
    for record in (decided, Given(security=Security.ENCRYPTED, secret=SECRET)):
        assert "ssss" not in repr(record)


async def test_keyring_is_made_once_and_read_again(tmp_path):
    url = f"sqlite://{tmp_path}/mesh.db"
    first = await open_keyring(url, owner=None)
    await first.keep_secret(SECRET)
    again = await open_keyring(url, owner=first.identity.peer)
    assert again.identity.peer == first.identity.peer
    assert again.secret == SECRET
    assert SECRET.decode() not in repr(again)


async def test_restart_writes_no_key_file_that_is_there_already(tmp_path):
    url, key = f"sqlite://{tmp_path}/mesh.db", tmp_path / "mesh.db.key"
    async with open_mesh(name="n1", store=url) as mesh:
        first = mesh.peer
    before = (key.stat().st_ino, key.stat().st_mtime_ns, key.read_bytes())
    async with open_mesh(name="n1", store=url) as mesh:
        assert mesh.peer == first
    assert (key.stat().st_ino, key.stat().st_mtime_ns, key.read_bytes()) == before


async def test_keys_of_a_founder_that_was_cut_off_are_written_again(tmp_path):
    url, key = f"sqlite://{tmp_path}/mesh.db", tmp_path / "mesh.db.key"
    await (await open_keyring(url, owner=None)).keep_secret(SECRET)
    before = key.stat().st_ino
    # No owner is in the store: what is in the file may not be durable yet.
    await (await open_keyring(url, owner=None)).save()
    assert key.stat().st_ino != before


async def test_secret_for_an_insecure_store_is_refused_and_changes_nothing(tmp_path):
    url = f"sqlite://{tmp_path}/mesh.db"
    async with open_mesh(name="n1", store=url, security=Security.INSECURE) as mesh:
        await mesh.channel("c").put("k", 1)
    key = (tmp_path / "mesh.db.key").read_bytes()
    with pytest.raises(UsageError, match="it is insecure, and an encrypted mesh is asked for"):
        async with open_mesh(name="n1", store=url, secret=SECRET):
            raise AssertionError("opened")
    assert (tmp_path / "mesh.db.key").read_bytes() == key
    async with open_mesh(name="n1", store=url, security=Security.INSECURE) as mesh:
        assert mesh.channel("c").get("k") == 1


async def test_store_whose_key_is_gone_is_refused(tmp_path):
    with pytest.raises(WrongStore, match=r"mesh\.db\.key is missing"):
        await open_keyring(f"sqlite://{tmp_path}/mesh.db", owner=b"p" * 16)


async def test_keys_that_cannot_be_kept_change_nothing(tmp_path):
    ring = await open_keyring(f"sqlite://{tmp_path}/gone/mesh.db", owner=None)
    (tmp_path / "gone").write_text("a file where a directory should be")
    with pytest.raises(StoreError):
        await ring.keep_secret(SECRET)
    assert ring.secret is None


async def test_named_stores_in_memory_remember_their_keys():
    named = await open_keyring("mem://n1", owner=None)
    await named.save()
    assert (await open_keyring("mem://n1", owner=None)).identity.peer == named.identity.peer
    assert (await open_keyring("mem://n2", owner=None)).identity.peer != named.identity.peer
    fresh = await open_keyring("mem://", owner=None)
    await fresh.save()
    assert (await open_keyring("mem://", owner=None)).identity.peer != fresh.identity.peer


def test_bound_addresses_are_advertised_as_they_are():
    urls = ["tcp://127.0.0.1:5", "mem://x", "unix:///run/x", "tcp://[2001:db8::1]:6", "mem://x"]
    assert advertised(urls) == tuple(dict.fromkeys(urls))


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "[::]"])
def test_wildcards_stand_for_addresses_that_others_can_reach(wildcard):
    for url in advertised([f"tcp://{wildcard}:7"]):
        assert url.endswith(":7")
        host = url.removeprefix("tcp://").removesuffix(":7")
        assert not host.startswith(("127.", "169.254.", "0.0.0.0", "[fe80", "[::]", "[::1]"))


def test_a_wildcard_advertises_its_own_family_alone():
    host = ("192.0.2.1", "2001:db8::1", "192.0.2.2")
    assert reachable("tcp://0.0.0.0:7", host) == ("tcp://192.0.2.1:7", "tcp://192.0.2.2:7")
    assert reachable("tcp://[::]:7", host) == ("tcp://[2001:db8::1]:7",)
    assert reachable("tcp://[::]:7", ["192.0.2.1"]) == ()
    for url in ("tcp://198.51.100.1:7", "tcp://example.org:7", "mem://x", "unix:///run/x"):
        assert reachable(url, host) == (url,)
