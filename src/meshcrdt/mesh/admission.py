"""Joining with a token: both ends of the admission session, and who is asked how often.

The session of a token carries the genesis and the cluster secret, once, and is closed.
The joiner keeps the secret and then dials as a member like any other; the genesis, pinned
by the token, comes over its first real link.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio
from attrs import define, field, frozen

from meshcrdt.abc import Link
from meshcrdt.base.limits import Limits
from meshcrdt.errors import HandshakeError, LinkError, PeerRefused, ProtocolError, UsageError
from meshcrdt.ipam.genesis import Genesis
from meshcrdt.mesh.credentials import Credentials
from meshcrdt.mesh.links import anyones_code, close_quietly, initiate
from meshcrdt.transports.registry import transport_for
from meshcrdt.trust.admission import (
    Admission,
    admission_taken,
    read_admission,
    read_admission_taken,
)
from meshcrdt.trust.hello import Hello
from meshcrdt.trust.outcomes import Established
from meshcrdt.trust.token import Token

log = logging.getLogger("meshcrdt.mesh")

ATTEMPT_TIMEOUT_S = 3.0
"""One address, from dialling to the secret."""

REFUSAL_GRACE_S = 3.0
"""How long refusals alone may go on before the joiner gives up: members may be starting.

No shorter than one attempt, so that whoever is slow to admit is heard as well."""

PAUSE_MIN_S = 0.25
PAUSE_MAX_S = 2.0


async def admit(
    link: Link, established: Established, credentials: Credentials, *, genesis: Genesis
) -> None:
    """Send the admission to a joiner that proved a token, and count the use when it is taken.

    Raises PeerRefused when others are just using the token up, LinkError or ProtocolError
    when the joiner goes away or answers nonsense.
    """
    if established.token is None or credentials.secret is None:
        raise HandshakeError("this session admits nobody")
    session = established.session
    admission = Admission(genesis=genesis.encode(), secret=credentials.secret)
    with credentials.admitting(established.token):
        await link.send(session.seal(admission.to_bytes()))
        read_admission_taken(session.open(await link.receive()))


async def seek_admission(
    token: Token,
    addresses: Sequence[str],
    credentials: Credentials,
    *,
    hello: Hello,
    limits: Limits,
    keep: Callable[[bytes], Awaitable[None]],
) -> bytes:
    """Ask all addresses until one admits this node; returns the cluster secret.

    `keep` makes the secret durable; only then the acceptor hears that it was taken, so a
    crash on the way does not use up the token. Keeps trying while nobody answers.
    Raises PeerRefused, with the reasons, when for REFUSAL_GRACE_S everyone who answered
    refused, and UsageError when there is no address to ask.
    """
    if not addresses:
        raise UsageError("the token names no address and no peer is given: nobody can be asked")
    search = _Search(_Asking(token, credentials, hello, limits, keep))
    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(search.keep_asking, address, nursery.cancel_scope)
    if search.admission is None:
        reasons = "; ".join(refused.reason for refused in search.refusals.values())
        raise PeerRefused(f"the token was refused: {reasons}")
    return search.admission.secret


@frozen
class _Refused:
    """An address that refuses: since when, and what it said last."""

    since: float
    reason: str


@define
class _Search:
    """The state that the tasks of all addresses share.

    Each address is asked on its own schedule: one that swallows what it is sent keeps
    nobody from hearing the others.
    """

    asking: _Asking
    admission: Admission | None = None
    refusals: dict[str, _Refused] = field(factory=dict)

    async def keep_asking(self, address: str, everyone: trio.CancelScope) -> None:
        """Ask one address until somebody admits this node, or all who answer refuse for long."""
        pause_s = PAUSE_MIN_S
        while True:
            answer = await self.asking.attempt(address)
            now = trio.current_time()
            match answer:
                case Admission():
                    self.admission = answer
                case str():
                    before = self.refusals.get(address)
                    self.refusals[address] = _Refused(before.since if before else now, answer)
                case None:
                    self.refusals.pop(address, None)
            if self.admission is not None or self._is_hopeless(now):
                everyone.cancel()
                return
            await trio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _is_hopeless(self, now: float) -> bool:
        return any(now - refused.since >= REFUSAL_GRACE_S for refused in self.refusals.values())


@frozen
class _Asking:
    """One joiner's side of the admission session."""

    token: Token
    credentials: Credentials
    hello: Hello
    limits: Limits
    keep: Callable[[bytes], Awaitable[None]]

    async def attempt(self, address: str) -> Admission | str | None:
        """Ask one address once; returns its admission, why it refused, or None for no answer."""
        link: Link | None = None
        try:
            with trio.fail_after(ATTEMPT_TIMEOUT_S):
                with anyones_code(address):
                    link = await transport_for(address).dial(
                        address, frame_bytes_max=self.limits.frame_bytes_max
                    )
                return await self._converse(link)
        except HandshakeError as error:
            return str(error)
        except trio.TooSlowError:
            log.debug("%s did not admit this node in time", address)
        except (LinkError, ProtocolError) as error:
            log.debug("%s did not admit this node: %s", address, error)
        finally:
            if link is not None:
                await close_quietly(link)
        return None

    async def _converse(self, link: Link) -> Admission:
        with anyones_code(link.remote):
            established = await initiate(
                link,
                self.credentials.joiner(self.hello, self.token),
                hello_bytes_max=self.limits.hello_bytes_max,
            )
            answer = await link.receive()
        try:
            admission = read_admission(
                established.session.open(answer),
                pinned=self.token.genesis,
                hash_of=lambda raw: Genesis.decode(raw).hash,
            )
        except ProtocolError as error:
            raise PeerRefused(f"{link.remote} sent no acceptable admission: {error}") from None
        # Not the peer's doing: a disk that fails ends the joiner.
        await self.keep(admission.secret)
        with anyones_code(link.remote):
            await link.send(established.session.seal(admission_taken()))
        return admission
