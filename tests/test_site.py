"""The documentation site: its pages of the reference, and the campaign that checks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import places, site
from tests.support.uses import PUBLIC_MODULES, ROOT


def test_each_public_module_has_a_page_in_the_reference() -> None:
    pages = {page.stem: page.read_text("utf-8") for page in (ROOT / "docs" / "api").glob("*.rst")}
    assert set(pages) == {"minidl", *PUBLIC_MODULES}
    for name, text in pages.items():
        title = name if name == "minidl" else f"minidl.{name}"
        assert text.startswith(f"{title}\n{'=' * len(title)}\n\n.. automodule:: {title}\n   :members:")


def test_broken_links_missing_anchors_and_outside_files_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "public_names", lambda: ["minidl.Dense", "minidl.Tanh"])
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "layers.html").write_text('<dt id="minidl.Dense"></dt><a href="../index.html#top">up</a>')
    (tmp_path / "index.html").write_text(
        '<h1 id="top"></h1><a href="gone.html">a</a><a href="api/layers.html#gone">b</a><a href="https://x.org">c</a>'
        '<script src="https://x.org/x.js"></script><link rel="stylesheet" href="gone.css"><img src="data:image/png,">'
    )
    assert sorted(site.problems(tmp_path)) == [
        "index.html: loads https://x.org/x.js",
        "index.html: no anchor for api/layers.html#gone",
        "index.html: no file for gone.css",
        "index.html: no file for gone.html",
        "no anchor for minidl.Tanh",
    ]


def test_without_sphinx_the_campaign_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(site, "find_spec", lambda name: None)
    assert site.main([]) == 0
    assert "there is no Sphinx" in capsys.readouterr().out


def test_the_site_is_built_without_a_warning_and_without_problems(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    assert site.build(tmp_path / "site")
    assert list(site.problems(tmp_path / "site")) == []


def test_the_places_of_deployment_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(places, "microseconds", lambda call, turns=1: call() is None)
    places.main()
    printed = capsys.readouterr().out
    assert "| bytes of the file | 2.71e+03 |" in printed
    assert "| microseconds of a row in the web server |" in printed
