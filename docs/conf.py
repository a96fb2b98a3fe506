"""Settings of the documentation site: ``python -m sphinx -W docs OUT``.

The pages are plain Markdown, to be read on GitHub too. What the site adds, the functions below add: contents from the
tables of the map, links from names in code to the reference, equations of docstrings, and pages of the programs.
"""

import inspect
import re
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import minidl  # noqa: E402
from tests.support.uses import ROOT, homes, programs, uses  # noqa: E402

project = "minidl"
author = "the authors of minidl"
version = release = minidl.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.linkcode", "sphinx_copybutton"]

html_theme = "furo"
html_title = f"minidl {release}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = ".highlight-python pre, .highlight-pycon pre, .highlight-bash pre, .doctest pre"

add_module_names = False

myst_heading_anchors = 3
default_role = "code"
python_maximum_signature_line_length = 100
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {
    "exclude-members": "set_fit_request, set_partial_fit_request, set_predict_request, set_score_request"
}
napoleon_use_ivar = True

MAPS = ("index", "decisions/index")
"""Pages with tables of pages, from which the contents are made."""

MENDED = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    '<th class="head"><p></p></th>': "<td></td>",
    "<pre>": '<pre tabindex="0">',  # a keyboard can scroll it
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="This page">',
    '<dl>\n<dd><em class="sig-param">': '<dl>\n<dt></dt><dd><em class="sig-param">',  # arguments on lines of their own
    'Variables<span class="colon">': 'Attributes<span class="colon">',
    '<div id="search-results">': '<h1>Search</h1><div id="search-results">',
}
"""What the theme leaves open for screen readers and keyboards, and what stands in its place."""

EQUATIONS = ("Forward:", "Backward:", "Update:")
CALL = re.compile(r"([A-Za-z_][\w.]*)(\(.*\))?", re.DOTALL)


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Add a hidden table of contents: a part for each section with a table of pages."""
    for section in source[0].split("\n## ") if page in MAPS else ():
        found = re.findall(r"^\| \[.+?\]\(([\w/-]+)\.md\)", section, re.MULTILINE)
        caption = section.partition("\n")[0].strip("# ")
        if found:
            source[0] += "\n\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(found) + "\n```\n"
    if page == "reference":
        source[0] += "\n\n```{toctree}\n:hidden:\n:glob:\n\napi/minidl\napi/*\n```\n"


def read_docstring(app: Sphinx, kind: str, name: str, part: Any, options: Any, lines: list[str]) -> None:
    """Write the equations of a docstring as blocks; say where the name is used."""
    if kind in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(": ", " – ", 1)  # napoleon would take what comes before a colon for a type
    found: list[str] = []
    inside = False
    for line in lines:
        if line in EQUATIONS:
            inside = True
            found += ["", f".. rubric:: {line[:-1]}", "", ".. code-block:: text", "   :class: equations", ""]
            continue
        if inside and not line.startswith("    "):
            inside = False
            found.append("")
        code = inside or line.lstrip().startswith((">>>", "..."))  # elsewhere a bar is a bar
        found.append(line if code else re.sub(r"(``.*?``)|\|", lambda bar: bar[1] or r"\|", line))
    found_in = all_uses().get(homes().get(id(part), name), ())
    places = [place for place in found_in if re.match(r"docs/(howto/|from/)?[\w-]+\.md|examples", place)]
    if kind in ("class", "function", "exception") and places:
        shown = sorted(places, key=lambda place: place.startswith("docs/"), reverse=True)[:6]
        texts = [f":doc:`/{place[5:-3]}`" if place.startswith("docs/") else f"``{place}``" for place in shown]
        found += ["", f"Used in {', '.join(texts)}.", ""]
    lines[:] = found


class Written(str):
    """A type as the code writes it: shown without quotes."""

    __repr__ = str.__str__


def written_signature(app: Sphinx, kind: str, name: str, part: Any, *rest: Any) -> tuple[str, str | None] | None:
    """Return a signature with the types as the code writes them, in place of what they stand for."""
    if kind not in ("class", "exception", "function", "method"):
        return None
    try:
        found = inspect.signature(part)
    except (TypeError, ValueError):
        return None
    parameters = [
        each.replace(annotation=Written(each.annotation)) if isinstance(each.annotation, str) else each
        for each in found.parameters.values()
        if each.name != "self"
    ]
    returned = found.return_annotation
    text = str(found.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    shown = returned if kind in ("function", "method") and isinstance(returned, str) else None
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text), shown


@cache
def all_uses() -> dict[str, list[str]]:
    """Return where each name is used, computed once."""
    return uses()


def add_short_anchors(app: Sphinx, document: nodes.document) -> None:
    """Let the names at the top of minidl lead to where they are described."""
    for signature in document.findall(addnodes.desc_signature):
        name = signature.get("fullname", "")
        short = f"minidl.{name}"
        if name in minidl.__all__ and short not in signature["ids"] and signature["module"] != "minidl.onnx":
            signature["ids"].append(short)


class Links(SphinxPostTransform):
    """Link names in code to their description, and programs to their page."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Replace literals and downloads of the page."""
        for literal in list(self.document.findall(nodes.literal)):
            if isinstance(literal.parent, (nodes.paragraph, nodes.list_item, nodes.term, nodes.emphasis, nodes.strong)):
                self._link(literal)
        for download in list(self.document.findall(addnodes.download_reference)):
            target = download["reftarget"].removeprefix("../").removeprefix("../")
            if target.startswith(("examples/", "pictures/")):
                target = re.sub(r"\.py$", "", target)
                uri = self.app.builder.get_relative_uri(self.env.docname, target.removesuffix(".html"))
                download.replace_self(nodes.reference("", "", *download.children, refuri=uri, internal=True))

    def _link(self, literal: nodes.literal) -> None:
        text = literal.astext()
        page = self.env.docname
        if re.fullmatch(r"(examples|minidl)/[\w/]+\.py", text) and (ROOT / text).exists():
            uri = self.app.builder.get_relative_uri(page, text.removesuffix(".py"))
            literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=uri, internal=True))
            return
        call = CALL.fullmatch(text)
        if call is None or not (call[2] or re.search("[A-Z_.]", call[1]) or page == "reference"):
            return  # a plain word in small letters is more often an argument
        found = described(self.env, call[1], page)
        if found:
            name, entry = found
            link = make_refnode(self.app.builder, page, entry.docname, entry.node_id, literal.deepcopy(), name)
            literal.replace_self(link)


def described(env: Any, name: str, page: str) -> tuple[str, Any] | None:
    """Return the full name and the place of a public name, which may be written in short."""
    found = {
        full: entry
        for full, entry in env.domains.python_domain.objects.items()
        if not entry.aliased and (full == name or full.endswith(f".{name}"))
        if "." in name or entry.objtype not in ("method", "attribute", "property")  # those need their class
    }
    if len(found) > 1:
        found = {full: entry for full, entry in found.items() if entry.docname == page or full == f"minidl.{name}"}
    return next(iter(found.items())) if len(found) == 1 else None


def mend_pages(app: Sphinx, error: Exception | None) -> None:
    """Add to the finished pages what screen readers and keyboards need."""
    for path in Path(app.outdir).rglob("*.html") if error is None else ():
        text = path.read_text("utf-8")
        for old, new in MENDED.items():
            text = text.replace(old, new)
        path.write_text(text, "utf-8")


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Return the address of a class or function, seen from a page of the reference; None for a value."""
    part: Any = import_module(info["module"])
    for name in info["fullname"].split("."):
        part = getattr(part, name, None)
    part = inspect.unwrap(part.fget if isinstance(part, property) else part)
    if not (inspect.isclass(part) or inspect.isroutine(part)) or not part.__module__.startswith("minidl"):
        return None
    path = Path(inspect.getsourcefile(part) or "").relative_to(ROOT)
    return f"../{path.with_suffix('.html').as_posix()}#L-{inspect.getsourcelines(part)[1]}"


def source_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield a page for each program and module; copy the pages that stand beside the pictures."""
    shutil.copytree(DOCS / "pictures", Path(app.outdir) / "pictures", dirs_exist_ok=True)
    for path in [*programs(), *sorted((ROOT / "minidl").rglob("*.py"))]:
        title = path.relative_to(ROOT).as_posix()
        code = app.builder.highlighter.highlight_block(path.read_text("utf-8"), "python", lineanchors="L")
        code = re.sub(r'<a id="(L-\d+)".*?></a>', r'<span id="\1"></span>', code)
        yield title.removesuffix(".py"), {"title": title, "body": f"<h1>{title}</h1>\n{code}"}, "page.html"


def setup(app: Sphinx) -> None:
    """Add what the site needs."""
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", read_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", written_signature)
    app.connect("doctree-read", add_short_anchors)
    app.add_post_transform(Links)
    app.connect("html-collect-pages", source_pages)
    app.connect("build-finished", mend_pages)
