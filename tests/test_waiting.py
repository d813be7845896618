"""A rule about ports of tests: none that the kernel may lend to another in the meantime."""

from pathlib import Path

import pytest
import waiting


@pytest.mark.parametrize(
    ("lent", "drawn"),
    [
        ("32768\t60999\n", range(10_000, 32_768)),
        ("15000 60000", range(60_001, 65_536)),
        ("1024 20000", range(20_001, 65_536)),
        ("1024 65535", range(10_000, 65_536)),  # there is no other: what is left is luck
    ],
)
def test_ports_are_drawn_from_those_that_the_kernel_does_not_lend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lent: str, drawn: range
) -> None:
    file = tmp_path / "ip_local_port_range"
    file.write_text(lent)
    monkeypatch.setattr(waiting, "EPHEMERAL", file)
    assert waiting.drawn_from() == drawn
    assert waiting.free_port() in drawn


def test_where_the_kernel_says_nothing_the_lower_ports_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "EPHEMERAL", tmp_path / "nothing")
    assert waiting.free_port() in range(waiting.PORT_MIN, waiting.PORT_MAX + 1)
