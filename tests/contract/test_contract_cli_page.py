"""docs/cli.md says what the program says: every verb, argument, option and variable, no more."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click
import pytest

from meshcrdt.daemon.cli.app import VERBS, cli
from meshcrdt.daemon.exits import ExitCode
from meshcrdt.daemon.options import BY_NAME, OPTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
EVERY_VERB = {"--api", "--state-dir", "--json", "--help", "-h"}


def commands() -> dict[str, click.Command]:
    """Return every command by what a person types."""
    context = click.Context(cli)
    found: dict[str, click.Command] = {}
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                found[f"meshcrdt {verb} {name}"] = inner
        else:
            found[f"meshcrdt {verb}"] = command
    return found


COMMANDS = commands()


def test_the_page_has_every_verb_in_the_order_of_the_help() -> None:
    assert list(SECTIONS) == list(COMMANDS)


@pytest.mark.parametrize("typed", COMMANDS)
def test_a_section_has_the_arguments_and_options_of_its_verb(typed: str) -> None:
    command, section = COMMANDS[typed], SECTIONS[typed]
    usage = command.collect_usage_pieces(click.Context(command))
    arguments = [piece for piece in usage if piece != "[OPTIONS]"]
    options = {
        spelling
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in parameter.opts
    } - EVERY_VERB
    line = " ".join([typed, *arguments, *(["[OPTIONS]"] if options else [])])
    assert f"```\n{line}\n```" in section
    rows = [row for row in section.splitlines() if row.startswith("| `--")]
    documented = {word for row in rows for word in re.findall(r"`(--[\w-]+)`", row.split(" | ")[0])}
    assert documented == options


@pytest.mark.parametrize("typed", COMMANDS)
def test_a_section_says_what_the_help_says(typed: str) -> None:
    text = inspect.cleandoc(COMMANDS[typed].help or "")
    assert text
    assert f"\n{text}\n" in SECTIONS[typed]


def test_the_options_of_launch_name_their_variables() -> None:
    section = SECTIONS["meshcrdt launch"]
    for option in OPTIONS:
        if option.flag == "PEER" or option.flag in EVERY_VERB:
            assert f"`{option.variable}`" in PAGE
        else:
            assert re.search(rf"^\| `{option.flag}`.*`{option.variable}`", section, re.MULTILINE)
    named = set(re.findall(r"`(MESHCRDT_\w+)", PAGE))
    own = {"MESHCRDT_CONFIG", "MESHCRDT_TRACEBACK", "MESHCRDT_API", "MESHCRDT_STATE_DIR"}
    assert named == own | {option.variable for option in BY_NAME.values()}


def test_exit_codes_are_listed() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("**Exit codes:**"))
    paragraph = PAGE[PAGE.index(line) :].split("\n\n")[0]
    assert {int(code) for code in re.findall(r"\b(\d) ", paragraph)} == {int(c) for c in ExitCode}


def test_outcomes_are_listed() -> None:
    from typing import get_args

    from meshcrdt.ipam.outcomes import Outcome

    words = {kind.outcome for kind in get_args(Outcome)} - {"released"}
    for word in words:
        assert re.search(rf"\b{word}\b", PAGE), word
