"""The programs under examples/: short, self-contained, each leaving its picture, with and without Matplotlib."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import Dense
from tests.campaigns.experiments import EXAMPLES, load_example

PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))
LONG = ["find_settings", "sine_classification", "sine_in_a_second", "sine_regression"]
WITH_PAGE = ["see_a_step"]
WITHOUT_PICTURE = [
    "check_my_layer", "larger_than_memory", "resume", "scikit_learn_pipeline", "several_ranks", "whole_job"
]
WITH_PICTURE = [
    "custom_activation_and_loss",
    "custom_layer",
    "digits",
    "ensemble",
    "handwritten_loop",
    "residual_graph",
    "surrogate_jacobian",
    "tabular_branches",
    "tied_autoencoder",
    "why_does_it_not_learn",
]
IMPORTS = {
    *("__future__", "collections.abc", "pathlib", "sys", "tempfile", "time"),
    *("numpy", "numpy.typing", "scipy.stats", "typing_extensions", "matplotlib", "matplotlib.figure"),
    *("minidl", "minidl.callbacks", "minidl.errors", "minidl.initializers", "minidl.inspection", "minidl.layers"),
    *("minidl.schedules", "minidl.search", "minidl.solvers", "minidl.testing", "minidl.trainer"),
}
"""What any program may import."""

BESIDES = {
    "digits": {"sklearn.datasets"},
    "scikit_learn_pipeline": {
        "minidl.sklearn", *(f"sklearn.{name}" for name in (
            "compose", "datasets", "linear_model", "model_selection", "pipeline", "preprocessing"))
    },
    "several_ranks": {"typing", "mpi4py"},
    "sine_in_a_second": {"os"},
    "whole_job": {"subprocess"},
}  # fmt: skip
"""What one needs besides: data; other processes; a setting of the environment."""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the number of threads that a program sets back after the test."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a package be missing."""
    for module in [key for key in sys.modules if key.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)


def test_the_programs_are_all_here() -> None:
    assert sorted([*LONG, *WITH_PAGE, *WITHOUT_PICTURE, *WITH_PICTURE]) == PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_fewer_than_80_lines_and_ends_by_asserting(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert text.count("\n") < 80
    main = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "main")
    assert isinstance(main.body[-1], ast.Assert)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_imports_no_other(name: str) -> None:
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= IMPORTS | BESIDES.get(name, set())


@pytest.mark.parametrize("name", WITHOUT_PICTURE)
def test_a_program_without_picture_holds_what_it_asserts_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "scikit_learn_pipeline":
        pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    load_example(name).main()
    assert not list(tmp_path.iterdir())


def test_a_traced_step_is_printed_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    load_example("see_a_step").main()
    printed = capsys.readouterr().out
    assert "E_3 = [[-0.1192]]" in printed
    assert "error 0.1141 before the step, 0.1012 after it" in printed
    (page,) = (tmp_path / "pictures").iterdir()
    assert f"saved: pictures/{page.name}" in printed


@pytest.mark.parametrize("name", WITH_PICTURE)
def test_a_short_program_holds_what_it_asserts_and_says_where_its_picture_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    if name == "digits":
        pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    load_example(name).main()
    assert f"picture: pictures/{name}.png" in capsys.readouterr().out
    assert (tmp_path / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", WITH_PICTURE)
def test_a_short_program_runs_without_matplotlib(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "digits":
        pytest.importorskip("sklearn")
    without("matplotlib", monkeypatch)
    monkeypatch.chdir(tmp_path)
    load_example(name).main()
    assert "no picture" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["digits", "scikit_learn_pipeline"])
def test_a_program_says_what_is_missing_without_scikit_learn(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without("sklearn", monkeypatch)
    monkeypatch.chdir(tmp_path)
    load_example(name).main()
    assert "scikit-learn" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_three_ways_to_the_sine_are_compared_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sine_in_a_second.py", "60"])
    load_example("sine_in_a_second").main()
    assert "picture: pictures/sine_in_a_second.png" in capsys.readouterr().out
    assert (tmp_path / "pictures" / "sine_in_a_second.png").read_bytes().startswith(b"\x89PNG")


def test_the_search_beats_short_fits_at_the_rates_of_the_article_and_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minidl.search._many.WORK", 0)  # Compiling takes longer than this search.
    load_example("find_settings").main(rungs=[(6, 5), (2, 20), (1, 60)], epochs=10)
    printed = capsys.readouterr().out
    assert printed.startswith("6 candidates, rungs [(6, 5), (2, 20), (1, 60)]")
    assert "picture: pictures/find_settings.png" in printed
    assert (tmp_path / "pictures" / "find_settings.png").read_bytes().startswith(b"\x89PNG")


def test_the_sine_experiment_learns_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    example = load_example("sine_regression")
    x, y = example.sine()
    errors = [float(np.mean((example.train(0.05, seed=1, epochs=epochs).predict(x) - y) ** 2)) for epochs in (1, 40)]
    assert errors[1] < 0.5 * errors[0]
    models = {rate: example.network(0) for rate in example.LEARNING_RATES}
    example.save_picture(models, tmp_path / "pictures" / "sine.png")
    assert (tmp_path / "pictures" / "sine.png").read_bytes().startswith(b"\x89PNG")


def test_the_classification_experiment_learns_and_draws(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    example = load_example("sine_classification")
    rng = np.random.default_rng(1)
    samples = {"Training points": example.points(rng), "Test points": example.points(rng)}
    model = example.train(*samples["Training points"], epochs=30)
    assert example.accuracy(model, *samples["Test points"]) > 0.8
    example.save_picture(model, samples, tmp_path / "pictures" / "points.png")
    assert (tmp_path / "pictures" / "points.png").read_bytes().startswith(b"\x89PNG")


def test_the_points_fill_the_rectangle_and_their_labels_follow_the_curve() -> None:
    example = load_example("sine_classification")
    x, y = example.points(np.random.default_rng(0), count=10_000)
    assert ((x >= [0.0, -1.0]) & (x < [3 * np.pi, 2.0])).all()
    np.testing.assert_allclose(x.mean(axis=0), [1.5 * np.pi, 0.5], atol=0.1)
    assert [float(label) for label in y[:, 0]] == [1.0 if b >= np.sin(a) else 0.0 for a, b in x]


@pytest.mark.parametrize("name", ["sine_classification", "sine_regression"])
def test_the_first_values_of_an_experiment_are_standard_normal(name: str) -> None:
    networks = [load_example(name).network(seed) for seed in range(20)]
    dense = [layer for network in networks for layer in network if isinstance(layer, Dense)]
    for values in ([layer.weight.value for layer in dense], [layer.bias.value for layer in dense]):
        drawn = np.concatenate([array.ravel() for array in values])
        assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
        assert abs(drawn.std() - 1.0) < 4 / np.sqrt(2 * drawn.size)
