"""The command line `meshcrdt`: every verb, and the one place where an error becomes a line.

`main` is the console script. Verbs load lazily, each with only what it needs.
"""

from __future__ import annotations

import os
import sys

from meshcrdt.daemon.exits import CommandError, ExitCode, one_line

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return its exit code; never lets a traceback reach a person."""
    try:
        import click
    except ImportError:
        print(
            "meshcrdt: the command line needs the extra 'daemon' (pip install 'meshcrdt[daemon]')",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    from meshcrdt.daemon.cli.app import Common, cli

    common = Common()
    try:
        cli.main(args=arguments, prog_name="meshcrdt", standalone_mode=False, obj=common)
    except CommandError as error:
        common.print_failure(error)
        return int(error.code)
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except click.ClickException as error:
        # click's own three lines become one: scripts and logs take errors by the line.
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f" (see '{error.ctx.command_path} --help')"
        print(f"meshcrdt: {one_line(error.format_message())}{hint}", file=sys.stderr)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:
        # A bug; a person gets one line all the same, and MESHCRDT_TRACEBACK=1 the rest.
        if os.environ.get("MESHCRDT_TRACEBACK"):
            raise
        print(f"meshcrdt: internal error: {one_line(repr(error))}", file=sys.stderr)
        return ExitCode.FAILED
    return ExitCode.DONE
