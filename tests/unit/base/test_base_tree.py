"""Reading trees from outside: lines reach terminals, so they are held to more than text is."""

import pytest

from meshcrdt.base.tree import take_line, take_lines
from meshcrdt.errors import MalformedTree


@pytest.mark.parametrize("text", ["", "web.mesh.internal", "tcp://[fd00::1]:6783", "Köln 東京"])
def test_printable_text_is_a_line(text):
    assert take_line(text, "field") == text
    assert take_lines((text, text), "field", count_max=2, size_max=64) == (text, text)


@pytest.mark.parametrize("tree", ["\x1b[2J", "a\nb", "\0", "\u202e", b"bytes", 7, None])
def test_what_is_no_line_names_its_field(tree):
    with pytest.raises(MalformedTree, match="some\\.field"):
        take_line(tree, "some.field")
    with pytest.raises(MalformedTree, match="some\\.field"):
        take_lines(("good", tree), "some.field", count_max=2, size_max=64)


def test_both_bounds_are_told():
    with pytest.raises(MalformedTree, match="has 3 items: at most 2 are accepted"):
        take_lines(("a", "b", "c"), "field", count_max=2, size_max=64)
    with pytest.raises(MalformedTree, match="has 5 characters: at most 4 are accepted"):
        take_lines(("abcde",), "field", count_max=2, size_max=4)
