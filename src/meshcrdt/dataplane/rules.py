"""Our nftables table as text, rendered purely.

Two duties. A guard: tunnel packets of our VNI are accepted from the hosts that we have a
path to, and from nobody else, because VXLAN itself believes any sender. And, when the
overlay is exposed, masquerading both ways between it and the outside. The table's comment
keeps what to put back, so that a later daemon or `reset` needs no file for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from meshcrdt.dataplane.model import DataplaneConfig, Desired, Exposure
from meshcrdt.dataplane.paths import Paths, local_address, tunnel_sources

RESTORE_MARK = "ip_forward was off"
_KEEP_MARK = "nothing to put back"


def rules_text(config: DataplaneConfig, desired: Desired, paths: Paths) -> str:
    """Return the body of our table, or "" when nothing needs it; `paths` are to the remotes."""
    chains: list[str] = []
    local = local_address(config)
    if local is not None:
        chains.append(_guard(config, tunnel_sources(config, desired.remotes, paths)))
    if desired.gateway.exposure is Exposure.OUTSIDE:
        chains.append(_masquerade(config))
    return "\n".join(chains)


def table_script(table: str, body: str, *, restore: str) -> str:
    """Return an nft script that replaces the table in one transaction."""
    return (
        f"table inet {table}\ndelete table inet {table}\n"
        f'table inet {table} {{\n\tcomment "meshcrdt: {restore}"\n{body}\n}}\n'
    )


def restore_text(*, restore_forwarding: bool) -> str:
    """Return what the table's comment says about putting things back."""
    return RESTORE_MARK if restore_forwarding else _KEEP_MARK


def _guard(config: DataplaneConfig, sources: Iterable[str]) -> str:
    # The VNI stands 12 bytes into the UDP datagram; another daemon's is not our business.
    ours = f"udp dport {config.port} @th,96,24 {config.vni:#x}"
    accepts = []
    for version, word in ((4, "ip"), (6, "ip6")):
        known = [text for text in sources if ip_address(text).version == version]
        if known:
            accepts.append(f"\t\t{ours} {word} saddr {{ {', '.join(known)} }} accept\n")
    return (
        "\tchain guard {\n\t\ttype filter hook input priority filter - 10; policy accept;\n"
        f"{''.join(accepts)}\t\t{ours} drop\n\t}}"
    )


def _masquerade(config: DataplaneConfig) -> str:
    lines = []
    for text in config.universes:
        word = "ip" if ip_network(text).version == 4 else "ip6"
        inside, outside = f"{word} saddr {text}", f"{word} daddr != {text}"
        lines.append(f'\t\t{inside} {outside} oifname != "{config.bridge}" masquerade\n')
        inside, outside = f"{word} daddr {text}", f"{word} saddr != {text}"
        lines.append(f'\t\t{inside} {outside} oifname "{config.bridge}" masquerade\n')
    return (
        "\tchain outside {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
        f"{''.join(lines)}\t}}"
    )
