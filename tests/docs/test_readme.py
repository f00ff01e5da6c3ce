"""The README is also the page of the package index, where a link relative to it leads nowhere."""

from __future__ import annotations

import re
from importlib.metadata import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]


def source_url() -> str:
    found: list[str] = metadata("hisock").get_all("Project-URL") or []
    return next(url for name, url in (entry.split(", ") for entry in found) if name == "Source")


def test_every_link_of_the_readme_is_absolute() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert [target for target in targets if not target.startswith("https://")] == []


def test_links_of_the_readme_into_the_repository_lead_to_files() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    files = re.findall(re.escape(source_url()) + r"/(?:blob|tree)/main/([^)#]+)", text)
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).exists()] == []
