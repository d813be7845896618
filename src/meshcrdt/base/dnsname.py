"""What a name may look like, and its one canonical spelling.

RFC 1035 section 2.3.4 gives the lengths (a label 1 to 63 octets, a name 255 on the wire,
which is 253 characters of text); letters, digits and hyphen are RFC 1123, the underscore
is what service names use (RFC 8552). Case is kept for people and ignored for lookup
(RFC 4343), so the key of a name is its lower-case form.
"""

from __future__ import annotations

from meshcrdt.errors import UsageError

DOMAIN_DEFAULT = "mesh.internal"
"""The domain that a name without a dot gets where the operator chose none."""

LABEL_CHARACTERS_MAX = 63
NAME_CHARACTERS_MAX = 253
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def check_name(text: str) -> str:
    """Return `text` without a trailing dot; raises UsageError naming it and what is accepted."""
    if not isinstance(text, str):
        raise UsageError(f"a name is text, not {type(text).__name__}")
    name = text[:-1] if text.endswith(".") else text
    if not name:
        raise UsageError(f"{text!r} is not a name: it is empty")
    if any(ord(character) < 33 or ord(character) == 127 for character in name):
        raise UsageError(f"{text!r} is not a name: it has control characters or spaces")
    if len(name) > NAME_CHARACTERS_MAX:
        raise UsageError(
            f"{_shown(text)} is not a name: it has {len(name)} characters and at most"
            f" {NAME_CHARACTERS_MAX} are accepted"
        )
    for label in name.split("."):
        _check_label(label, text)
    return name


def _check_label(label: str, text: str) -> None:
    """Raise UsageError unless `label` is one label of the name `text`."""
    if not label:
        raise UsageError(f"{text!r} is not a name: it has an empty label")
    if len(label) > LABEL_CHARACTERS_MAX:
        raise UsageError(
            f"{_shown(text)} is not a name: a label has {len(label)} characters and at most"
            f" {LABEL_CHARACTERS_MAX} are accepted"
        )
    for character in label:
        if character not in _ALLOWED:
            raise UsageError(
                f"{text!r} is not a name: {character!r} is not accepted;"
                " letters, digits, hyphen and underscore are"
            )
    if label.startswith("-") or label.endswith("-"):
        raise UsageError(f"{text!r} is not a name: label {label!r} begins or ends with a hyphen")


def qualify_name(text: str, domain: str) -> str:
    """Return the full name with its case kept: a name without a dot gets `domain`.

    Raises UsageError for what is not a name, also when the full name is too long.
    """
    name = check_name(text)
    if "." in name or text.endswith("."):
        return name
    return check_name(f"{name}.{domain}")


def normalise_name(text: str, domain: str) -> str:
    """Return the key of a name: full, lower case, without a trailing dot. Raises UsageError."""
    return qualify_name(text, domain).lower()


def _shown(text: str) -> str:
    """A long text cut for a one-line message."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
