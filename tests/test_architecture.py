"""Which module may import which, what `import minidl` loads, and which names are public."""

from __future__ import annotations

import inspect
import subprocess
import sys
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest

import minidl
from minidl import Layer, Loss
from minidl.errors import MinidlError
from minidl.initializers import Initializer
from minidl.optimizers import Optimizer
from tests.support.imports import circles, import_graph, later_imports, rank, sources

ROOT = Path(__file__).parents[1]

TOP = [
    "Activation", "ELU", "GELU", "Identity", "LeakyReLU", "PReLU", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus",
    "Tanh", "Layer", "Dense", "Dropout", "Embedding", "Columns", "Flatten", "BatchNorm", "LayerNorm", "RMSNorm",
    "Parameter", "Buffer", "Array", "Sequential", "Residual", "Parallel", "Graph", "mlp", "Add", "Concat", "Mean",
    "Multiply", "Loss", "BinaryCrossEntropy", "CrossEntropy", "HalfSquaredError", "Huber", "MeanAbsoluteError",
    "MeanSquaredError", "SigmoidCrossEntropy", "SoftmaxCrossEntropy", "SGD", "Adam", "AdamW", "NAdam", "RMSProp",
    "Adagrad", "L1", "L2", "ClipGlobalNorm", "ClipNorm", "ClipValue", "Trainer", "Predictor", "batches", "load",
    "save", "load_weights", "save_weights",
]
"""The names of `minidl` itself."""

PUBLIC_MODULES = [
    "callbacks", "errors", "export", "initializers", "inspection", "layers", "losses", "metrics", "onnx", "optimizers",
    "schedules", "search", "sklearn", "solvers", "testing", "trainer",
]

HEAVY = ["numpy.random", "scipy", "numba", "matplotlib", "sklearn", "onnx", "onnxruntime", "tqdm", "torch", "jax"]


@pytest.fixture(scope="module")
def modules() -> dict[str, str]:
    return sources(ROOT)


def wrong_imports(modules: dict[str, str]) -> set[str]:
    return {*later_imports(import_graph(modules))}


def test_every_module_has_a_place_in_the_order(modules: dict[str, str]) -> None:
    assert [name for name in modules if rank(name) < 0] == []


def test_a_module_imports_only_from_earlier_packages_and_its_own(modules: dict[str, str]) -> None:
    assert wrong_imports(modules) == set()


def test_no_modules_import_one_another_in_a_circle(modules: dict[str, str]) -> None:
    graph = import_graph(modules)
    assert circles(graph) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors", "from ._core.parameter import Parameter"),
        ("_core.parameter", "def f() -> None:\n    from ..losses import Loss"),
        ("_core.parameter", "if TYPE_CHECKING:\n    from ..losses import Loss"),
        ("layers.dense", "from ..losses import Loss"),
        ("layers.dense", "from .. import losses"),
        ("layers", "from ..optimizers import SGD"),
        ("losses", "import minidl.trainer"),
        ("optimizers", "from minidl import Sequential"),
        ("optimizers", "from minidl._training import run"),
    ],
)
def test_every_kind_of_import_from_a_later_package_is_found(modules: dict[str, str], module: str, line: str) -> None:
    (new,) = wrong_imports({**modules, module: f"{modules[module]}\n{line}\n"})
    assert new.startswith(f"{module} imports")


def test_a_circle_inside_of_a_package_is_found(modules: dict[str, str]) -> None:
    line = "if TYPE_CHECKING:\n    from .sequential import Sequential"
    changed = {**modules, "layers.dense": f"{modules['layers.dense']}\n{line}\n"}
    assert any({"layers.dense", "layers.sequential"} <= {*circle} for circle in circles(import_graph(changed)))


def test_the_imports_that_are_there_are_found(modules: dict[str, str]) -> None:
    seen = import_graph(modules)["layers.sequential"]
    assert {"_core.arrays", "errors", "layers.dense", "layers.base", "layers._structure"} <= seen


def printed(script: str, *arguments: str) -> list[str]:
    """Return the words that a script prints in a new process."""
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return run.stdout.split()


def test_importing_minidl_loads_nothing_heavy() -> None:
    loaded = printed(
        "import sys, numpy; before = set(sys.modules); import minidl; print(*sorted(set(sys.modules) - before))"
    )
    assert "minidl.layers.sequential" in loaded
    assert not {"minidl._compiled", "minidl.solvers", "minidl._files", "minidl.search", "minidl.testing"} & set(loaded)
    assert "minidl.inspection" not in loaded
    assert [name for name in loaded if any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY)] == []
    foreign = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert foreign <= {"minidl", "numpy", "typing_extensions"}


def test_the_top_level_has_the_names_that_most_programs_need() -> None:
    assert sorted(minidl.__all__) == sorted(TOP)
    assert len(TOP) <= 60


def test_dir_shows_exactly_the_public_names_and_modules() -> None:
    public = sorted([*TOP, *PUBLIC_MODULES])
    show = "print(*[name for name in dir(minidl) if name[0] != '_'])"
    assert printed(f"import minidl; {show}") == public
    assert printed(f"from minidl import *; import minidl, minidl._core.arrays; minidl.solvers; {show}") == public


def test_a_star_import_brings_the_top_level_names() -> None:
    space: dict[str, object] = {}
    exec("from minidl import *", space)
    assert space.keys() - {"__builtins__"} == set(TOP)


@pytest.mark.parametrize("module", ["minidl", *(f"minidl.{module}" for module in PUBLIC_MODULES)])
def test_all_lists_existing_names_once_and_in_order(module: str) -> None:
    names = import_module(module).__all__
    assert [name for name in names if not hasattr(import_module(module), name)] == []
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))


def test_public_modules_are_attributes_of_minidl() -> None:
    script = """
import sys
for module in sys.argv[1:]:
    import minidl
    print(getattr(minidl, module).__name__)
    for name in [name for name in sys.modules if name.partition(".")[0] == "minidl"]:
        del sys.modules[name]
"""
    assert printed(script, *PUBLIC_MODULES) == [f"minidl.{module}" for module in PUBLIC_MODULES]


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("Normal", "minidl.initializers"),
        ("ShapeError", "minidl.errors"),
        ("History", "minidl.trainer"),
        ("Merge", "minidl.layers"),
        ("Optimizer", "minidl.optimizers"),
        ("lbfgs", "minidl.solvers"),
    ],
)
def test_the_error_for_a_name_of_a_module_names_the_module(name: str, home: str) -> None:
    told = f"module 'minidl' has no attribute '{name}'; use {home}.{name}"
    with pytest.raises(AttributeError) as access:
        getattr(minidl, name)
    assert str(access.value) == told
    with pytest.raises(ImportError) as statement:
        exec(f"from minidl import Dense, {name}")
    assert str(statement.value) == told
    assert not hasattr(minidl, name)


def test_the_error_for_an_unknown_name_is_the_ordinary_one() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'LoweringError'$"):
        getattr(minidl, "LoweringError")  # noqa: B009
    with pytest.raises(ImportError, match="cannot import name 'LoweringError'"):
        exec("from minidl import LoweringError")
    assert printed("import sys, minidl; hasattr(minidl, '__wrapped__'); print('minidl.testing' in sys.modules)") == [
        "False"
    ]


def test_every_class_that_a_user_may_subclass_is_exported(modules: dict[str, str]) -> None:
    kinds = (Layer, Loss, Optimizer, Initializer, MinidlError)
    missing = set()
    for name in modules:
        if name.split(".")[0] in ("_compiled", "testing"):
            continue
        module = import_module(f"minidl.{name}".rstrip("."))
        missing |= {
            value.__name__ for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, kinds) and value.__module__.startswith("minidl")
            and not inspect.isabstract(value) and not value.__name__.startswith("_")
        }
    public = {name for module in PUBLIC_MODULES for name in import_module(f"minidl.{module}").__all__}
    assert missing - public == set()


def test_the_root_folder_contains_only_the_expected_files() -> None:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    visible = {
        path.name for path in ROOT.iterdir()
        if not path.name.startswith(".") and not any(fnmatch(path.name, pattern) for pattern in ignored)
    }
    expected = {"pyproject.toml", "README.md", "LICENSE", "minidl", "tests", "examples", "docs"}
    assert visible <= expected
    assert {"pyproject.toml", "README.md", "LICENSE", "minidl", "tests"} <= visible


def test_the_package_is_marked_as_typed() -> None:
    assert (ROOT / "minidl" / "py.typed").is_file()
