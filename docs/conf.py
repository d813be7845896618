"""Sphinx configuration."""

from importlib.metadata import version as _version

project = "meshcrdt"
author = "The meshcrdt authors"
copyright = "2026, the meshcrdt authors"
release = _version("meshcrdt")
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "changes"]
html_theme = "furo"
html_title = "meshcrdt"
myst_heading_anchors = 3
nitpicky = True
