"""Pictures of decisions, fits and confusions: what is drawn, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from minidl import (
    Array,
    Dense,
    Flatten,
    HalfSquaredError,
    Layer,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from minidl.errors import ArgumentError, DataError, DTypeError, ShapeError
from minidl.inspection import plot_confusion, plot_decision, plot_fit

pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
X = RNG.uniform(-1.0, 1.0, (60, 2))
BORDER = 0.25


def linear(weight: Any, bias: Any, *ending: Layer) -> Sequential:
    """Make a model that computes x Wᵀ + b."""
    rows = np.atleast_2d(np.asarray(weight, float))
    dense = Dense(rows.shape[1], rows.shape[0])
    dense.weight.value = rows
    assert dense.bias is not None
    dense.bias.value = np.asarray(bias, float)
    return Sequential(dense, *ending)


def contour(axes: Any) -> Array:
    """Return the points of the black border."""
    (lines,) = [part for part in axes.collections if hasattr(part, "levels") and len(part.levels) == 1]
    return np.concatenate([path.vertices for path in lines.get_paths()])


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (linear([4.0, 0.0], [-4 * BORDER]), None),
        (linear([4.0, 0.0], [-4 * BORDER]), SigmoidCrossEntropy()),
        (linear([4.0, 0.0], [-4 * BORDER], Sigmoid()), None),
        (linear([4.0, 0.0], [-4 * BORDER], Sigmoid()), HalfSquaredError()),
        (linear([1.0, 0.0], [0.5 - BORDER]), HalfSquaredError()),
        (linear([[0.0, 0.0], [4.0, 0.0]], [4 * BORDER, 0.0]), SoftmaxCrossEntropy()),
    ],
)
def test_the_border_is_where_the_classes_are_equal(model: Sequential, loss: Any) -> None:
    figure = plot_decision(model, X, X[:, 0] > BORDER, loss=loss)
    np.testing.assert_allclose(contour(figure.axes[0])[:, 0], BORDER, atol=0.012)
    assert figure.axes[0].get_title() == "100.0% right"
    assert figure.axes[0].get_xlabel() == "feature 0"


@pytest.mark.parametrize("shape", ["labels", "column", "one-hot"])
def test_points_have_the_marker_and_colour_of_their_class_and_wrong_ones_a_ring(shape: str) -> None:
    labels = (X[:, 0] > BORDER).astype(int)
    labels[:3] = 1 - labels[:3]
    y = {"labels": labels, "column": labels[:, None].astype(float), "one-hot": np.eye(2)[labels]}[shape]
    axes = plot_decision(linear([4.0, 0.0], [-4 * BORDER]), X, y).axes[0]
    drawn = [part for part in axes.collections if not hasattr(part, "levels")]
    points = [part for part in drawn if part.get_label()[0] != "_"]
    places = np.concatenate([part.get_offsets() for part in points])
    assert sorted(places.tolist()) == sorted(X.tolist())
    colors = {part.get_label(): tuple(part.get_facecolor()[0]) for part in points}
    assert set(colors) == {"class 0", "class 1"}
    assert [tuple(part.get_facecolor().shape) for part in drawn[2:]] == [(0, 4)]  # Rings leave the points to be seen.
    assert len(set(colors.values())) == 2
    ringed = [part.get_offsets() for part in drawn if tuple(part.get_edgecolor()[0][:3]) == (0.0, 0.0, 0.0)]
    assert sorted(np.concatenate(ringed).tolist()) == sorted(X[:3].tolist())
    assert "95.0% right" in axes.get_title()


def test_the_plane_holds_all_rows_and_the_other_features_are_at_their_median() -> None:
    x = np.column_stack([X[:, 0], np.full(60, 3.0), 10 * X[:, 1]])
    x[0, 1] = 1000.0
    model = linear([0.0, 1.0, 1.0], [-3.0])  # With the median 3.0 the border is at 0 of the last feature.
    columns = cast(Any, tuple(np.array([2, 0])))
    axes = plot_decision(model, x, features=columns, grid=101).axes[0]
    np.testing.assert_allclose(contour(axes)[:, 0], 0.0, atol=1e-3)
    assert axes.get_xlim()[0] < x[:, 2].min() < x[:, 2].max() < axes.get_xlim()[1]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("feature 2", "feature 0")
    assert sum(len(line.get_xdata()) for line in axes.lines) == 60
    right = x[:, 1] + x[:, 2] > 3.0
    assert plot_decision(model, x, right).axes[0].get_title() == "other features at their median"


@pytest.mark.parametrize("given", [True, False])
def test_each_of_ten_classes_has_its_colour_and_a_place_in_the_legend(given: bool) -> None:
    angles = 2 * np.pi * np.arange(10) / 10
    model = linear(np.stack([np.cos(angles), np.sin(angles)], axis=1), np.zeros(10))
    figure = plot_decision(model, X, model.predict(X).argmax(axis=1) if given else None, grid=150)
    (image,), (legend,) = figure.axes[0].images, figure.legends
    assert len(np.unique(image.get_array().reshape(-1, 3), axis=0)) == 10
    assert [text.get_text() for text in legend.get_texts()] == [f"class {k}" for k in range(10)]
    figure.draw_without_rendering()
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1


def test_each_of_many_regions_has_the_colour_of_its_class() -> None:
    model = linear([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], [-0.5, 0.0, -0.5])
    axes = plot_decision(model, X, np.digitize(X[:, 0], [-0.5, 0.5]), grid=99).axes[0]
    (image,) = axes.images
    row = image.get_array()[50]
    left, right, _, _ = image.get_extent()
    centres = left + (np.arange(99) + 0.5) / 99 * (right - left)
    regions = np.unique(row, axis=0, return_inverse=True)[1].ravel()
    wanted = np.digitize(centres, [-0.5, 0.5])
    near = np.abs(np.abs(centres) - 0.5) < 0.05
    assert len({(a, b) for a, b in zip(regions[~near], wanted[~near], strict=True)}) == 3


def test_a_fit_of_one_feature_is_points_and_a_curve(tmp_path: Path) -> None:
    x = X[:, :1]
    model = linear([[2.0], [-1.0]], [0.5, 0.0])
    y = np.hstack([2 * x + 0.6, -x])
    figure = plot_fit(model, x, y, path=tmp_path / "fit.png")
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    first, second = figure.axes
    points, curve = first.lines
    assert points.get_xydata().tolist() == np.hstack([x, y[:, :1]]).tolist()
    np.testing.assert_allclose(curve.get_ydata(), 2 * curve.get_xdata() + 0.5)
    assert curve.get_xdata()[[0, -1]].tolist() == [x.min(), x.max()]
    assert first.get_title() == "output 0: root mean square error 0.1"
    assert second.get_title() == "output 1: root mean square error 0"
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["target", "prediction"]


def test_a_fit_of_several_features_is_the_prediction_over_the_target() -> None:
    model = linear([1.0, 1.0], [0.0])
    y = X.sum(axis=1) * 1.5
    points, diagonal = plot_fit(model, X, y).axes[0].lines
    np.testing.assert_allclose(points.get_xydata(), np.column_stack([y, X.sum(axis=1)]))
    assert diagonal.get_xdata().tolist() == diagonal.get_ydata().tolist()


def test_a_confusion_counts_true_classes_down_and_predicted_ones_across() -> None:
    model = linear([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], [-0.5, 0.0, -0.5])
    x = np.array([[-1.0, 0.0]] * 5 + [[0.0, 0.0]] * 4 + [[1.0, 0.0]] * 3)
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    axes = plot_confusion(model, x, y, names=["left", "middle", "right"]).axes[0]
    texts = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes.texts}
    assert texts == {(0, 0): "4", (1, 0): "1", (1, 1): "3", (2, 1): "1", (2, 2): "3"}
    assert axes.images[0].get_array().tolist() == [[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.25, 0.75]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["left", "middle", "right"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("predicted class", "true class", "83.3% right")


def test_the_model_is_left_as_it_was() -> None:
    model = linear([4.0, 0.0], [-1.0])
    before = model.parameters()[0].value.tobytes()
    x, y = X.copy(), (X[:, 0] > 0).astype(int)
    for draw in (plot_decision, plot_confusion):
        draw(model, x, y)
    assert model.parameters()[0].value.tobytes() == before
    assert x.tobytes() == X.tobytes()
    assert not vars(model[0]).keys() & {"forward", "_x"}


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m: plot_decision(m, X, features=(0, 2)), ArgumentError, r"two different columns of x.*\(0, 2\)"),
        (lambda m: plot_decision(m, X, features=(1, 1)), ArgumentError, "two different columns of x"),
        (lambda m: plot_decision(m, X, features=cast(Any, 3)), DTypeError, "two column numbers"),
        (lambda m: plot_decision(m, X, grid=0), ArgumentError, "grid"),
        (lambda m: plot_decision(m, X, grid=10**9), ArgumentError, "at most 2000 points"),
        (lambda m: plot_decision(m, X[:0]), DataError, "at least one row"),
        (lambda m: plot_decision(m, X[:, :1]), ShapeError, r"\(batch, 2\)"),
        (lambda m: plot_decision(m, X, np.full(60, 2)), DataError, "expected classes 0 … 1"),
        (lambda m: plot_decision(m, X, X[:7, 0] > 0), ShapeError, "same number of rows"),
        (lambda m: plot_decision(m, X, loss=cast(Any, 3)), DTypeError, r"plot_decision\(loss\): expected a Loss"),
        (lambda m: plot_confusion(m, X, X[:, 0]), DataError, "expected classes"),
        (lambda m: plot_confusion(m, X, X[:, 0] > 0, names=["a"]), ArgumentError, r"2 texts.*got \['a'\]"),
        (lambda m: plot_confusion(m, X, X[:, 0] > 0, names="ab"), ArgumentError, "2 texts.*got 'ab'"),
        (lambda m: plot_confusion(m, X, X), DataError, "a one-hot row"),
        (lambda m: plot_confusion(m, X, np.arange(60) % 2 + 1), DataError, "from 1 to 2"),
        (lambda m: plot_fit(m, X, np.full(60, np.nan)), DataError, r"plot_fit\(y\): expected finite"),
        (lambda m: plot_fit(m, X, X[:, 0], path="no such folder/a.png"), ArgumentError, "no such folder/a.png"),
        (lambda m: plot_fit(m, X, X[:, 0], path="a.foo"), ArgumentError, "ending .png"),
        (lambda m: plot_fit(m, X, X[:, 0], path=cast(Any, 3)), DTypeError, "got 3"),
        (lambda m: plot_fit(m, X, X), ShapeError, r"expected the shape \(60, 1\)"),
        (lambda m: plot_fit(cast(Any, "model"), X, X), DTypeError, "expected a Layer"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(linear([4.0, 0.0], [-1.0]))


def test_images_have_no_plane() -> None:
    with pytest.raises(ArgumentError, match="two different columns of x"):
        plot_decision(Sequential(Flatten(), Dense(4, 1)), np.ones((3, 2, 2)))
