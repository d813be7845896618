"""Hardware addresses, derived from overlay addresses.

Nobody has to tell anybody a MAC: from family and address every host computes the same
one, so forwarding entries follow from replicated addresses alone (`docs/dataplane.md`).
"""

from __future__ import annotations

import hashlib
from ipaddress import ip_interface

from meshcrdt.errors import UsageError

_LOCAL_UNICAST = 0x02
_CLEAR_FLAGS = 0xFC


def mac_of(address: str) -> str:
    """Return the MAC of an overlay address such as "10.32.0.1" or "10.32.0.1/12".

    Locally administered, unicast, determined by family and address alone; the prefix
    length does not count. 46 bits of a hash: 10,000 addresses collide with a chance below
    one in a million. Raises UsageError naming the text.
    """
    try:
        parsed = ip_interface(address).ip
    except ValueError:
        raise UsageError(f"{address!r} is not an IP address") from None
    return mac_from_seed(f"address/{parsed.version}".encode() + parsed.packed)


def mac_from_seed(seed: bytes) -> str:
    """Return a locally administered unicast MAC that is determined by `seed`."""
    raw = bytearray(hashlib.blake2b(seed, digest_size=6, person=b"meshcrdt mac").digest())
    raw[0] = (raw[0] & _CLEAR_FLAGS) | _LOCAL_UNICAST
    return raw.hex(":")
