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
from ._numbers import Numbers
from ._page_parts import Matrix, Row, Shown, Work
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
    texts = (SUM[step.phase],) if step.is_sum else getattr(own, "forward" if step.phase == "loss" else step.phase)
    rows = {"forward": _forward, "loss": _loss, "backward": _backward, "update": _update}[step.phase](trace, step)
    place = f" at “{step.path}”" if step.path in trace.parts and step.path else ""
    title = f"{part}: the update of {step.path}" if step.path in trace.gradients else what + place
    path = step.path.rpartition(".")[0] if step.path in trace.gradients else step.path
    return Shown(step.phase, title, path, [(text, "") for text in texts], rows, step.lines,
                 note_of(trace, step))


def note_of(trace: Numbers, step: Step) -> str:
    """Return a sentence on a batch."""
    if step.phase == "backward" and step.path == "loss" and trace.rows > 1:
        return f"The loss is a mean over {trace.rows:,} samples, so each row of its gradient carries 1/{trace.rows:,}."
    kept = len(trace.prediction)
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
    y = Matrix("y" if inputs else "input of a part", step.outputs[0], "row")  # A container made it for a part.
    own = step.parameters
    if isinstance(step.part, Dense) and inputs:
        weight, bias = Matrix("Wᵀ", own["weight"], "transposed"), Matrix("b", own["bias"], "transposed")
        product = Row([y, "=", inputs[0], weight, "+", bias], Work((1, 2), ((1.0, 3),)))
        if product.checked_work():
            return [product]
    pointwise = step.path in trace.parts and trace[step.path].slope is not None and len(inputs) == 1
    plain = Row([y, "= f (", inputs[0], ")"]) if pointwise else joined(y, "from", inputs, ",")
    rows = [first_that_holds(added(y, inputs), plain)] if len(inputs) > 1 else [plain]
    return rows + [Row([Matrix(name, value, _lying(value))]) for name, value in own.items()]


def _loss(trace: Numbers, step: Step) -> list[Row]:
    names = dict(zip("ayw", step.inputs, strict=False))
    e = Matrix("e" if step.path == "loss" else "penalty", step.outputs[0])
    inputs = [Matrix(name, array, "row") for name, array in names.items()]
    return [joined(e, "from", inputs, ",") if inputs else Row([e])]


def loss_gradient(trace: Numbers, step: Step, a: Matrix, y: Matrix, result: Matrix) -> Row:
    """Return the gradient of the loss: for half the squared error the difference of prediction and target."""
    share = 1.0 / trace.rows
    tokens: list[Matrix | str] = [a, "−", y] if trace.rows == 1 else [f"{share:.4g} · (", a, "−", y, ")"]
    difference = Row([result, "=", *tokens], Work(terms=((share, 1), (-share, 2))))
    return first_that_holds(difference, joined(result, "from", [a, y], ","))


def _backward(trace: Numbers, step: Step) -> list[Row]:
    if step.path == "loss":
        a, y = next(other for other in trace.steps if other.phase == "loss").inputs[:2]
        result = Matrix("∂e/∂a", step.outputs[0], "row")
        return [loss_gradient(trace, step, Matrix("a", a, "row"), Matrix("y", y, "row"), result)]
    errors = [Matrix(one.symbol, one.array, "row") for one in _inputs(trace, step, "∂e/∂y")]
    name = "∂e/∂x" if errors else "error of a part"
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
    return rows + [_gradient(trace, step, name, array) for name, array in step.gradients.items()]


def _gradient(trace: Numbers, step: Step, name: str, gradient: npt.NDArray[Any]) -> Row:
    alone = Row([Matrix(f"∂e/∂{name}", gradient, _lying(gradient))])
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
        return size + [Row([Matrix(f"∂e/∂{path}", array, _lying(array))]) for path, array in step.gradients.items()]
    return [update_row(step, step.path, f"∂e/∂{step.path}", _lying(step.outputs[0]))]


def update_row(step: Step, value: str, gradient: str, form: Any) -> Row:
    """Return the update of a parameter: for plain gradient descent the step of equation (7)."""
    new, old, slope = (Matrix(name, array, form) for name, array in
                       zip((f"new {value}", value, gradient), (*step.outputs, *step.inputs), strict=True))
    rate = step.part.last_rate
    descent = Row([new, "=", old, f"− {rate:.4g} ·", slope], Work(terms=((1.0, 1), (-rate, 2))))
    return first_that_holds(descent, joined(new, "from", [old, slope], ","))


def _lying(array: npt.NDArray[Any]) -> Any:
    """Return the form in which a vector lies, as a row of a batch does."""
    return "transposed" if np.ndim(array) == 1 else "matrix"
