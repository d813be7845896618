"""The documentation is tested like code: examples run, links resolve, named files exist."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE_TIMEOUT_S = 120
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED_PATH = re.compile(r"`((?:docs|tests|src|benchmarks)/[\w./-]*)`")


def pages() -> Iterator[Path]:
    """Yield every page of the repository; what tools and builds leave is not ours."""
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith((".", "_")) or part in ("build", "dist") for part in parts):
            yield path


def examples() -> Iterator[object]:
    """Yield every Python example of the README and of docs."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for match in EXAMPLE.finditer(page.read_text()):
            line = page.read_text()[: match.start()].count("\n") + 2
            name = f"{page.relative_to(ROOT)}:{line}"
            yield pytest.param(match[1], id=name)


@pytest.mark.parametrize("code", list(examples()))
def test_every_example_runs_as_it_stands(code: str) -> None:
    # A process of its own: an example may run an event loop, and may not lean on another.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=EXAMPLE_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_the_main_examples_are_there() -> None:
    names = [str(getattr(example, "id", "")) for example in examples()]
    assert any(name.startswith("README.md:") for name in names)
    assert sum(name.startswith("docs/embedding.md:") for name in names) >= 8


def test_the_readme_example_shows_what_it_says() -> None:
    (code,) = EXAMPLE.findall((ROOT / "README.md").read_text())
    assert "## Eleven lines" in (ROOT / "README.md").read_text()
    assert sum(bool(line.strip()) for line in code.splitlines()) == 11
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=EXAMPLE_TIMEOUT_S,
        check=True,
    )
    value, address = done.stdout.splitlines()
    assert value == "{'port': 80}"
    assert re.fullmatch(r"10\.\d+\.\d+\.\d+/12", address)


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text()
    prose = FENCE.sub("", text)
    for target in LINK.findall(prose):
        if "://" in target or target.startswith(("mailto:", "#")):
            continue
        assert (page.parent / target.partition("#")[0]).exists(), target
    for named in NAMED_PATH.findall(prose):
        assert (ROOT / named).exists(), named


def test_every_page_of_docs_is_in_a_table_of_contents() -> None:
    docs = ROOT / "docs"
    listed = set()
    for index in docs.rglob("index.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", index.read_text(), re.DOTALL):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(index.parent / f"{entry}.md").resolve() for entry in entries}
    pages_of_docs = {
        page for page in pages() if page.is_relative_to(docs) and "changes" not in page.parts
    }
    assert pages_of_docs - {docs / "index.md"} == listed
