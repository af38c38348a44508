"""A hook of MkDocs: the Markdown files become pages from where they are, and their links go on working.

The files of `docs/` and those beside it (README.md, CHANGELOG.md, ...) link to each other as they lie in the
repository. On the site the folder `docs/` is the root: every relative link is written anew for that.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
BESIDE_DOCS = ("*.md", "CITATION.cff", "LICENSE", "benchmarks/*.md", "examples/**/*.*")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files beside `docs/` that pages are made of or link to."""
    for pattern in BESIDE_DOCS:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the relative links of a page from what they are in the repository into what they are on the site."""
    here = page.file.src_uri
    beside = (ROOT / here).is_file()
    folder = posixpath.dirname(here if beside else f"docs/{here}")

    def on_site(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, found[1])).removeprefix("docs/")
        return posixpath.relpath(target, posixpath.dirname(here) or ".")

    return markdown if here.startswith("reference/") else LINK.sub(on_site, markdown)
