"""The README, the pages under docs/ and the docstrings: their code runs, their links lead somewhere."""

import ast
import doctest
import inspect
import pkgutil
import re
import textwrap
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.optimizers import Optimizer
from tests.campaigns import readme
from tests.campaigns.pictures import DRAWN, PROGRAMS
from tests.campaigns.pictures import main as draw_pictures
from tests.support.uses import BLOCK, ROOT, has_example, homes, pages, programs, public, uses

PAGES = pages()
MODULES = ["minidl", *sorted(module.name for module in pkgutil.walk_packages(minidl.__path__, "minidl."))]
DOCTEST_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE_NAME = re.compile(r"\b(?:minidl|tests|examples|docs)/[\w./-]+\.\w+")
SIGNATURE = re.compile(r"^ *- `([\w.]+)(\([^`]*\))`", re.MULTILINE)

FIGURE = re.compile(r"\d\s?(?:ns|µs|ms|kB)\b|\d ×(?! \d)|\d times (?:as|faster|slower)")
"""A time, a size or a ratio."""

MEASURED = re.compile(r"python -m tests\.campaigns\.|examples/\w+\.py|```python")
"""What measures figures: a command, a program, or code on the page."""

NO_FIGURES = ("backpropagation", "changelog")
"""Pages with other numbers: products worked out, and what once was."""

PUBLIC = public()


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run_session(text: str, namespace: dict[str, Any], name: str) -> None:
    """Run an interactive session with its outputs compared, in a namespace that later blocks see as well."""
    test = doctest.DocTestParser().get_doctest(text, namespace, name, name, 0)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=DOCTEST_FLAGS).run(test, out=report.append, clear_globs=False)
    assert not result.failed, "".join(report)
    namespace.update(test.globs)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_code_on_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": page.stem}
    for language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        assert language in {"python", "py", "pycon", "bash", "text"}, f"a block in {language} is not tested"
        if language == "python":
            exec(compile(code, page_name(page), "exec"), namespace)
        elif language == "pycon":
            run_session(code, namespace, page_name(page))


def test_the_fences_of_every_page_are_seen() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("```") == 2 * len(BLOCK.findall(text)), page_name(page)
    assert BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_of_a_module_hold(name: str) -> None:
    module: ModuleType = import_module(name)
    public = {public_name: getattr(minidl, public_name) for public_name in minidl.__all__}
    names = {**vars(module), **public, "np": np}
    assert doctest.testmod(module, extraglobs=names, optionflags=DOCTEST_FLAGS).failed == 0


def literal_blocks() -> dict[str, str]:
    """Map the name of each public class or function to the indented code in its docstring, after a ``::``."""
    found = {}
    for module, names in PUBLIC.items():
        for name in names:
            documentation = (inspect.getdoc(getattr(import_module(module), name)) or "") + "\n"
            for number, block in enumerate(re.findall(r"::\n\n((?:    .*\n|\n)+)", documentation)):
                found[f"{name}-{number}"] = textwrap.dedent(block)
    return found


def session() -> dict[str, Any]:
    """Return the public names, and under their usual names the parts of a training that stands before `backward`."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 1))
    model, loss = minidl.mlp([2, 3, 1], rng=0), minidl.HalfSquaredError()
    loss.forward(model.forward(x), y)
    parts = {
        "x": x,
        "y": y,
        "model": model,
        "loss": loss,
        "optimizer": minidl.SGD(model.parameters(), learning_rate=0.1),
        "penalty": minidl.L2(0.1, model.parameters()),
    }
    public = {name: getattr(import_module(module), name) for module, names in PUBLIC.items() for name in names}
    return public | {"np": np, "pytest": pytest, "__name__": "docstring"} | parts


@pytest.mark.parametrize("code", literal_blocks().values(), ids=literal_blocks().keys())
def test_the_code_that_docstrings_write_out_runs_and_its_classes_can_be_made(code: str) -> None:
    namespace = session()
    exec(literal_blocks()["Layer-0"], namespace)  # the others may name its ScaledTanh
    exec(code, namespace)
    for node in ast.parse(code).body:
        if isinstance(node, ast.ClassDef):
            kind = namespace[node.name]
            made = kind(namespace["model"].parameters(), 0.1) if issubclass(kind, Optimizer) else kind()
            assert isinstance(made, kind)


def test_the_modules_have_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for name in MODULES for test in finder.find(import_module(name)) if test.examples]
    assert len(examples) >= 4


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_pictures_and_file_names_of_a_page_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if not link.startswith(("https://", "#"))]
    missing = [link for link in links if not (page.parent / link.split("#")[0]).exists()]
    missing += [name for name in FILE_NAME.findall(text) if not name.startswith("docs/") and not (ROOT / name).exists()]
    assert not missing


def linked(page: Path) -> set[Path]:
    """Return the files that a page links to."""
    links = LINK.findall(page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in links if not link.startswith("https://")}


def test_every_page_is_on_the_map_and_the_map_is_in_the_readme() -> None:
    maps = [ROOT / "docs" / "index.md", ROOT / "docs" / "decisions" / "index.md"]
    assert {page for page in PAGES if page.parent != ROOT and page not in maps} <= linked(maps[0]) | linked(maps[1])
    assert maps[1] in linked(maps[0])
    assert set((ROOT / "examples").glob("*.py")) <= linked(ROOT / "docs" / "examples.md")
    assert "](docs/index.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_each_picture_is_drawn_by_a_script_and_is_small_and_shown() -> None:
    pictures = {picture.name: picture for picture in (ROOT / "docs" / "pictures").iterdir()}
    assert set(pictures) == set(DRAWN)
    everything = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name, source in DRAWN.items():
        assert Path(name).stem in (ROOT / source).read_text(encoding="utf-8")
        assert pictures[name].stat().st_size < 120_000
        assert f"pictures/{name})" in everything


def test_every_program_that_draws_is_in_the_table_of_pictures() -> None:
    drawing = {path.stem for path in programs() if f"{path.stem}.png" in path.read_text("utf-8")}
    assert drawing <= set(PROGRAMS)


def test_a_picture_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("tests.campaigns.pictures.PICTURES", tmp_path)
    monkeypatch.setattr("tests.campaigns.backpropagation.PICTURES", tmp_path)
    draw_pictures(["--only", "custom_layer.png"])
    draw_pictures(["--only", "step.html"])
    assert (tmp_path / "custom_layer.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "step.html").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")  # theirs may say that it has not converged
@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "from").glob("*.md")), ids=page_name)
def test_the_code_of_another_library_runs_where_it_is_installed(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"pytorch": "torch", "scikit-learn": "sklearn"}.get(page.stem, page.stem))
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    namespace: dict[str, Any] = {}
    for code in [blocks[0][1], *(code for language, code in blocks if language == "py")]:
        exec(compile(code, page_name(page), "exec"), namespace)


def test_each_public_name_has_a_docstring_and_an_example() -> None:
    used, names = uses(), list(dict.fromkeys(homes().values()))
    assert len(names) > 180
    parts = {name: getattr(import_module(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names}
    assert [name for name, part in parts.items() if documented_itself(part) and not part.__doc__] == []
    assert [name for name in names if name not in used and not has_example(name)] == []


def documented_itself(part: Any) -> bool:
    """Return whether a part can have a docstring; a type alias has an entry in the reference only."""
    return inspect.isclass(part) or inspect.isroutine(part)


def test_a_use_is_a_name_that_was_imported_from_minidl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    code = "from minidl import Dense, Tanh, metrics\nmetrics.r2\nDense(1, 1)\nReLU = 1\nReLU\n"
    page.write_text(f"```python\n{code}```\n")
    monkeypatch.setattr("tests.support.uses.ROOT", tmp_path)
    monkeypatch.setattr("tests.support.uses.pages", lambda: [page])
    assert uses() == {"minidl.layers.Dense": ["page.md"], "minidl.metrics.r2": ["page.md"]}


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in NO_FIGURES], ids=page_name)
def test_measured_figures_name_the_command_or_the_code_that_measures_them(page: Path) -> None:
    sections = re.split("^#+ ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert [text.partition("\n")[0] for text in sections if FIGURE.search(text) and not MEASURED.search(text)] == []


def reference() -> dict[str, str]:
    """Map the name of each module to its section of the reference."""
    sections = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").split("\n## ")[1:]
    return {section.split("`")[1]: section for section in sections}


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    names = set(PUBLIC[module])
    if module == "minidl":  # its other names have an entry in the section of their module
        names -= {
            name for other in PUBLIC if other != "minidl" for name in PUBLIC[other]
            if getattr(import_module(other), name) is getattr(minidl, name, None)
        }
    assert sorted(re.findall(r"^- `(\w+)", reference()[module], re.M)) == sorted(names)


def test_the_reference_lists_the_names_of_the_top() -> None:
    (statement,) = ast.parse(BLOCK.findall(reference()["minidl"])[0][1]).body
    assert isinstance(statement, ast.ImportFrom)
    assert sorted(alias.name for alias in statement.names) == sorted(minidl.__all__)


def test_the_signatures_in_the_reference_are_those_of_the_code() -> None:
    written = [(module, *entry) for module, text in reference().items() for entry in SIGNATURE.findall(text)]
    assert len(written) > sum(map(len, PUBLIC.values())) / 2
    found = [(module, name, signature_text(module, name)) for module, name, _ in written]
    assert written == found


def signature_text(module: str, name: str) -> str:
    """Return the signature of a public name, or of a method of one, without types and without self."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    signature = inspect.signature(found)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    text = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)


def test_the_readme_of_the_package_is_up_to_date_and_has_no_links_to_files() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert ROOT / tomllib.load(file)["project"]["readme"]["file"] == readme.TEXT
    text = readme.TEXT.read_text(encoding="utf-8")
    assert text == readme.for_an_index(readme.README.read_text(encoding="utf-8")), "python -m tests.campaigns.readme"
    assert [link for link in LINK.findall(text) if not link.startswith("https://")] == []
    assert "![" not in text
    example = "![a](b.png)\n\nSee [the page](docs/a.md#part) and [NumPy](https://numpy.org).\n"
    assert readme.for_an_index(example).startswith("See the page (`docs/a.md`) and [NumPy](https://numpy.org).\n")


def commands() -> list[str]:
    """Return the shell commands of the README, in order."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    return [code.strip() for language, code in blocks if language == "bash"]


def test_the_checks_start_with_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    preamble = re.compile(r'#|set |cd "\$\(dirname "\$0"\)/\.\."$')
    steps = [line for line in script if line.strip() and not preamble.match(line)]
    assert steps[0] == commands()[1]


def test_the_commands_of_the_readme_name_existing_extras_and_programs() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    experiment, tests = commands()
    assert "matplotlib" in " ".join(extras["plot"])
    assert "'.[plot,jit]'" in experiment
    assert experiment.endswith("examples/sine_regression.py")
    assert {"pytest", "pytest-xdist"} <= {requirement.partition(">=")[0] for requirement in extras["test"]}
    assert "'.[test]'" in tests
    assert tests.endswith("-m pytest -n auto --dist worksteal")
