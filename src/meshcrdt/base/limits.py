"""Every published bound, with its unit in its name.

Nothing in meshcrdt grows or waits without one of these. A value is a promise to
operators (docs/guarantees.md) and a wall to attackers: change one only with its test.
"""

from __future__ import annotations

from typing import Any

from attrs import Attribute, field, frozen

from meshcrdt.errors import UsageError


def _positive(_: object, attribute: Attribute[Any], value: float) -> None:
    if not value > 0:
        raise UsageError(f"{attribute.name} is {value}: more than zero is accepted")


def _not_negative(_: object, attribute: Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise UsageError(f"{attribute.name} is {value}: zero or more is accepted")


@frozen(kw_only=True)
class Limits:
    """The bounds of one node; the defaults are the published ones."""

    # wire
    frame_bytes_max: int = field(default=256 * 1024, validator=_positive)
    """One control frame, sealed, after the length prefix."""
    tree_depth_max: int = field(default=16, validator=_positive)
    list_items_max: int = field(default=65_536, validator=_positive)
    text_bytes_max: int = field(default=4_096, validator=_positive)
    hello_bytes_max: int = field(default=2_048, validator=_positive)
    """One handshake message before authentication."""

    # links
    handshake_timeout_s: float = field(default=5.0, validator=_positive)
    half_open_max: int = field(default=256, validator=_positive)
    half_open_per_source_max: int = field(default=32, validator=_positive)
    link_liveness_bytes_max: int = field(default=64 * 1024, validator=_positive)
    """Messages between neighbours that wait for one link; above, it is stuck and is closed."""
    link_unicast_bytes_max: int = field(default=512 * 1024, validator=_positive)
    """Unicast that waits for one link; above, who fills most of it loses messages."""
    link_delta_bytes_max: int = field(default=2 * 1024 * 1024, validator=_positive)
    """Deltas that wait for one link; a stream whose state is made when it leaves counts 256."""
    link_repair_bytes_max: int = field(default=4 * 1024 * 1024, validator=_positive)
    """Repair that waits for one link; a request counts for what it names, not for its answer."""
    link_share_window_bytes: int = field(default=256 * 1024, validator=_positive)
    """Bytes of one link over which the shares of its lanes hold."""
    frame_fill_bytes: int = field(default=64 * 1024, validator=_positive)
    """A frame takes no further message above it: what is urgent waits for one frame at most."""
    send_timeout_s: float = field(default=10.0, validator=_positive)
    """A link that does not take one frame in so long is stuck and is closed."""
    links_max: int = field(default=512, validator=_positive)
    ping_interval_s: float = field(default=1.5, validator=_positive)
    """A link that brought nothing for so long is asked whether it lives (detection "links")."""
    probe_interval_s: float = field(default=0.92, validator=_positive)
    """In each such interval a node hears one of its neighbours (detection "probe")."""
    link_silence_s: float = field(default=2.5, validator=_positive)
    """A link that brought nothing for so long is lost."""
    dial_timeout_s: float = field(default=5.0, validator=_positive)
    dial_backoff_min_s: float = field(default=0.2, validator=_positive)
    dial_backoff_max_s: float = field(default=2.0, validator=_positive)
    """The cap for known members and configured addresses; others go up to eight times this."""

    # overlay
    overlay_full_mesh_max: int = field(default=8, validator=_positive)
    """Members up to which everybody is linked with everybody."""
    overlay_active_min: int = field(default=5, validator=_positive)
    """A node with fewer neighbours looks for more."""
    overlay_active_max: int = field(default=7, validator=_positive)
    """Neighbours of one node in a larger cluster, pinned ones not counted."""
    overlay_passive_max: int = field(default=30, validator=_positive)
    """Peers known by hearsay only; a directory with fewer members is thin."""
    overlay_contacts_max: int = field(default=8, validator=_positive)
    """Peers that one message tells of."""
    overlay_contact_age_s: float = field(default=300.0, validator=_positive)
    """So long a peer without a record in the directory is remembered."""
    overlay_link_grace_s: float = field(default=2.0, validator=_positive)
    """A link that is no neighbour's ends after so long, at its other end after twice that."""
    overlay_ask_retry_s: float = field(default=1.0, validator=_positive)
    overlay_seek_s: float = field(default=1.5, validator=_positive)
    """A member that is dialled for the view and does not answer gives its turn to the next."""
    overlay_seed_after_s: float = field(default=5.0, validator=_positive)
    """A view that stays thin so long goes back to the configured addresses."""
    overlay_probe_interval_s: float = field(default=1.0, validator=_positive)
    """Once in so long somebody in the whole cluster dials a member out of view."""
    overlay_shuffle_interval_s: float = field(default=2.0, validator=_positive)
    overlay_penalty_max_s: float = field(default=60.0, validator=_positive)
    """The longest time that a member which keeps falling off is left alone."""

    # replication
    stream_keys_max: int = field(default=65_536, validator=_positive)
    stream_bytes_max: int = field(default=16 * 1024 * 1024, validator=_positive)
    streams_per_origin_max: int = field(default=64, validator=_positive)
    key_bytes_max: int = field(default=1_024, validator=_positive)
    value_bytes_max: int = field(default=64 * 1024, validator=_positive)
    channel_name_bytes_max: int = field(default=128, validator=_positive)
    flush_records_max: int = field(default=1_024, validator=_positive)
    supersedes_max: int = field(default=256, validator=_positive)
    anti_entropy_interval_s: float = field(default=30.0, validator=_positive)
    """Roots are compared on a random link this often, whatever heartbeats showed."""
    anti_entropy_blind_interval_s: float = field(default=3.0, validator=_positive)
    """The same while a link has a peer whose heartbeats show no root."""
    lazy_interval_s: float = field(default=2.0, validator=_positive)
    """So long a lazy link may wait to be told; more than from one heartbeat to the next."""
    graft_timeout_s: float = field(default=0.5, validator=_positive)
    """What was announced and did not come along the tree is asked for after this."""
    fetch_timeout_s: float = field(default=3.0, validator=_positive)
    write_queue_max: int = field(default=10_000, validator=_positive)
    """Local writes that wait for the disk."""

    # liveness
    suspect_after_s: float = field(default=0.0, validator=_not_negative)
    dead_after_s: float = field(default=5.0, validator=_positive)
    names_grace_s: float = field(default=30.0, validator=_positive)
    """How long names of a dead origin are still answered."""
    adverts_per_s: float = field(default=1.0, validator=_positive)
    """How many unhurried adverts of their links all nodes of a cluster make together."""
    members_max: int = field(default=4_096, validator=_positive)

    # unicast
    unicast_ttl_hops: int = field(default=16, validator=_positive)
    unicast_retry_s: float = field(default=0.5, validator=_positive)
    unicast_timeout_s: float = field(default=5.0, validator=_positive)
    unicast_window: int = field(default=1_024, validator=_positive)
    unicast_sources_max: int = field(default=4_096, validator=_positive)
    unicast_pending_max: int = field(default=4_096, validator=_positive)

    # ipam
    allocate_timeout_s: float = field(default=5.0, validator=_positive)
    allocate_pending_max: int = field(default=4_096, validator=_positive)
    reuse_cooldown_s: float = field(default=60.0, validator=_not_negative)
    allocations_max: int = field(default=262_144, validator=_positive)

    # watches
    watch_queue_max: int = field(default=1_024, validator=_positive)
    """Changes that wait for one watcher before it is told Lost(n) and resynchronised."""


DEFAULT_LIMITS = Limits()
