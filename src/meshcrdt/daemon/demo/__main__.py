"""Run the demo: `python -m meshcrdt.daemon.demo`."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from meshcrdt.daemon.demo import namespaces, partition
from meshcrdt.daemon.demo.account import Account
from meshcrdt.daemon.demo.process import VerbFailed


async def _play(account: Account) -> int:
    with tempfile.TemporaryDirectory(prefix="meshcrdt-demo-") as text:
        directory = Path(text)
        await partition.play(directory, account)
        reason = namespaces.why_not()
        if reason is None:
            await namespaces.play(directory, account)
        else:
            account.chapter("Real packets between hosts")
            account.tell(f"skipped: {reason}")
    return account.verdict()


def _told(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [line for inner in error.exceptions for line in _told(inner)]
    return [str(error) or type(error).__name__]


def main() -> int:
    """Run the demo; 0 only when every invariant held."""
    account = Account()
    try:
        return trio.run(partial(_play, account))
    except KeyboardInterrupt:
        return 130
    except (VerbFailed, RuntimeError, OSError, BaseExceptionGroup) as error:
        for line in _told(error):
            account.check("the demo runs to its end", line)
        return account.verdict()


if __name__ == "__main__":
    sys.exit(main())
