"""Small modules, each with one reason to change: a hard limit, so that growth is noticed."""

import ast
from pathlib import Path

import pytest

import meshcrdt

SOURCE = Path(next(iter(meshcrdt.__path__)))
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is for and why it is here"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"
