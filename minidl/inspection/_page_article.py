"""The steps of the page for a chain of Dense layers and activations: the equations (1) to (7) of the article."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .._drawing.svg import subscript
from ..layers.dense import Dense
from ._equations import equations
from ._formulas import renamed, right_side, slope_equation
from ._lines import Line
from ._numbers import Numbers
from ._page_parts import Matrix, Row, Shown, Work
from ._page_steps import (
    function_row,
    gradient_row,
    loss_gradient,
    loss_rows,
    named,
    note_of,
    parameter_rows,
    shown_step,
    slope_rows,
    update_row,
)
from ._steps import Step
from ._symbols import ArticleLayer


def is_article(trace: Numbers) -> bool:
    """Whether the page can use the article's numbers: a chain in which Dense with a bias makes each L_i."""
    paths = [layer.affine for layer in trace.layers if layer.affine is not None] if trace.is_chain else [""]
    return all(type(trace[path].part) is Dense and "bias" in trace[path].parameters for path in paths)


def article_steps(trace: Numbers) -> Iterator[Shown]:
    """Yield the steps of the page; each sample is a column, as in the article."""
    layers, x = trace.layers, trace.steps[0].outputs[0]
    places = {path: layer for layer in layers for path in (layer.affine, *layer.after) if path is not None}
    yield Shown("forward", "The sample enters the network", "", 0, [("O₁ = x", "")], [Row([Matrix("O₁", x, "column")])],
                column=1, values=("O", x))
    for step in trace.steps[1:]:
        layer = places.get(step.path.rpartition(".")[0] if step.phase == "update" else step.path)
        if step.phase == "forward" and layer is not None:
            yield _input(step, layer) if step.path == layer.affine else _output(step, layer)
        elif step.phase == "loss" and step.path == "loss":
            yield _loss(trace, step, layers[-1])
        elif step.phase == "backward" and step.path == "loss":
            yield _loss_gradient(trace, step, layers[-1])
        elif step.phase == "backward" and layer is not None and step.path == layer.affine:
            yield _gradients(trace, step, layer)
            yield from _error_through_weights(trace, step, layers[layer.number - 2])
        elif step.phase == "backward" and layer is not None and _single(trace, layer):
            yield _error(trace, step, layer, layers)
        elif step.phase == "update" and layer is not None and step.path.rpartition(".")[0] == layer.affine:
            yield _update(trace, step, layer)
        else:
            yield _other(trace, step, layer)


def _input(step: Step, layer: ArticleLayer) -> Shown:
    """Equation (1): I_i = W_{i−1} O_{i−1} + b_{i−1}."""
    i, before = subscript(layer.number), subscript(layer.number - 1)
    result, below = Matrix(f"I{i}", step.outputs[0], "column"), Matrix(f"O{before}", step.inputs[0], "column")
    weight, bias = (Matrix(letter + before, step.parameters[name]) for letter, name in (("W", "weight"), ("b", "bias")))
    row = Row([result, "=", weight, below, "+", bias], Work((1, 2), ((1.0, 3),)))
    return Shown("forward", f"The input of layer {layer.number}", step.path, step.number,
                 [(f"I{i} = W{before} O{before} + b{before}", "(1)")], [row], step.lines,
                 column=layer.number, wires=layer.number - 1, values=("I", result.array))


def _output(step: Step, layer: ArticleLayer) -> Shown:
    """Equation (2): O_i = f_i(I_i); of several layers after the weights each is a step."""
    i, many = subscript(layer.number), len(layer.after) > 1
    first, last = step.path == layer.after[0], step.path == layer.after[-1]
    x = Matrix(f"I{i}" if first and layer.number > 1 else "x", step.inputs[0], "column")
    y = Matrix(f"O{i}" if last else "y", step.outputs[0], "column")
    own = equations(step.part).forward
    names = {"x": "z", "y": f"f{i}(z)"} if len(own) == 1 else {"x": x.symbol, "y": y.symbol}
    own = own if many else tuple([renamed(text, names).replace("over columns of ", "") for text in own])
    texts = [(text, "") for text in own]
    return Shown("forward", f"The output of layer {layer.number}: {named(step.part)}", step.path, step.number,
                 texts if many else [(f"O{i} = f{i}(I{i})", "(2)"), *texts],
                 [function_row(step.part, y, f"f{i}", x), *parameter_rows(step)], step.lines, column=layer.number,
                 values=("O", y.array))


def _loss(trace: Numbers, step: Step, last: ArticleLayer) -> Shown:
    output = f"O{subscript(last.number)}"
    rows = loss_rows(trace, step, "transposed", (output, "y", "w"))
    return Shown("loss", f"How wrong is the network? {named(step.part)}", "", step.number,
                 [(text, "") for text in _of_output(trace, equations(step.part).forward, output)], rows, step.lines,
                 note_of(trace, step), column=last.number)


def _of_output(trace: Numbers, lines: Sequence[str], output: str) -> list[str]:
    """Return the equations of a loss for the output of the network; for one sample without N."""
    alone = [re.sub(r"\(1/N\) (Σ over rows of )?", "", line) for line in lines] if trace.rows == 1 else lines
    return [renamed(line, {"a": output}).replace("over rows", "over samples") for line in alone]


def _loss_gradient(trace: Numbers, step: Step, last: ArticleLayer) -> Shown:
    """The error of the last layer, before its activation; without one this is equation (3)."""
    n, letter, number = subscript(last.number), *(("∂e/∂O", "") if last.after else ("E", "(3)"))
    a, y = next(other for other in trace.steps if other.phase == "loss").inputs[:2]
    name = letter + n
    o = Matrix(f"O{n}", a, "column")
    row = loss_gradient(trace, step, o, Matrix("y", y, "column"), Matrix(name, step.outputs[0], "column"))
    lines = _of_output(trace, equations(step.part).backward or ("the gradient of the loss",), f"O{n}")
    text = right_side(" = " + lines[-1].rpartition(" = ")[2])
    return Shown("backward", "The gradient of the loss", "", step.number, [(f"{name} = {text}", number)], [row],
                 step.lines, note_of(trace, step), column=last.number, values=(letter, step.outputs[0]))


def _gradients(trace: Numbers, step: Step, layer: ArticleLayer) -> Shown:
    """Equations (5) and (6): ΔW = E Oᵀ, Δb = E; the columns of a batch are its samples."""
    i, before = subscript(layer.number), subscript(layer.number - 1)
    many = len(step.inputs[0]) > 1
    error = Matrix(f"E{i}", step.inputs[0], "transposed")
    below = Matrix(f"O{before}ᵀ", trace[step.path].x)
    rows = [
        Row([Matrix(f"ΔW{before}", step.gradients["weight"]), "=", error, below], Work((1, 2))),
        Row([Matrix(f"Δb{before}", step.gradients["bias"]), "= row sums of" if many else "=", error], Work((1,))),
    ]
    rows = [row if row.checked_work() else Row(row.tokens[:1]) for row in rows]
    texts = [(f"ΔW{before} = E{i} O{before}ᵀ", "(5)"),
             (f"Δb{before} = Σ over samples of E{i}" if many else f"Δb{before} = E{i}", "(6)")]
    lines = [line for line in step.lines if _adds_to_gradient(line)]
    note = note_of(trace, step) or "Each column of E is a sample: the product adds them up." * many
    return Shown("backward", f"The gradients of the weights and biases before layer {layer.number}", step.path,
                 step.number, texts,
                 rows, lines, note, column=layer.number, wires=layer.number - 1)


def _error_through_weights(trace: Numbers, step: Step, layer: ArticleLayer) -> Iterator[Shown]:
    """Equation (4) where the layer has no activation, or several layers in its place; else a part of the next step."""
    if (layer.number > 1 or layer.after) and not _single(trace, layer):
        i, above = subscript(layer.number), subscript(layer.number + 1)
        letter, number = ("∂e/∂O", "") if layer.after else ("E", "(4)")
        row = Row([Matrix(letter + i, step.outputs[0], "column"), "=", *_back(step, layer)], Work((1, 2)))
        lines = [line for line in step.lines if not _adds_to_gradient(line)]
        texts = [(f"{letter}{i} = W{i}ᵀ E{above}", number)]
        yield Shown("backward", f"The error of layer {layer.number}", step.path, step.number, texts, [row], lines,
                    column=layer.number, wires=layer.number, values=(letter, step.outputs[0]))


def _error(trace: Numbers, step: Step, layer: ArticleLayer, layers: Sequence[ArticleLayer]) -> Shown:
    """Equation (3) at the last layer, (4) at the others: E_i = (W_iᵀ E_{i+1}) ∘ O_i′."""
    i, above = subscript(layer.number), subscript(layer.number + 1)
    result = Matrix(f"E{i}", step.outputs[0], "column")
    slope = trace[step.path].slope
    assert slope is not None
    factor = Matrix(f"O{i}′", slope, "column")
    if layer.number == len(layers):
        given = Matrix(f"∂e/∂O{i}", step.inputs[0], "column")
        row, text, number = Row([result, "=", given, "∘", factor], Work((), ((1.0, 1),), 2)), f"∂e/∂O{i} ∘ O{i}′", "(3)"
        lines = list(step.lines)
    else:
        upper = trace[layers[layer.number].affine or ""].backward
        assert upper is not None
        row = Row([result, "= (", *_back(upper, layer), ") ∘", factor], Work((1, 2), (), 3))
        text, number = f"(W{i}ᵀ E{above}) ∘ O{i}′", "(4)"
        lines = [line for line in upper.lines if not _adds_to_gradient(line)] + list(step.lines)
    x, y = Matrix(f"I{i}", trace[step.path].x, "column"), Matrix(f"O{i}", trace[step.path].y, "column")
    rows = [row, *slope_rows(step.part, factor, x, y)]
    rows += [gradient_row(trace, step, name, gradient) for name, gradient in step.gradients.items()]
    own = renamed(slope_equation(step.part), {"x": x.symbol, "y": y.symbol})
    return Shown("backward", f"The error of layer {layer.number}: {named(step.part)}", step.path, step.number,
                 [(f"E{i} = {text}", number), *([(f"O{i}′ = {own}", "")] if own else [])], rows, lines,
                 note_of(trace, step), column=layer.number,
                 wires=layer.number if layer.number < len(layers) else 0, values=("E", step.outputs[0]))


def _update(trace: Numbers, step: Step, layer: ArticleLayer) -> Shown:
    """Equation (7), if the optimizer is plain gradient descent."""
    name = step.path.rpartition(".")[2]
    symbol = {"weight": "W", "bias": "b"}.get(name, name) + subscript(layer.number - 1)
    row = update_row(step, symbol, f"Δ{symbol}", "matrix")
    own = [(text, "") for text in equations(step.part).update]
    texts = [(f"{symbol} ← {symbol} − η Δ{symbol}", "(7)")] if row.checked_work() else own
    return Shown("update", f"The update of {symbol}: {named(step.part)}", step.path.rpartition(".")[0], step.number,
                 texts, [row], step.lines, note_of(trace, step), column=layer.number, wires=layer.number - 1)


def _other(trace: Numbers, step: Step, layer: ArticleLayer | None) -> Shown:
    """Any other step, as for a model that is not a chain."""
    shown = shown_step(trace, step)
    if layer is not None:
        shown.column = layer.number
        if step.phase == "backward" and step.outputs and step.path == layer.after[0]:
            shown.values = ("E", step.outputs[0])
    return shown


def _back(step: Step, layer: ArticleLayer) -> list[Matrix | str]:
    """Return Wᵀ and E of the layer above."""
    weight = Matrix(f"W{subscript(layer.number)}ᵀ", step.parameters["weight"], "transposed")
    return [weight, Matrix(f"E{subscript(layer.number + 1)}", step.inputs[0], "column")]


def _single(trace: Numbers, layer: ArticleLayer) -> bool:
    """Whether the layer has one activation, of which O′ is known."""
    return len(layer.after) == 1 and layer.number > 1 and trace[layer.after[0]].slope is not None


def _adds_to_gradient(line: Line) -> bool:
    return any(name.endswith(".grad") for name in line.made)
