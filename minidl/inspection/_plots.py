"""Pictures of what a model has learned: its decisions, its fit, and its confusions."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from .._core.arrays import Array, dense, finite, floating, listed, positive_int
from .._core.functions import sigmoid, softmax
from .._core.picture import COLORS, MARKERS, picture
from .._data import check_lengths, check_parts, checked_input, described, last_part
from ..errors import ArgumentError, DataError, ShapeError
from ..layers.activations import Sigmoid, Softmax
from ..layers.base import Layer
from ..losses import Loss
from ..metrics import accuracy, confusion_matrix

Labels = npt.NDArray[np.intp]


def plot_decision(
    model: Layer,
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    features: tuple[int, int] = (0, 1),
    grid: int = 200,
    path: str | PathLike[str] | None = None,
) -> Any:
    """Draw what a classifier says over a plane of two features, and the rows as points; needs Matplotlib.

    All other features are at their median, so with more than two the plane shows only a part of what the model says.
    Points with a black ring are classified wrong.

    Args:
        model: The classifier. Its output is taken as probabilities if it ends in Sigmoid or Softmax, else as logits.
        x: Input, ``(rows, features)``; the plane is as large as its rows need.
        y: Classes, ``(rows,)`` or ``(rows, 1)``, or one-hot rows; None to draw the rows in grey.
        loss: The loss of the training, which knows what the output means; one of values, such as MeanSquaredError, has
            its border at 0.5.
        features: The two columns of ``x`` that span the plane.
        grid: Points in each direction, at most 2000.
        path: File of the picture; None only returns the figure.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: Matplotlib is not installed.
        ShapeError, DTypeError, DataError, ArgumentError: data that does not fit the model, or wrong columns.
    """
    rows = _rows("plot_decision", model, x)
    count = positive_int(grid, "plot_decision(grid)")
    if count > 2000:
        raise ArgumentError(f"plot_decision(grid): expected at most 2000 points in each direction, got {count}")
    across, up = _columns(features, rows)
    lines = [np.linspace(*_limits(rows[:, column]), max(count, 2)) for column in (across, up)]
    plane = np.repeat(np.median(rows, axis=0, keepdims=True), lines[0].size * lines[1].size, axis=0).astype(rows.dtype)
    plane[:, across], plane[:, up] = (part.ravel() for part in np.meshgrid(*lines))
    scores = _scores("plot_decision", model, loss, plane)
    found = _scores("plot_decision", model, loss, rows)
    classes = None if y is None else _labels("plot_decision", y, found)
    with picture("plot_decision", 6.4, 5.0, path) as figure:
        axes = figure.subplots()
        shape, extent = (lines[1].size, lines[0].size), [*lines[0][[0, -1]], *lines[1][[0, -1]]]
        places, title, colors = rows[:, [across, up]], [], _colors(scores.shape[1])
        if scores.shape[1] == 2:
            _shade_two(figure, axes, lines, scores[:, 1].reshape(shape))
        else:
            _shade_many(axes, lines, scores, shape, extent, colors)
        if rows.shape[1] > 2:
            title.append("other features at their median")
        if classes is None:
            axes.plot(*places.T, ".", color="#555555", ms=4)
            for label in np.unique(scores.argmax(axis=1)).tolist():
                axes.plot([], [], "s", color=colors[label], alpha=0.5, label=f"class {label}")
        else:
            wrong = classes != found.argmax(axis=1)
            for label in np.unique(classes).tolist():
                marker = MARKERS[label % len(MARKERS)]
                axes.scatter(*places[classes == label].T, s=24, marker=marker, color=colors[label], edgecolors="white",
                             linewidths=0.5, label=f"class {label}", zorder=3)
            if rows.shape[1] == 2:
                title.append(f"{accuracy(found, classes):.1%} right")
            if wrong.any():
                axes.scatter(*places[wrong].T, s=60, facecolors="none", edgecolors="black", linewidths=1.3, zorder=4)
                title.append("black rings: wrong")
        axes.set_title("; ".join(title))
        figure.legend(loc="outside lower center", ncols=5)
        axes.set(xlabel=f"feature {across}", ylabel=f"feature {up}", xlim=extent[:2], ylim=extent[2:])
        axes.grid(False)
    return figure


def plot_fit(model: Layer, x: npt.ArrayLike, y: npt.ArrayLike, *, path: str | PathLike[str] | None = None) -> Any:
    """Draw how well a model fits values, a panel for each output; needs Matplotlib.

    With one feature the targets are points and the predictions a curve. With more, each prediction is drawn over its
    target; a perfect one lies on the diagonal.

    Args:
        model: The model.
        x: Input, ``(rows, features)``.
        y: Target, ``(rows, outputs)``, or ``(rows,)`` for one output.
        path: File of the picture; None only returns the figure.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: Matplotlib is not installed.
        ShapeError, DTypeError, DataError: data that does not fit the model.
    """
    rows = _rows("plot_fit", model, x)
    prediction = model.predict(rows)
    target = floating(y, "plot_fit(y)")
    finite(target, "plot_fit(y)")
    target = target[:, None] if target.ndim == 1 else target
    if target.shape != prediction.shape:
        raise ShapeError(f"plot_fit(y): expected the shape {prediction.shape} of the predictions, got {target.shape}")
    outputs, is_curve = target.shape[1], rows.shape[1] == 1
    across = min(outputs, 3)
    down = -(-outputs // across)
    with picture("plot_fit", 2.2 + 4.0 * across, 4.2 * down, path) as figure:
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for output, axes in enumerate(panels[:outputs]):
            error = float(np.sqrt(np.mean((prediction[:, output] - target[:, output]) ** 2)))
            name = f"output {output}: " if outputs > 1 else ""
            axes.set_title(f"{name}root mean square error {error:.3g}")
            if is_curve:
                line = np.linspace(rows.min(), rows.max(), 400)[:, None].astype(rows.dtype)
                axes.plot(rows[:, 0], target[:, output], ".", color="#777777", label="target")
                axes.plot(line[:, 0], model.predict(line)[:, output], "-", color=COLORS[1], label="prediction")
                axes.set(xlabel="x", ylabel="y")
            else:
                ends = [min(target[:, output].min(), prediction[:, output].min()),
                        max(target[:, output].max(), prediction[:, output].max())]
                axes.plot(target[:, output], prediction[:, output], ".", color=COLORS[0], label="rows")
                axes.plot(ends, ends, "-", color="black", lw=1, label="perfect")
                axes.set(xlabel="target", ylabel="prediction")
            axes.legend()
        for axes in panels[outputs:]:
            axes.set_axis_off()
    return figure


def plot_confusion(
    model: Layer,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    loss: Loss | None = None,
    names: Sequence[str] | None = None,
    path: str | PathLike[str] | None = None,
) -> Any:
    """Draw how many rows of each class a classifier takes for which; needs Matplotlib.

    A cell is as dark as its share of its row, so that rare classes show as well as common ones.

    Args:
        model: The classifier, as in `plot_decision`.
        x: Input, ``(rows, features)``.
        y: Classes, as in `plot_decision`.
        loss: The loss of the training, as in `plot_decision`.
        names: Names of the classes; None for their numbers.
        path: File of the picture; None only returns the figure.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: Matplotlib is not installed.
        ShapeError, DTypeError, DataError, ArgumentError: data that does not fit the model, or too few names.
    """
    scores = _scores("plot_confusion", model, loss, _rows("plot_confusion", model, x))
    classes = _labels("plot_confusion", y, scores)
    matrix = confusion_matrix(scores, classes)
    count = len(matrix)
    shown = [str(k) for k in range(count)] if names is None else listed(names, "plot_confusion(names)", "texts")
    if isinstance(names, str) or len(shown) != count or not all(isinstance(name, str) for name in shown):
        raise ArgumentError(f"plot_confusion(names): expected a list of {count} texts, one for a class, got {names!r}")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with picture("plot_confusion", 2.4 + 0.46 * count, 2.0 + 0.46 * count, path) as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                color = "white" if shares[row, column] > 0.55 else "black"
                weight = "bold" if row == column else "normal"
                axes.text(column, row, f"{number:g}", ha="center", va="center", color=color, weight=weight)
        axes.set_xticks(range(count), shown, rotation=90 if max(map(len, shown)) > 3 else 0)
        axes.set_yticks(range(count), shown)
        axes.set(xlabel="predicted class", ylabel="true class", title=f"{accuracy(scores, classes):.1%} right")
        axes.grid(False)
        figure.colorbar(image, shrink=0.8, label="share of the true class")
    return figure


def _rows(where: str, model: Layer, x: npt.ArrayLike) -> Array:
    check_parts(where, model=(model, Layer))
    rows = checked_input(model, x, f"{where}(x)")
    if not len(rows):
        raise DataError(f"{where}(x): expected at least one row, got none")
    return rows


def _columns(features: tuple[int, int], rows: Array) -> tuple[int, int]:
    """Return the two columns that span the plane."""
    chosen = listed(features, "plot_decision(features)", "two column numbers")
    good = [isinstance(column, (int, np.integer)) and 0 <= column < rows.shape[1] for column in chosen]
    if rows.ndim != 2 or good != [True, True] or chosen[0] == chosen[1]:
        raise ArgumentError(f"plot_decision(features): expected two different columns of x, which has the shape "
                            f"{rows.shape}, got {features!r}")
    return int(chosen[0]), int(chosen[1])


def _limits(column: Array) -> tuple[float, float]:
    low, high = float(column.min()), float(column.max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _scores(where: str, model: Layer, loss: Loss | None, rows: Array) -> Array:
    """Return a column for each class; of one output, the scores of class 0 and class 1."""
    if loss is not None:
        check_parts(where, loss=(loss, Loss))
    output = model.predict(rows)
    if loss is not None and (loss.from_logits or loss.from_probabilities):
        output = loss.probabilities(output)
    elif loss is None and not isinstance(last_part(model), (Sigmoid, Softmax)):
        output = sigmoid(output) if output.shape[1] == 1 else softmax(output)
    return np.hstack([1.0 - output, output]) if output.shape[1] == 1 else output


def _labels(where: str, y: npt.ArrayLike, scores: Array) -> Labels:
    """Return the class of each row; of one-hot rows the largest column."""
    given, count = dense(y, f"{where}(y)"), scores.shape[1]
    check_lengths(x=scores, y=given)
    column = given.ravel() if given.size == len(given) else given
    if given.shape == scores.shape and np.isin(given, [0, 1]).all() and (given.sum(axis=1) == 1).all():  # One-hot.
        column = given.argmax(axis=1)
    if column.ndim != 1 or column.dtype.kind not in "biuf" or not np.isin(column, np.arange(count)).all():
        shown = f"from {given.min():g} to {given.max():g}" if given.dtype.kind in "biuf" else f"of dtype {given.dtype}"
        raise DataError(f"{where}(y): expected classes 0 … {count - 1}, a number or a one-hot row for each row of x, "
                        f"got {described(given)}, {shown}")
    return column.astype(np.intp)


def _colors(count: int) -> Sequence[Any]:
    """Return a colour for each class: those of the style, or of more classes some of a rainbow."""
    if count <= len(COLORS):
        return COLORS
    from matplotlib import colormaps

    return [tuple(color) for color in colormaps["turbo"](np.linspace(0.08, 0.95, count))]


def _shade_two(figure: Any, axes: Any, lines: Sequence[Array], scores: Array) -> None:
    """Shade the plane from class 0 over white to class 1, with the border in black."""
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("classes", [COLORS[0], "white", COLORS[1]])
    shades = axes.contourf(*lines, np.clip(scores, 0.0, 1.0), levels=np.linspace(0.0, 1.0, 11), cmap=colors, alpha=0.5)
    if scores.min() < 0.5 < scores.max():
        axes.contour(*lines, scores, levels=[0.5], colors="black", linewidths=1.5)
    figure.colorbar(shades, label="score of class 1 (border at 0.5)")


def _shade_many(axes: Any, lines: Sequence[Array], scores: Array, shape: tuple[int, int], extent: list[float],
                colors: Sequence[Any]) -> None:
    """Shade each region in the colour of its class, with borders in black."""
    from matplotlib.colors import to_rgb

    winner = scores.argmax(axis=1)
    shades = np.array([to_rgb(colors[k]) for k in range(scores.shape[1])])
    axes.imshow((0.35 * shades[winner] + 0.65).reshape(*shape, 3), extent=extent, origin="lower", aspect="auto")
    for label in np.unique(winner).tolist()[1:]:
        ahead = scores[:, label] - np.delete(scores, label, axis=1).max(axis=1)
        axes.contour(*lines, ahead.reshape(shape), levels=[0.0], colors="black", linewidths=1.0)
