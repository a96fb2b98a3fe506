"""Write the program of one kind of network: a plain Python function that calls one kernel for each layer.

In the source ``a0`` is the input of a batch, and ``a1``, ``a2``, … are the outputs of the layers; ``g1``, ``g2``, … are
the gradients of the error with respect to them. Names of a layer end in its path: ``weight_0``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..errors import CompileError
from ..layers.base import Layer
from ..losses import Loss
from ..optimizers import L1, L2, Clip, Optimizer, Penalty
from .chain import Link, all_can_descend, check_loss, check_parameters, linked, names
from .kernels import LAYERS, ONE_ROW, ONE_ROW_DESCENT
from .kernels.data import fetch_rows, fetch_sample_weight, fetch_targets, transposed
from .kernels.gradients import CLIPS, penalty_backward, penalty_value
from .kernels.language import Argument, Kernel, Kernels, Real, Vector
from .kernels.losses import LOSSES
from .kernels.optimizers import OPTIMIZERS, PLAIN_SGD, step_of
from .source import module_source, parameters_of

FEW_LAYERS = 16
"""Most layers of a chain in which the kernels of batches are inlined. Inlining saves up to a tenth of an update, and
doubles the time to compile a long chain."""


class Program:
    """The calls of kernels, line by line, and the meaning of their arguments.

    Attributes:
        arguments: Maps the name of each argument that only some programs have to its meaning.
        functions: Maps names in the source to functions of the user.
        tools: Text of functions that the program needs besides its kernels.
    """

    tools: ClassVar = ""

    def __init__(self) -> None:
        self.arguments: dict[str, Argument] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self._kernels: list[Kernel] = []
        self._flat: dict[str, str] = {}
        self._transposed: dict[str, str] = {}
        self._part = ""

    def matrices(self, letter: str, first: int, last: int) -> None:
        """Note the matrices between layers, such as ``a0``, ``a1``, …, ``a3``."""
        places = range(first, last + 1)
        self.arguments |= {f"{letter}{n}": Argument("memory", shape=("rows", "features"), place=n) for n in places}

    def layer_call(self, kernel: Kernel, link: Link, number: int) -> str:
        """Write the call of a kernel of layer ``number``."""
        fixed = {"x": f"a{number}", "y": f"a{number + 1}", "grad": f"g{number + 1}", "dx": f"g{number}",
                 "other_x": f"a{link.other}", "other_grad": f"g{link.other + 1}", "learning_rate": "rates[batch]",
                 "inputs": f"widths[{number}]"}
        own = link.kernels.arguments(link.layer, number)
        return self.call(kernel, fixed, own, "_" + (link.path.replace(".", "_") or "layer"))

    def call(self, kernel: Kernel, fixed: Mapping[str, str], own: dict[str, Argument], suffix: str = "") -> str:
        """Write the call of a kernel, and note its arguments.

        Args:
            kernel: The kernel.
            fixed: Maps the names that every kernel of this kind may use to their names in the source.
            own: Maps the names that the row of the kernel declares to their meanings.
            suffix: The end of their names in the source.
        """
        self._kernels.append(kernel)
        given = [
            self._seen(fixed[name] if name in fixed else self._own(name, own, suffix), annotation)
            for name, annotation in parameters_of(kernel).items()
        ]
        return f"{kernel.__name__}({', '.join(given)})"

    def _own(self, name: str, own: dict[str, Argument], suffix: str) -> str:
        """Note a declared argument; return its text."""
        argument, label = own[name], name + suffix
        match argument.kind:
            case "function":
                self.functions[label] = argument.value
            case "transposed":
                self._transposed[label] = self._own(argument.name, own, suffix)
            case _:
                self.arguments[label] = argument
        drawn = self._drawn(argument.place)
        return label + {"uniform": drawn, "vector": self._part, "sequence": "[batch]"}.get(argument.kind, "")

    def _drawn(self, place: int) -> str:
        """Write which of the random numbers of a layer a batch uses."""
        return "[batch]"

    def _seen(self, text: str, annotation: Any) -> str:
        """Write an argument in the form that the kernel expects."""
        if annotation is Vector and text in self.arguments and self.arguments[text].kind == "memory":
            self._flat[f"flat_{text}"] = text
            return f"flat_{text}"
        return f"real({text})" if annotation is Real else text

    def module(self, title: str, dtype: np.dtype[Any], function: list[str], *, inline: bool = True) -> str:
        """Write the module: a title, the kernels, and the function that calls them."""
        kernels = module_source(self._kernels, dtype, inline=inline)
        return "\n".join([f'"""{title}, {dtype}."""', "", kernels, self.tools, "", *function, ""])


class TrainingProgram(Program):
    """Forward, loss, backward and step for one batch after the other.

    Args:
        model: A `Sequential`, nested ones included, or a single layer.
        loss: A built-in loss.
        optimizer: A built-in optimizer.
        one_row: Whether each batch is a single row.
        penalties: Built-in penalties on parameters of the optimizer.
        clip: A built-in clip.

    Raises:
        CompileError: something cannot be compiled; the message names it.

    Attributes:
        links: The layers.
        source: The program: a module with a function ``train``.
        in_parts: Whether each step updates one part of the vectors after the other, even if nothing is frozen.
    """

    in_parts: ClassVar = False
    tables: ClassVar = (LAYERS, ONE_ROW, ONE_ROW_DESCENT)
    """The kernels of layers: for any batch, for single rows, and for plain SGD on single rows."""

    given: ClassVar[tuple[str, ...]] = (
        "rows_x", "rows_y", "rows_sample_weight", "orders", "begin", "size", "rates", "step", "totals"
    )
    """The arguments that every program has: the data; for each epoch the order of its rows, empty for the order of the
    data; the first position in the first order; rows of a batch; learning rates; number of the first step; for each
    epoch the sum of losses so far."""

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        *,
        one_row: bool,
        penalties: tuple[Penalty, ...] = (),
        clip: Clip | None = None,
    ) -> None:
        super().__init__()
        layers, single_row, descent = self.tables
        links = linked(model, single_row if one_row else layers)
        if type(loss) not in LOSSES:
            raise CompileError(f"expected a loss among {names(LOSSES)}, got {loss!r}")
        check_loss(loss, LOSSES[type(loss)])
        if type(optimizer) not in OPTIMIZERS:
            raise CompileError(f"expected an optimizer among {names(OPTIMIZERS)}, got {type(optimizer).__name__}")
        vector = optimizer.vector
        learned = {id(parameter) for parameter in vector.parameters if not parameter.frozen}
        check_parameters(links, learned)
        if clip is not None and type(clip) not in CLIPS:
            raise CompileError(f"expected a clip among {names(CLIPS)}, got {clip!r}")
        for penalty in penalties:
            if type(penalty) not in (L1, L2) or not set(penalty.parameters) <= set(vector.parameters):
                raise CompileError(f"expected penalties L1 or L2 on parameters of the optimizer, got {penalty!r}")
        steps = step_of(optimizer)
        if one_row and steps == [PLAIN_SGD] and not (penalties or clip) and all_can_descend(links, learned):
            links = [link._replace(kernels=descent.get(type(link.layer), link.kernels)) for link in links]
            steps = []
        self.links = links
        last = len(links)
        first = min(k for k, link in enumerate(links) if any(id(p) in learned for p in link.parameters.values()))
        without_dx = links[first].kernels.backward_parameters
        self.matrices("a", 0, last)
        self.matrices("g", first + (without_dx is not None), last)
        self.arguments["target"] = Argument("target", loss, shape=("rows",))
        self.arguments["sample_weight"] = Argument("memory", shape=("rows",))
        self._kernels += [fetch_rows, fetch_targets, fetch_sample_weight]
        prediction, gradient = self.ends(last)
        fixed = {"prediction": prediction, "target": "target", "sample_weight": "sample_weight",
                 "gradient": gradient, "flat_gradient": gradient}
        row = LOSSES[type(loss)]
        self._forward = [
            "order = orders[epoch]",
            "fetch_rows(rows_x, order, first, a0)",
            "fetch_targets(rows_y, order, first, target)",
            "fetch_sample_weight(rows_sample_weight, order, first, sample_weight)",
            *(self.layer_call(link.kernels.forward, link, number) for number, link in enumerate(links)),
            f"error = {self.call(row.kernel, fixed, row.arguments(loss), '_loss')}",
        ]
        strengths = {
            name: Argument("penalty", [penalty for penalty in penalties if type(penalty) is kind])
            for name, kind in (("l1", L1), ("l2", L2))
        }
        self._forward += [
            f"extra = {self.call(penalty_value, {'values': 'values'}, strengths)}", "error += extra"
        ] if penalties else []
        self._backward = []
        for number in reversed(range(first, last)):
            kernels = links[number].kernels
            kernel = (without_dx if number == first else None) or kernels.backward
            self._backward.append(self.layer_call(kernel, links[number], number))
        # Frozen parameters are between the others in the vectors: the step updates only the parts that learn.
        if self.in_parts or any(parameter.frozen for parameter in vector.parameters):
            self.arguments["learning"] = Argument("learning")
            self._part = "[low:high]"
        own = {name: Argument("vector", vector, name) for name in ("values", "gradients")}
        self._added = [
            self.call(penalty_backward, {name: name + self._part for name in strengths}, own)
        ] if penalties else []
        fixed = {"learning_rate": "rates[batch]", "step": "step + batch"}
        self._step = [self.call(step.kernel, fixed, own | step.arguments(optimizer)) for step in steps]
        places, fixed = {"places": Argument("places", clip)}, {"gradients": "gradients"}
        self._clip = [
            f"wrong = {self.call(row.kernel, fixed, places | row.arguments(clip))}"
            for kind, row in CLIPS.items() if type(clip) is kind
        ]
        title = f"{class_names(links)} -> {type(loss).__name__}, {type(optimizer).__name__}"
        body = self._body(one_row)
        self.source = self.module(title, vector.values.dtype, [
            f"def train({', '.join([*self.given, *self.arguments])}):", *(f"    {line}" for line in body),
        ], inline=one_row or last <= FEW_LAYERS)

    def ends(self, last: int) -> tuple[str, str]:
        """Name the prediction and the gradient of the loss."""
        return f"a{last}", f"g{last}"

    def _body(self, one_row: bool) -> list[str]:
        """Write the loop over the batches."""
        flat = [f"{name} = flat({array})" for name, array in self._flat.items()]
        once, each_batch = flat, []
        if not one_row:
            rows = "rows = size if first + size + 1 < end else end - first"  # A single row joins the batch before it.
            once, each_batch = [], [rows, *self._rows_of("[:rows]"), *flat]
        lines = [
            *each_batch,
            *self._forward,
            "if not isfinite(error):",
            "    return batch",
            "totals[epoch] += error * len(a0)",
            *self._backward,
            *self._each_part(self._added),
            *(line for clip in self._clip for line in (clip, "if not isfinite(wrong):", "    return batch")),
            *self._each_part(self._step),
            "first += len(a0)",
            "if first == end:",
            "    epoch, first = epoch + 1, 0",
        ]
        return ["epoch, first, end = 0, begin, len(rows_x)", *once, "for batch in range(len(rates)):",
                *(f"    {line}" for line in lines), "return -1"]

    def _each_part(self, lines: list[str], parts: str = "len(learning)") -> list[str]:
        """Write that some lines are done for each part of the vectors, if the step is done in parts."""
        if not self._part or not lines:
            return lines
        return [f"for part in range({parts}):", "    low, high = learning[part, 0], learning[part, 1]",
                *(f"    {line}" for line in lines)]

    def _rows_of(self, some: str) -> list[str]:
        """Write that some rows of the memory for rows are used; rename it in the arguments."""
        with_rows = [name for name, argument in self.arguments.items() if "rows" in argument.shape]
        self.arguments = {f"all_{name}" if name in with_rows else name: a for name, a in self.arguments.items()}
        return [f"{name} = all_{name}{some}" for name in with_rows]


class PredictionProgram(Program):
    """The forward pass for one block of rows after the other.

    The program gets the parameters by their addresses: Numba takes as long to unpack an array as for a
    thousand multiplications.

    Args:
        model: A `Sequential`, nested ones included, or a single layer.
        table: The kernels of its layers.
        dtype: float64 or float32.

    Attributes:
        source: The program: a module with a function ``predict``.
        parameters: Maps the name of each parameter in the source to its meaning, in the order of ``places``.
        buffers: The arguments that are buffers.
        numbers: The arguments that are numbers; they come last.
    """

    given = ("places", "block", "x", "y")
    """The arguments that every program has: the widths of ``a0``, ``a1``, …, followed by the address and the shape of
    each parameter; rows of a block; input and output."""

    def __init__(self, model: Layer, table: dict[type[Layer], Kernels], dtype: np.dtype[Any]) -> None:
        super().__init__()
        links = linked(model, table)
        last = len(links)
        self.matrices("a", 0, last)
        calls = [
            self.layer_call(link.kernels.predict or link.kernels.forward, link, number)
            for number, link in enumerate(links)
        ]
        if self._transposed:
            self._kernels.append(transposed)
        ends = "a0", f"a{last}"
        memory = {name: a for name, a in self.arguments.items() if a.kind == "memory" and name not in ends}
        self.parameters, self.buffers, self.numbers = (
            {name: a for name, a in self.arguments.items() if a.kind == kind}
            for kind in ("parameter", "buffer", "number")
        )
        self.source = self.module(class_names(links), dtype, [
            f"def predict({', '.join([*self.given, *self.buffers, *self.numbers])}):",
            *self._arrays(last + 1),
            *(f"    {name} = transposed({weight})" for name, weight in self._transposed.items()),
            *(f"    all_{name} = np.empty({_size(argument)}, real)" for name, argument in memory.items()),
            "    for begin in range(0, len(x), block):",
            "        rows = min(block, len(x) - begin)",
            f"        a0, a{last} = x[begin:begin + rows], y[begin:begin + rows]",
            *(f"        {name} = all_{name}{'[:rows]' * ('rows' in a.shape)}" for name, a in memory.items()),
            *(f"        {name} = flat({stream})" for name, stream in self._flat.items()),
            *(f"        {line}" for line in calls),
        ])

    def _arrays(self, place: int) -> Iterator[str]:
        """Write how each parameter becomes an array again; the first one is at this place of ``places``."""
        for name, argument in self.parameters.items():
            shape = "".join(f"places[{place + 1 + axis}], " for axis in range(argument.value.value.ndim))
            yield f"    {name} = carray(pointer(places[{place}]), ({shape}), real)"
            place += 1 + argument.value.value.ndim


def _size(memory: Argument) -> str:
    """Write the shape of the memory of a block."""
    sizes = {"rows": "block", "features": f"places[{memory.place}]"}
    return f"({', '.join(sizes[dimension] for dimension in memory.shape)})"


def class_names(links: list[Link]) -> str:
    """Return the class names of a chain, as text."""
    return " -> ".join(type(link.layer).__name__ for link in links)
