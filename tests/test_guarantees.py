"""A promise without a test is advertising: every test that the guarantees name exists.

The same holds for the findings, and every number that code cites is explained there.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
FINDINGS = (ROOT / "docs" / "findings.md").read_text()
ANCHORS = set(re.findall(r"^\((\w+)\)=$", FINDINGS, re.MULTILINE))
CITED = re.compile(r"\b([FTRPIL][1-9][0-9]?)\b")
PAGE_OF_NO_READER = re.compile(
    r"\b(?:0[1-9]|1[0-2])-(?:[a-z]{3,})\b|\bdesign (?:page|review|[0-9])|\(0[1-9][,;]"
)
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
ROWS = [
    line
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| promise |")
]


def functions_of(path: Path) -> set[str]:
    """Return the names of the functions that a file defines."""
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def sources() -> list[Path]:
    """Return every Python file that may cite a finding."""
    return sorted(
        path for part in ("src", "tests", "benchmarks") for path in (ROOT / part).rglob("*.py")
    )


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED_TEST.findall(PAGE + FINDINGS))))
def test_a_named_test_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    if name:
        assert name.startswith("test_")
        assert name in functions_of(ROOT / path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:50])
def test_a_promise_names_a_test(row: str) -> None:
    promise, exception, shown_by = (cell.strip() for cell in row.strip("|").split("|"))
    assert promise
    assert exception == "" or exception.endswith(".")
    assert NAMED_TEST.search(shown_by)


def test_there_are_promises() -> None:
    assert len(ROWS) > 20


def test_every_finding_that_code_cites_is_explained() -> None:
    cited = {
        (number, str(path.relative_to(ROOT)))
        for path in sources()
        for number in CITED.findall(path.read_text())
    }
    assert len(cited) > 100
    assert [(n, path) for n, path in sorted(cited) if n.lower() not in ANCHORS] == []


def test_no_comment_cites_a_page_that_readers_do_not_have() -> None:
    found = [
        (str(path.relative_to(ROOT)), match[0])
        for path in sources()
        for match in PAGE_OF_NO_READER.finditer(path.read_text())
    ]
    assert found == []


def test_findings_stand_in_order_under_their_anchors() -> None:
    titles = re.findall(r"^\((\w+)\)=\n\*\*(\w+)\. ", FINDINGS, re.MULTILINE)
    assert [anchor for anchor, number in titles if anchor != number.lower()] == []
    assert len(titles) == len(ANCHORS) > 50
