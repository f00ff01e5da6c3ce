"""Sphinx configuration; ``make docs`` builds with warnings as errors."""

from __future__ import annotations

import os

# The Python core has the types in its signatures; the compiled one behaves the same.
os.environ["HISOCK_PURE_PYTHON"] = "1"

from hisock.constants import __version__

project = "hisock"
author = "The hisock contributors"
project_copyright = "2026, The hisock contributors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"hisock {release}"
html_static_path = ["_static"]
html_css_files = ["hisock.css"]
# One parameter a line, so that a phone shows all of a signature.
maximum_signature_line_length = 60

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# What is copied is what is typed: without prompts, and without output.
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
