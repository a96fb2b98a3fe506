"""``python -m tests.campaigns.readme``: write docs/package_index.txt, the README as a package index shows it.

A package index has only the text, so that links to files and pictures in the repository lead nowhere. Here the names
of the files stand in place of the links, and pictures are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TEXT = ROOT / "docs" / "package_index.txt"

PICTURE = re.compile(r"^!\[[^]]*\]\([^)]*\)\n\n", re.MULTILINE)
LINK = re.compile(r"\[([^]]+)\]\((?!https://)([^)#]+)(?:#[^)]*)?\)")
NOTE = "The files named here are in the repository and in the source distribution."


def for_an_index(readme: str) -> str:
    """Return the README without pictures and links to files; the names of the files are in brackets."""
    text = LINK.sub(r"\1 (`\2`)", PICTURE.sub("", readme))
    return f"{text.rstrip()}\n\n{NOTE}\n"


def main() -> None:
    """Write the text."""
    TEXT.write_text(for_an_index(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
