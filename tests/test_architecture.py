"""The house: which module may import which, what an import costs, what is public, what lies at the top."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import minidl
from minidl import Layer, Loss
from minidl.errors import MinidlError
from minidl.initializers import Initializer
from minidl.optimizers import Optimizer

ROOT = Path(__file__).parents[1]

FLOORS = [
    {"errors"}, {"_core"}, {"initializers"}, {"layers"}, {"losses"}, {"metrics"}, {"schedules"}, {"optimizers"},
    {"_data"}, {"_files"}, {"_trace"}, {"solvers"}, {"_compiled"}, {"_training", "callbacks", "trainer"}, {"testing"}, {""},
]
"""Each floor may import from itself and from those above it; "" is the package itself, with the public names."""

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
    "callbacks", "errors", "initializers", "layers", "losses", "metrics", "optimizers", "schedules", "solvers",
    "testing", "trainer",
]

HEAVY = ["numpy.random", "scipy", "numba", "matplotlib", "sklearn", "onnx", "onnxruntime", "tqdm", "torch", "jax"]


@cache
def sources() -> dict[str, str]:
    """Map the dotted name of each module inside of the package to its source."""
    package = ROOT / "minidl"
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path.read_text("utf-8")
    return found


def imports(name: str, source: str, names: set[str], *, at_once: bool = False) -> set[str]:
    """Return the modules of the package that a module imports: at once when it is imported, or anywhere inside."""
    is_package = any(other.startswith(f"{name}.") for other in names) if name else True
    here = name.split(".") if name else []
    found = set()
    tree = ast.parse(source)
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                up = len(here) - node.level + is_package
                base = here[:up]
            elif (node.module or "").split(".")[0] == "minidl":
                base = []
            else:
                continue
            module = (node.module or "").removeprefix("minidl").removeprefix(".") if not node.level else node.module
            target = ".".join([*base, *([module] if module else [])])
            for alias in node.names:
                inner = f"{target}.{alias.name}".lstrip(".")
                found.add(inner if inner in names else target)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "minidl":
                    found.add(alias.name.removeprefix("minidl").removeprefix("."))
    return found


def floor(name: str) -> int:
    top = name.split(".")[0]
    return next((number for number, floor in enumerate(FLOORS) if top in floor), -1)


def wrong_imports(modules: dict[str, str]) -> list[str]:
    """List the imports from a floor below."""
    return [
        f"{name} imports {target or 'the package'}"
        for name, source in modules.items()
        for target in sorted(imports(name, source, set(modules)))
        if floor(target) > floor(name)
    ]


def test_every_module_has_a_floor() -> None:
    assert [name for name in sources() if floor(name) < 0] == []


def test_each_floor_imports_only_from_those_above_it() -> None:
    assert wrong_imports(sources()) == []


def test_no_modules_import_one_another_in_a_circle() -> None:
    modules = sources()
    graph = {name: imports(name, source, set(modules), at_once=True) for name, source in modules.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(modules)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors", "from ._core.parameter import Parameter"),
        ("_core.parameter", "def f() -> None:\n    from ..losses import Loss"),
        ("layers.dense", "from ..losses import Loss"),
        ("layers.dense", "from .. import losses"),
        ("layers", "from ..optimizers import SGD"),
        ("losses", "import minidl.trainer"),
        ("optimizers", "from minidl import Sequential"),
        ("optimizers", "from minidl._training import trainer"),
    ],
)
def test_the_reader_of_imports_sees_every_kind_of_upward_import(module: str, line: str) -> None:
    modules = {**sources(), module: f"{sources()[module]}\n{line}\n"}
    (new,) = set(wrong_imports(modules)) - set(wrong_imports(sources()))
    assert new.startswith(f"{module} imports")


def test_the_reader_of_imports_sees_the_imports_that_are_there() -> None:
    modules = sources()
    seen = imports("layers.sequential", modules["layers.sequential"], set(modules))
    assert {"_core.arrays", "errors", "layers.dense", "layers.base", "layers._structure"} <= seen


def printed(script: str) -> list[str]:
    """Return the words that a script prints in a fresh process."""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return run.stdout.split()


def test_importing_minidl_loads_nothing_heavy() -> None:
    loaded = printed(
        "import sys, numpy; before = set(sys.modules); import minidl; print(*sorted(set(sys.modules) - before))"
    )
    assert "minidl.layers.sequential" in loaded
    assert not {"minidl._compiled", "minidl.solvers", "minidl._files", "minidl.testing"} & set(loaded)
    assert [name for name in loaded if any(name == heavy or name.startswith(f"{heavy}.") for heavy in HEAVY)] == []
    foreign = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert foreign <= {"minidl", "numpy", "typing_extensions"}


def test_the_top_has_the_names_that_most_programs_need() -> None:
    assert sorted(minidl.__all__) == sorted(TOP)
    assert len(TOP) <= 60


def test_dir_shows_the_names_and_modules_that_are_public_and_nothing_else() -> None:
    public = sorted([*TOP, *PUBLIC_MODULES])
    show = "print(*[name for name in dir(minidl) if name[0] != '_'])"
    assert printed(f"import minidl; {show}") == public
    assert printed(f"from minidl import *; import minidl, minidl._core.arrays; minidl.solvers; {show}") == public


def test_a_star_import_brings_the_names_of_the_top() -> None:
    space: dict[str, object] = {}
    exec("from minidl import *", space)
    assert space.keys() - {"__builtins__"} == set(TOP)


@pytest.mark.parametrize("module", ["minidl", *(f"minidl.{module}" for module in PUBLIC_MODULES)])
def test_all_names_what_is_there_each_once_in_order(module: str) -> None:
    names = import_module(module).__all__
    assert [name for name in names if not hasattr(import_module(module), name)] == []
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))


def test_public_modules_are_reached_after_import_minidl() -> None:
    for module in PUBLIC_MODULES:
        assert printed(f"import minidl; print(minidl.{module}.__name__)") == [f"minidl.{module}"]


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
def test_a_name_that_lies_in_a_module_says_in_which(name: str, home: str) -> None:
    told = f"module 'minidl' has no attribute '{name}'; use {home}.{name}"
    with pytest.raises(AttributeError) as access:
        getattr(minidl, name)
    assert str(access.value) == told
    with pytest.raises(ImportError) as statement:
        exec(f"from minidl import Dense, {name}")
    assert str(statement.value) == told
    assert not hasattr(minidl, name)


def test_a_name_that_lies_nowhere_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'LoweringError'$"):
        getattr(minidl, "LoweringError")  # noqa: B009
    with pytest.raises(ImportError, match="cannot import name 'LoweringError'"):
        exec("from minidl import LoweringError")
    assert printed("import sys, minidl; hasattr(minidl, '__wrapped__'); print('minidl.testing' in sys.modules)") == [
        "False"
    ]


def test_everything_that_a_user_may_build_on_is_exported() -> None:
    kinds = (Layer, Loss, Optimizer, Initializer, MinidlError)
    missing = set()
    for name in sources():
        if name.split(".")[0] in ("compiled", "testing", "sklearn"):
            continue
        module = import_module(f"minidl.{name}".rstrip("."))
        missing |= {
            value.__name__ for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, kinds) and value.__module__.startswith("minidl")
            and not inspect.isabstract(value) and not value.__name__.startswith("_")
        }
    public = {name for module in PUBLIC_MODULES for name in import_module(f"minidl.{module}").__all__}
    assert missing - public == set()


def test_the_top_level_shows_what_it_should_and_nothing_else() -> None:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]
    visible = {
        path.name for path in ROOT.iterdir()
        if not path.name.startswith(".") and not any(fnmatch(path.name, pattern) for pattern in ignored)
    }
    house = {"pyproject.toml", "README.md", "LICENSE", "minidl", "tests", "examples", "docs"}
    assert visible <= house
    assert {"pyproject.toml", "README.md", "LICENSE", "minidl", "tests"} <= visible


def test_the_package_is_marked_as_typed() -> None:
    assert (ROOT / "minidl" / "py.typed").is_file()
