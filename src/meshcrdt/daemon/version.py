"""The version that `version` and `status` show: the installed package's own."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_text() -> str:
    """Return the version, or "0+unknown" for a tree that was never installed."""
    try:
        return version("meshcrdt")
    except PackageNotFoundError:
        return "0+unknown"
