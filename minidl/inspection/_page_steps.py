"""The steps of the page, one for each step of a trace: a sample is a row, as in the code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._drawing.svg import subscript
from ..layers._structure import one_line
from ..layers.base import Component
from ..layers.dense import Dense
from ._equations import equations
from ._formulas import formula, loss_formula, renamed, right_side, slope_equation
from ._numbers import Numbers
from ._page_parts import Form, Matrix, Row, Shown, Work
from ._steps import Step

SUM = {
    "forward": "y = Σ of the inputs",
    "backward": "∂e/∂x = Σ of the errors of all readers of x",
}
"""What a container does itself."""


def shown_step(trace: Numbers, step: Step) -> Shown:
    """Return what the page shows of a step."""
    part = named(step.part)
    what = f"A sum of {part}" if step.is_sum else part
    own = equations(step.part)
    rows = {"forward": _forward, "loss": loss_rows, "backward": _backward, "update": _update}[step.phase](trace, step)
    texts = (SUM[step.phase],) if step.is_sum else getattr(own, "forward" if step.phase == "loss" else step.phase)
    if step.phase == "update" and rows[-1].checked_work():
        texts = ("W ← W − η ∂e/∂W",)
    place = f" at “{step.path}”" if step.path in trace.parts and step.path else ""
    title = f"{part}: the update of {step.path}" if step.path in trace.gradients else what + place
    path = step.path.rpartition(".")[0] if step.path in trace.gradients else step.path
    return Shown(step.phase, title, path, step.number, [(text, "") for text in texts], rows, step.lines,
                 note_of(trace, step))


def note_of(trace: Numbers, step: Step) -> str:
    """Return a sentence on a batch, on smoothed labels or on a learning rate."""
    kept = len(trace.prediction)
    if step.rate and step.rate != step.part.last_rate:
        return f"The learning rate of {step.path} is its own: η = {step.rate:.4g}."
    if step.path == "loss":
        smoothing = getattr(step.part, "label_smoothing", 0)
        smoothed = f"With label smoothing ε = {smoothing}, y stands for the smoothed target. " if smoothing else ""
        some = f", of which the page has the first {kept}" if trace.rows > kept else ""
        mean = {
            "loss": f"e is the mean over all N = {trace.rows:,} samples{some}.",
            "backward": f"The loss is a mean over {trace.rows:,} samples, so each row of its gradient carries "
                        f"1/{trace.rows:,}.",
        }  # fmt: skip
        return (smoothed + mean[step.phase] * (trace.rows > 1)).strip()
    if step.phase == "backward" and step.gradients and trace.rows > kept:
        return f"These sums are over all {trace.rows:,} samples, of which the page has the first {kept}."
    return ""


def named(part: object) -> str:
    """Return a part in one line."""
    return (one_line(part) if isinstance(part, Component) else repr(part)).replace("->", "→")


def first_that_holds(*rows: Row) -> Row:
    """Return the first row whose numbers can be worked out, else the last."""
    return next((row for row in rows if row.checked_work()), rows[-1])


def joined(result: Matrix, sign: str, others: Sequence[Matrix], between: str, work: Work | None = None) -> Row:
    """Return a row: result, sign, and the others with a sign between them."""
    tokens: list[Matrix | str] = [result, sign] if others else [result]
    for place, other in enumerate(others):
        tokens += [between, other] if place else [other]
    return Row(tokens, work)


def added(result: Matrix, terms: Sequence[Matrix]) -> Row:
    """Return a row that adds up matrices."""
    work = Work(terms=tuple((1.0, place) for place in range(1, len(terms) + 1)))
    return joined(result, "=", terms, "+", work)


def numbered(symbol: str, place: int, arrays: Sequence[object]) -> str:
    """Return a symbol, with a number if there are several."""
    return symbol + subscript(place + 1) if len(arrays) > 1 else symbol


def _inputs(trace: Numbers, step: Step, symbol: str) -> list[Matrix]:
    """Return the inputs of a step as rows that name the part that made them."""
    found = []
    for place, array in enumerate(step.inputs):
        maker = step.sources[place] if place < len(step.sources) else None
        source = "" if maker is None else trace.steps[maker].path
        found.append(Matrix(numbered(symbol, place, step.inputs), array, "row", "" if source == "data" else source))
    return found


def _forward(trace: Numbers, step: Step) -> list[Row]:
    inputs = _inputs(trace, step, "x")
    y = Matrix("y" if inputs else f"input of {_reader(trace, step)}", step.outputs[0], "row")
    own = step.parameters
    if isinstance(step.part, Dense) and inputs:
        weight = Matrix("Wᵀ", own["weight"], "transposed")
        product = Row([y, "=", inputs[0], weight], Work((1, 2)))
        if "bias" in own:
            product = Row([*product.tokens, "+", Matrix("b", own["bias"], "transposed")], Work((1, 2), ((1.0, 3),)))
        if product.checked_work():
            return [product]
    pointwise = step.path in trace.parts and trace[step.path].slope is not None and len(inputs) == 1
    plain = function_row(step.part, y, "f", inputs[0]) if pointwise else joined(y, "from", inputs, ",")
    rows = [first_that_holds(added(y, inputs), plain)] if len(inputs) > 1 else [plain]
    return rows + parameter_rows(step)


def parameter_rows(step: Step) -> list[Row]:
    """Return the parameters of a part, each in a row."""
    return [Row([Matrix(name, value, lying(value))]) for name, value in step.parameters.items()]


def function_row(part: object, y: Matrix, name: str, x: Matrix) -> Row:
    """Return y = f(x), worked out if the docstring of the class says how."""
    lines = equations(part).forward
    text = formula(part, right_side(lines[0]), {"x": "{1}"}) if len(lines) == 1 else ""
    return Row([y, f"= {name} (", x, ")"], Work(formula=text))


def slope_rows(part: object, slope: Matrix, x: Matrix, y: Matrix) -> list[Row]:
    """Return O′ from the input or the output of an activation, if its docstring says how."""
    equation = slope_equation(part)
    used = {name: matrix for name, matrix in {"x": x, "y": y}.items() if renamed(equation, {name: ""}) != equation}
    text = formula(part, equation, {name: f"{{{place}}}" for place, name in enumerate(used, 1)})
    return [joined(slope, "from", [*used.values()], ",", Work(formula=text))] if used else []


def loss_rows(trace: Numbers, step: Step, form: Form = "matrix", names: Sequence[str] = "ayw") -> list[Row]:
    """Return e from all samples, worked out if they are few; e alone if the page has not all."""
    e = Matrix("e" if step.path == "loss" else "penalty", step.outputs[0])
    if trace.rows > len(trace.prediction) or not step.inputs:
        return [Row([e])]
    inputs = [Matrix(name, array, form) for name, array in zip(names, step.inputs, strict=False)]
    text = loss_formula(step.part, step.inputs, trace.rows)
    return [joined(e, "from", inputs, ",", Work(formula=text))]


def _reader(trace: Numbers, step: Step) -> str:
    """Name the part that reads what a container made for it."""
    return next((other.path for other in trace.steps if step.number in other.sources), "a part")


def loss_gradient(trace: Numbers, step: Step, a: Matrix, y: Matrix, result: Matrix) -> Row:
    """Return the gradient of the loss: for half the squared error the difference of prediction and target."""
    share = 1.0 / trace.rows
    tokens: list[Matrix | str] = [a, "−", y] if trace.rows == 1 else [f"1/{trace.rows:,} · (", a, "−", y, ")"]
    difference = Row([result, "=", *tokens], Work(terms=((share, 1), (-share, 2))))
    return first_that_holds(difference, joined(result, "from", [a, y], ","))


def _backward(trace: Numbers, step: Step) -> list[Row]:
    if step.path == "loss":
        a, y = next(other for other in trace.steps if other.phase == "loss").inputs[:2]
        result = Matrix("∂e/∂a", step.outputs[0], "row")
        return [loss_gradient(trace, step, Matrix("a", a, "row"), Matrix("y", y, "row"), result)]
    errors = [Matrix(one.symbol, one.array, "row") for one in _inputs(trace, step, "∂e/∂y")]
    name = "∂e/∂x" if errors else f"error of {_reader(trace, step)}"
    results = [Matrix(numbered(name, k, step.outputs), array, "row") for k, array in enumerate(step.outputs)]
    slope = trace[step.path].slope if step.path in trace.parts else None
    rows = []
    for result in results:
        options = [added(result, _inputs(trace, step, "error"))] if step.is_sum else []
        if isinstance(step.part, Dense):
            options.append(Row([result, "=", errors[0], Matrix("W", step.parameters["weight"])], Work((1, 2))))
        elif slope is not None:
            work = Work(terms=((1.0, 1),), factor=2)
            options.append(Row([result, "=", errors[0], "∘", Matrix("f′(x)", slope, "row")], work))
        rows.append(first_that_holds(*options, joined(result, "from", errors, ",")))
    if slope is not None:
        seen = trace[step.path]
        rows += slope_rows(step.part, Matrix("f′(x)", slope, "row"), Matrix("x", seen.x, "row"),
                           Matrix("y", seen.y, "row"))
    return rows + [gradient_row(trace, step, name, array) for name, array in step.gradients.items()]


def gradient_row(trace: Numbers, step: Step, name: str, gradient: npt.NDArray[Any]) -> Row:
    """Return the gradient of a parameter."""
    alone = Row([Matrix(f"∂e/∂{name}", gradient, lying(gradient))])
    if not isinstance(step.part, Dense):
        return alone
    error = Matrix("(∂e/∂y)ᵀ", step.inputs[0], "transposed")
    x = Matrix("x", trace[step.path].x)
    weight = Row([Matrix("∂e/∂W", gradient), "=", error, x], Work((1, 2)))
    bias = Row([Matrix("∂e/∂b", gradient), "= row sums of", error], Work((1,)))
    return first_that_holds(weight if name == "weight" else bias, alone)


def _update(trace: Numbers, step: Step) -> list[Row]:
    if step.path not in trace.gradients:  # Clipping.
        size = [Row([Matrix("size before", step.outputs[0])])] if step.outputs else []
        return size + [Row([Matrix(f"∂e/∂{path}", array, lying(array))]) for path, array in step.gradients.items()]
    return [update_row(step, step.path, f"∂e/∂{step.path}", lying(step.outputs[0]))]


def update_row(step: Step, value: str, gradient: str, form: Any) -> Row:
    """Return the update of a parameter: for plain gradient descent the step of equation (7)."""
    new, old, slope = (Matrix(name, array, form) for name, array in
                       zip((f"new {value}", value, gradient), (*step.outputs, *step.inputs), strict=True))
    descent = Row([new, "=", old, f"− {step.rate:.4g} ·", slope], Work(terms=((1.0, 1), (-step.rate, 2))))
    return first_that_holds(descent, joined(new, "from", [old, slope], ","))


def lying(array: npt.NDArray[Any]) -> Any:
    """Return the form in which a vector lies, as a row of a batch does."""
    return "transposed" if np.ndim(array) == 1 else "matrix"
