"""What the documentation links to and names exists: files, headings, commands, options, targets of make."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from helpers.command_line import OPTION, commands
from helpers.documented import ROOT

import bioseg_cli

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)#?([^)\s]*)\)")
SHARED = {"--help", "--version", "--install-completion"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, by GitHub's rule."""
    titles = re.findall(r"^#+ +(.*)$", FENCED.sub("", page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_links_to_exists(page: Path) -> None:
    for file, anchor in LINK.findall(FENCED.sub("", page.read_text())):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{name_of(page)} links to {file}"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)} links to {file}#{anchor}"


def test_links_are_found() -> None:
    found = {name_of(page): LINK.findall(page.read_text()) for page in PAGES}
    assert ("docs/datasets.md", "partly-labelled-images") in found["README.md"] and len(found["README.md"]) >= 20
    assert "preset-best-the-recipe-before-the-loss" in {name.lstrip("-") for name in anchors(ROOT / "docs/training.md")}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_of_a_page_exist(page: Path) -> None:
    options = commands()
    for language, block in FENCED.findall(page.read_text()):
        if language != "sh":
            continue
        for line in re.sub(r"\\\n", " ", block).splitlines():
            words = line.partition(" #")[0].split()
            if "bioseg" not in words or not words[words.index("bioseg") + 1 :]:
                continue
            rest = words[words.index("bioseg") + 1 :]
            if rest[0].startswith("-"):
                assert rest[0] in SHARED, line
                continue
            name = " ".join(rest[:2]) if rest[0] == "prepare" else rest[0]
            assert name in options, f"{name_of(page)}: there is no `bioseg {name}`"
            unknown = set(OPTION.findall(" ".join(rest))) - options[name] - SHARED
            assert not unknown, f"{name_of(page)}: `bioseg {name}` has no {sorted(unknown)}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), flags=re.MULTILINE))
    assert named <= targets


def test_the_readme_of_the_package_has_no_dead_link() -> None:
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    text = (ROOT / "README.md").read_text()
    for substitution in hook["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    assert "](https://arxiv.org/abs/2011.08076)" in text and "docs/suggest.md" in text


def test_the_citation_names_the_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == bioseg_cli.__version__
