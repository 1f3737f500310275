"""Collect what the site is built of in build/docs: the pages of docs/, those that the code writes, and linked sources.

python docs/site/collect.py && zensical build
"""

import os
import re
import shutil
from pathlib import Path

import reference

DOCS = Path(__file__).parents[1]
PROJECT = DOCS.parent
BUILD = PROJECT / "build" / "docs"

_UPWARDS = re.compile(r"\]\(\.\./([^)#]+)\)")
"""A link out of docs/, which leads to the repository where there is one, and on the site to a page of the file."""

_LANGUAGES = {".py": "python", ".yaml": "yaml", ".md": "markdown"}


def main() -> None:
    """Write all of it anew."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    linked: set[str] = set()
    for path in sorted(DOCS.glob("*.*")):
        if path.suffix == ".md":
            text = path.read_text()
            linked |= set(_UPWARDS.findall(text))
            (BUILD / path.name).write_text(_UPWARDS.sub(lambda found: f"]({_page(found[1])})", text))
        else:
            shutil.copy(path, BUILD)
    for name in linked:
        target = PROJECT / name
        for path in [target, *sorted(target.glob("*.*"))] if target.is_dir() else [target]:
            page = BUILD / _page(str(path.relative_to(PROJECT)))
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(_listing(path, page) if path.is_dir() else _source(path))
    for name, text in reference.pages().items():
        (BUILD / name).write_text(text)


def _page(name: str) -> str:
    """Where the page of a file or folder of the repository lies."""
    return f"sources/{name.rstrip('/')}.md"


def _source(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text()
    return f"# {path.name}\n\n```{_LANGUAGES.get(path.suffix, '')}\n{path.read_text()}```\n"


def _listing(folder: Path, page: Path) -> str:
    pages = {path.name: BUILD / _page(str(path.relative_to(PROJECT))) for path in sorted(folder.glob("*.*"))}
    links = [f"- [{name}]({os.path.relpath(inside, page.parent)})" for name, inside in pages.items()]
    return f"# {folder.name}\n\n" + "\n".join(links) + "\n"


if __name__ == "__main__":
    main()
