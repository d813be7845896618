"""Which key opens a handshake: the credentials of an initiator, the keys of a responder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import field, frozen

from meshcrdt.trust.preamble import CredentialKind, Preamble, cluster_tag
from meshcrdt.trust.secret import check_secret, secret_psk, secret_psk_id
from meshcrdt.trust.token import Token, TokenClaim, token_psk


@frozen
class SecretCredential:
    """Membership: the initiator holds the cluster secret. Prints without it."""

    secret: bytes = field(repr=False, converter=check_secret)


Credential: TypeAlias = SecretCredential | Token


@frozen(kw_only=True)
class Psk:
    """A key that a responder tries, and what it will say if the key proves right.

    `refusal` is one line for the other end, such as "the token expired 20 s ago". It is
    sent only to an initiator that proved to hold the key, so strangers stay unanswered.
    """

    key: bytes = field(repr=False)
    refusal: str | None = None


PskLookup: TypeAlias = Callable[[Preamble], "Psk | None"]
"""Finds the key that a preamble names; None where there is none. Must not raise."""

TokenJudge: TypeAlias = Callable[[TokenClaim], "str | None"]
"""Says why a token is not accepted now (expired, used up, revoked), or None."""


def credential_preamble(credential: Credential, genesis: bytes | None) -> Preamble:
    """Return the preamble that names a credential."""
    if isinstance(credential, Token):
        return Preamble(
            kind=CredentialKind.TOKEN,
            psk_id=credential.id,
            cluster_tag=cluster_tag(credential.genesis),
            uses=credential.uses,
            expiry_s=credential.expiry_s,
        )
    return Preamble(
        kind=CredentialKind.SECRET,
        psk_id=secret_psk_id(credential.secret),
        cluster_tag=cluster_tag(genesis),
    )


def credential_psk(credential: Credential) -> bytes:
    """Return the 32-byte Noise psk of a credential."""
    return credential.key if isinstance(credential, Token) else secret_psk(credential.secret)


def cluster_psks(secret: bytes, judge: TokenJudge) -> PskLookup:
    """Return the lookup of a member: it opens to the secret and to tokens made from it.

    `judge` holds the clock and the use counts, which the core has not.
    """
    member_id, member = secret_psk_id(secret), Psk(key=secret_psk(secret))

    def lookup(preamble: Preamble) -> Psk | None:
        if preamble.kind is CredentialKind.SECRET:
            return member if preamble.psk_id == member_id else None
        if preamble.kind is CredentialKind.TOKEN:
            claim = token_claim(preamble)
            key = token_psk(secret, claim.id, claim.uses, claim.expiry_s)
            return Psk(key=key, refusal=judge(claim))
        return None

    return lookup


def token_claim(preamble: Preamble) -> TokenClaim:
    """Return the token that a preamble names; it proves nothing yet."""
    return TokenClaim(id=preamble.psk_id, uses=preamble.uses, expiry_s=preamble.expiry_s)
