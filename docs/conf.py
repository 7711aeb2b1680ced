"""How `make docs` makes a site of these pages. They are written for whoever reads them as files, too.

Nothing of the site comes from another host: furo has its scripts and styles with it, and uses the reader's own fonts.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "ngpu"
version = release = (ROOT / "ngpu/__init__.py").read_text().split('__version__ = "')[1].split('"')[0]
html_title = "ngpu"
extensions = ["myst_parser"]
exclude_patterns = ["examples"]
html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_use_index = False
# anchors as in a forge's view of the pages
myst_heading_anchors = 4
nitpicky = True
smartquotes = False

BESIDE = {"index": "README.md", "changelog": "CHANGELOG.md"}
"""Pages that show a file of the folder above, before what stands in the page itself."""

INSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}


def lead(text: str, above: str) -> str:
    """A page whose links to files of the folder above, reached through ``above``, lead to what the site has of them."""

    def led(found: re.Match[str]) -> str:
        path, anchor = found["path"], found["anchor"] or ""
        if path.endswith("/README.md"):
            path = path.removeprefix("docs/")
        elif path in INSIDE:
            path = INSIDE[path]
        elif path.startswith("docs/"):
            path = path.removeprefix("docs/")
        elif (ROOT / path).exists():
            path = f"../{path}"
        return f"]({path}{anchor})"

    return re.sub(rf"\]\({re.escape(above)}(?P<path>[\w./-]+)(?P<anchor>#[\w-]+)?\)", led, text)


def read(app: object, name: str, source: list[str]) -> None:
    """Sphinx has read a page."""
    if name in BESIDE:
        source[0] = lead((ROOT / BESIDE[name]).read_text(), "") + "\n" + source[0]
    elif "/" not in name:
        source[0] = lead(source[0], "../")


def setup(app: object) -> None:
    """What Sphinx asks an extension, which this file is as well."""
    app.connect("source-read", read)  # type: ignore[attr-defined]
