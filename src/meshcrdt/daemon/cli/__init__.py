"""The command line `meshcrdt`: every verb, and the one place where an error becomes a line.

`main` is the console script. Verbs load lazily, each with only what it needs.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from meshcrdt.daemon.exits import CommandError, ExitCode, one_line

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return its exit code; never lets a traceback reach a person."""
    try:
        import click
    except ImportError:
        _complain("the command line needs the extra 'daemon' (pip install 'meshcrdt[daemon]')")
        return ExitCode.FAILED
    from meshcrdt.daemon.cli.app import Common, cli

    common = Common()
    try:
        cli.main(args=arguments, prog_name="meshcrdt", standalone_mode=False, obj=common)
        _flush(sys.stdout)
    except CommandError as error:
        # Nobody may be there any more to read why: the code says it all the same.
        with suppress(OSError):
            common.print_failure(error)
        _let_go_of_output()
        return int(error.code)
    except click.exceptions.Exit as finished:
        return finished.exit_code
    except click.ClickException as error:
        # click's own three lines become one: scripts and logs take errors by the line.
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f" (see '{error.ctx.command_path} --help')"
        _complain(f"{one_line(error.format_message())}{hint}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone, on purpose: as with any other program, no line.
        _let_go_of_output()
        return ExitCode.FAILED
    except OSError as error:
        # Whatever else may fail is caught where it is done: this is what was to be printed.
        _let_go_of_output()
        where = error.filename or "standard output"
        _complain(f"{one_line(str(where))} cannot be written: {error.strerror or error}")
        return ExitCode.FAILED
    except Exception as error:
        # A bug; a person gets one line all the same, and MESHCRDT_TRACEBACK=1 the rest.
        if os.environ.get("MESHCRDT_TRACEBACK"):
            raise
        _complain(f"internal error: {one_line(repr(error))}")
        return ExitCode.FAILED
    return ExitCode.DONE


def _complain(line: str) -> None:
    try:
        print(f"meshcrdt: {line}", file=sys.stderr, flush=True)
    except OSError:
        # What stays in the buffer fails again at the exit, and Python 3.11.2 turns the code to 120.
        _let_go_of_output()


def _flush(stream: TextIO | None) -> None:
    # A process may be started without one of its streams; what is printed then goes nowhere.
    if stream is not None:
        stream.flush()


def _let_go_of_output() -> None:
    """Let what could not be written go nowhere: Python would complain again at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            _flush(stream)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
