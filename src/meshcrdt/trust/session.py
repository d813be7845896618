"""Sessions: what a link does to every frame after its handshake.

A sealed session numbers the messages of each direction, so that a lost, repeated or
moved frame breaks the link instead of passing unseen, and replaces its keys on both
sides after every REKEY_MESSAGES messages (Noise REKEY): a key that leaks later opens
nothing older. Healing after a leak needs a fresh handshake, which is the shell's to make.

A plain session has the same interface for meshes without a secret.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from meshcrdt.errors import InternalError, RemoteProtocolError
from meshcrdt.trust.symmetric import TAG_BYTES, CipherState

REKEY_MESSAGES = 1 << 16


@frozen
class SessionStatistics:
    """Messages and rekeys of each direction since the handshake."""

    sealed: int
    opened: int
    sealing_rekeys: int
    opening_rekeys: int


class Session(Protocol):
    """Turns frames into what goes on the wire, and back; in order, nothing lost."""

    @property
    def encrypted(self) -> bool:
        """Whether strangers on the path can read the frames."""
        ...

    @property
    def overhead_bytes(self) -> int:
        """How much `seal` adds to a frame."""
        ...

    def seal(self, plaintext: bytes) -> bytes:
        """Return what to send for one frame; frames are sent in the order of the calls."""
        ...

    def open(self, ciphertext: bytes) -> bytes:
        """Return the frame in what was received; raises RemoteProtocolError."""
        ...

    def check(self) -> None:
        """Raise InternalError when an invariant is broken."""
        ...

    def statistics(self) -> SessionStatistics:
        """Return the counts so far."""
        ...


class SealedSession:
    """A session over the two ciphers of a finished Noise handshake."""

    def __init__(
        self, sends: CipherState, receives: CipherState, *, rekey_messages: int = REKEY_MESSAGES
    ) -> None:
        self._sends = sends
        self._receives = receives
        self._rekey_messages = rekey_messages
        self._sealing_rekeys = 0
        self._opening_rekeys = 0
        self._broken = False

    @property
    def encrypted(self) -> bool:
        """True: this is what a sealed session is for."""
        return True

    @property
    def overhead_bytes(self) -> int:
        """The authentication tag."""
        return TAG_BYTES

    def seal(self, plaintext: bytes) -> bytes:
        """Return the sealed frame, `overhead_bytes` longer."""
        ciphertext = self._sends.encrypt(b"", plaintext)
        if self._sends.nonce % self._rekey_messages == 0:
            self._sends.rekey()
            self._sealing_rekeys += 1
        return ciphertext

    def open(self, ciphertext: bytes) -> bytes:
        """Return the frame; raises RemoteProtocolError, then for ever, when it is not the next."""
        if self._broken:
            raise RemoteProtocolError("the session ended with a frame that did not authenticate")
        try:
            plaintext = self._receives.decrypt(b"", ciphertext)
        except RemoteProtocolError:
            self._broken = True
            raise
        if self._receives.nonce % self._rekey_messages == 0:
            self._receives.rekey()
            self._opening_rekeys += 1
        return plaintext

    def check(self) -> None:
        """Raise InternalError when keys were not replaced as often as they should be."""
        for cipher, rekeys in (
            (self._sends, self._sealing_rekeys),
            (self._receives, self._opening_rekeys),
        ):
            if not cipher.has_key or cipher.nonce // self._rekey_messages != rekeys:
                raise InternalError(f"{rekeys} rekeys after {cipher.nonce} messages")

    def statistics(self) -> SessionStatistics:
        """Return the counts so far."""
        return SessionStatistics(
            sealed=self._sends.nonce,
            opened=self._receives.nonce,
            sealing_rekeys=self._sealing_rekeys,
            opening_rekeys=self._opening_rekeys,
        )


class PlainSession:
    """A session that passes frames as they are; the transport alone keeps their order."""

    def __init__(self) -> None:
        self._sealed = 0
        self._opened = 0

    @property
    def encrypted(self) -> bool:
        """False, and shown so in the status."""
        return False

    @property
    def overhead_bytes(self) -> int:
        """Nothing."""
        return 0

    def seal(self, plaintext: bytes) -> bytes:
        """Return the frame."""
        self._sealed += 1
        return plaintext

    def open(self, ciphertext: bytes) -> bytes:
        """Return the frame."""
        self._opened += 1
        return ciphertext

    def check(self) -> None:
        """Hold trivially: there is no state but two counts."""

    def statistics(self) -> SessionStatistics:
        """Return the counts so far."""
        return SessionStatistics(
            sealed=self._sealed, opened=self._opened, sealing_rekeys=0, opening_rekeys=0
        )
