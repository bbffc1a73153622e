"""What mkdocs adds to docs/ for the site: pages made of files that lie elsewhere, and links.

docs/ is written to be read as it lies in the repository. So README.md and its kin become pages here
instead of being copied, the reference is a page for each room with public names, and a page that is
named, as in `docs/words.md`, is linked.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FROM_ROOT = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
ROOMS = {
    "dsm_mlx": "The package's own names",
    "dsm_mlx.audio": "Sound in and out",
    "dsm_mlx.chat": "Conversations",
    "dsm_mlx.archive": "Folders of recordings",
    "dsm_mlx.captions": "Transcripts as files",
}
_NAMED = re.compile(r"(?<![\[`])`((?:docs/)?([\w/-]+\.md))`(?![`\]])")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that docs/ does not have."""
    for page, source in FROM_ROOT.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](docs/", "](")))
    for room in ROOMS:
        page = f"reference/{room.removeprefix('dsm_mlx.')}.md"
        files.append(File.generated(config, page, content=_reference(room)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: Any, files: Files) -> str:
    """Link the pages that are named as files, from wherever they are named."""
    pages = {source: target for target, source in FROM_ROOT.items()}

    def link(found: re.Match[str]) -> str:
        path = pages.get(found[1], found[2])
        if path == page.file.src_uri or files.get_file_from_path(path) is None:
            return found[0]
        up = "../" * page.file.src_uri.count("/")
        return f"[{found[0]}]({up}{path})"

    return _NAMED.sub(link, markdown)


def _reference(room: str) -> str:
    """A heading for each public name; what it says is in the docstrings."""
    lines = [f"# {room}", "", f"{ROOMS[room]}: what `from {room} import …` gives.", ""]
    return "\n".join([*lines, *(f"::: {room}.{name}" for name in public_names(room)), ""])


def public_names(room: str) -> list[str]:
    """Those in a room's `__all__`, without importing it."""
    path = ROOT.joinpath(*room.split(".")) / "__init__.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise ValueError(f"{path}: has no __all__ (expected the public names)")
