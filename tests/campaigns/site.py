"""``python -m tests.campaigns.site``: build the documentation site, and check every page of it.

The build fails on a warning. Then it looks for links that lead nowhere, public names without an anchor, and files that
a page would load from the network. In Chromium it opens each page in a wide and in a narrow window, in light and dark,
and looks for pages that are wider than the window. ``--axe PATH`` adds the rules of axe-core (``npm install axe-core``,
then the path of ``axe.min.js``). ``--out FOLDER`` keeps the site.

It needs the extra ``docs``, and Chromium: ``apt-get install chromium``. What is not there is left out, with a message.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from html import unescape
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.campaigns.page import browser, opened
from tests.support.uses import ROOT, public_names

CHECK = Path(__file__).with_name("site_check.js")
AT_ONCE = 10
"""Pages that one start of the browser opens."""


class Page(HTMLParser):
    """The anchors of a page, where its links lead, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the attributes of a tag."""
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload", "manifest"):
            self.loaded.append(found["href"])
        elif "src" in found:
            self.loaded.append(found["src"])


def build(out: Path) -> bool:
    """Build the site; return whether there was no warning."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-E", "-q", "-d", str(out.with_name("doctrees")),
               str(ROOT / "docs"), str(out)]
    return subprocess.run(command, check=False, cwd=ROOT).returncode == 0


def problems(out: Path) -> Iterator[str]:
    """Yield links that lead nowhere, names without an anchor, and files from the network."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(out.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(out)
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    yield f"{name}: loads {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{name}: no file for {link}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{name}: no anchor for {link}"
    anchors = set().union(*(page.anchors for page in pages.values()))
    yield from (f"no anchor for {name}" for name in public_names() if name not in anchors)


def looked_at(out: Path, pages: Sequence[str], axe: str) -> dict[str, Any]:
    """Open pages in the browser; return the problems, and the number of rules that held."""
    outside = out / "check.html"
    data = f"const pages = {json.dumps(pages)}, axe = {json.dumps(axe)};".replace("</", r"<\/")
    outside.write_text(
        '<!doctype html><pre id="found"></pre><iframe width="1300" height="900"></iframe>'
        f"<script>{data}{CHECK.read_text('utf-8')}</script>", "utf-8",
    )  # fmt: skip
    printed = opened(outside, "--dump-dom", "--virtual-time-budget=6000000", "--allow-file-access-from-files").stdout
    outside.unlink()
    found = re.search(r'<pre id="found">(.+?)</pre>', printed, re.DOTALL)
    answer = json.loads(unescape(found[1])) if found else {"problems": [f"no answer: {pages}"], "passes": 0}
    return dict(answer)


def main(arguments: list[str] | None = None) -> int:
    """Build and check the site; return the number of problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axe", type=Path, help="path of axe.min.js")
    parser.add_argument("--only", default="", help="part of the names of the pages to open in the browser")
    parser.add_argument("--out", type=Path, help="folder for the site")
    given = parser.parse_args(arguments)
    if find_spec("sphinx") is None:
        print("The site is not built: there is no Sphinx. Install it: pip install -e '.[docs]'")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        out = (given.out or Path(scratch) / "site").resolve()
        found = [] if build(out) else ["the build has warnings"]
        found += problems(out)
        names = [path.relative_to(out).as_posix() for path in sorted(out.rglob("*.html")) if given.only in str(path)]
        axe = given.axe.read_text("utf-8") if given.axe else ""
        passes = 0
        if browser() is None:
            print("The pages are not opened: there is no Chromium. Install it: apt-get install chromium")
            names = []
        elif not axe:
            print("Without the rules of axe-core: npm install axe-core, and --axe node_modules/axe-core/axe.min.js")
        for start in range(0, len(names), AT_ONCE):
            answer = looked_at(out, names[start:start + AT_ONCE], axe)
            found += answer["problems"]
            passes += answer["passes"]
    print(*found, sep="\n")
    print(f"{len(names)} pages opened, {passes} rules held, {len(found)} problems")
    return len(found)


if __name__ == "__main__":
    sys.exit(bool(main()))
