"""How Sphinx builds the site (`make docs`); pages that are made from the code go to docs/_made."""

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from commandline import write_commands

from sitsfuse import __version__

MADE = HERE / "_made"
OUTSIDE = {
    "../CONTRIBUTING.md": "/_made/contributing.md",
    "../../CONTRIBUTING.md": "/_made/contributing.md",
    "../CHANGELOG.md": "/_made/changelog.md",
    "../examples/sites": "/data-model.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Links to files beside docs/, which are pages of the site as well."""

project = "sitsfuse"
author = "sitsfuse developers"
project_copyright = "sitsfuse developers, Apache License 2.0"
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_nb"]
root_doc = "index"
exclude_patterns = ["_made/commands.md"]
nitpicky = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_merge_streams = True

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "sitsfuse"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_end": ["theme-switcher"],
    "search_bar_text": "Search these pages",
}
html_sidebars: dict[str, list[str]] = {"index": []}
html_copy_source = False


def inside(text: str) -> str:
    """A page's text with links to files beside docs/ turned into links to their pages."""
    for outside, page in OUTSIDE.items():
        text = text.replace(f"]({outside}", f"]({page}")
    return text


def write_pages(*_: Any) -> None:
    """Write the pages that are made from the code and from files beside docs/."""
    MADE.mkdir(exist_ok=True)
    write_commands(MADE / "commands.md")
    for name in ("CHANGELOG", "CONTRIBUTING"):
        text = (HERE.parent / f"{name}.md").read_text(encoding="utf-8")
        (MADE / f"{name.lower()}.md").write_text(inside(text), encoding="utf-8")


def setup(app: Any) -> None:
    """Connect the above with Sphinx."""
    app.connect("source-read", lambda _app, _page, source: source.__setitem__(0, inside(source[0])))


write_pages()
