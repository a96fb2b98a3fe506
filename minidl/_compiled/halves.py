"""Large batches: two threads compute one half of each batch, and then update one half of the weights.

The halves are the same on any number of threads, and so are the bits. Meanwhile BLAS uses one thread: with threads of
its own it would share only the products, and on a busy machine these threads wait for each other on their cores.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np
from typing_extensions import override

from .._core.blas import LEAST, one_blas_thread
from .._core.parameter import Parameter
from .._core.threads import blas_threads, pool
from ..layers.base import Layer
from .chain import linked
from .kernels import LAYERS
from .kernels.language import Argument
from .kernels.rows import add_shares
from .loop import CompiledLoop, aligned
from .program import TrainingProgram

LONGEST = 64
"""Most calls of the program by one thread before it tries again whether the cores are free for two."""


class HalvesProgram(TrainingProgram):
    """Forward, loss and backward for each half of a batch, then the step with the mean of their gradients.

    Threads share its tasks by tickets. Tickets 0 and 1 are the passes of the halves of the first batch, 2 and 3 the
    steps of the halves of the weights, 4 and 5 the passes of the next batch. With a clip 2 and 3 are the means of the
    halves of the gradients, 4 is the clip, 5 does nothing, and 6 and 7 are the steps. The other arguments are those of
    `TrainingProgram`, but there are two of each gradient.
    """

    given = (*TrainingProgram.given, "tickets", "halves", "errors")
    """``tickets`` counts the tasks. ``halves`` holds all gradients of each half, ``errors`` its sum of losses,
    and whether the clip found a number that is not finite."""
    tools = "\n\n" + Path(__file__).with_name("tickets.py").read_text(encoding="utf-8").split('"""', 2)[2]
    in_parts = True

    @override
    def _drawn(self, place: int) -> str:
        return f"[batch][low * a{place}.shape[1]:]"

    @override
    def _body(self, one_row: bool) -> list[str]:
        gradients = [name for name, argument in self.arguments.items() if argument.kind == "gradient"]
        for name in gradients:
            argument = self.arguments.pop(name)
            for half in (0, 1):
                self.arguments[f"{name}_{half}"] = argument._replace(kind="half", place=half)
        sum_up = self.call(add_shares, {
            "first": "halves[0][low:high]", "second": "halves[1][low:high]", "share": "rows // 2 / rows",
            "total": "gradients[low:high]",
        }, {})
        rows = self._rows_of("[low:high]")
        flat = [f"{name} = flat({array})" for name, array in self._flat.items()]
        compute = [
            "low, high = (rows // 2) * half, rows // 2 + (rows - rows // 2) * half",
            "first = number * size + low",
            *(f"{name} = {name}_0 if half == 0 else {name}_1" for name in gradients),
            *rows,
            *flat,
            *self._forward,
            "errors[half] = error * (high - low)",
            *self._backward,
        ]
        own = "len(learning) * half // 2, len(learning) * (half + 1) // 2"
        step = [
            "mean = (errors[0] + errors[1]) / rows",
            "if not isfinite(mean):",
            "    stop(tickets)",
            "    return batch",
            "if half == 0:",
            "    totals[epoch] += mean * rows",
            *self._each_part([sum_up, *self._added, *([] if self._clip else self._step)], own),
        ]
        tasks = [compute, step]
        if self._clip:
            tasks += [
                ["if half == 0:", *(f"    {line}" for line in self._clip), "    errors[2] = wrong"],
                ["if not isfinite(errors[2]):", "    stop(tickets)", "    return batch",
                 *self._each_part(self._step, own)],
            ]
        kinds = [[f"if kind == {kind}:", *(f"    {line}" for line in lines)] for kind, lines in enumerate(tasks)]
        task = [
            "ticket = take(tickets)",
            f"batch, kind, half = ticket // {2 * len(tasks)}, ticket // 2 % {len(tasks)}, ticket % 2",
            "if batch >= len(rates):",
            "    return -1",
            "wait_for(tickets, ticket - half)",
            "epoch, number = divmod(begin // size + batch, per_epoch)",
            "rows = size if number + 1 < per_epoch else end - number * size",
            *(line for lines in kinds for line in lines),
            "finish(tickets)",
        ]
        return ["end = len(rows_x)", "per_epoch = max(1, end // size + (end % size > 1))", "while True:",
                *(f"    {line}" for line in task)]


class HalvesLoop(CompiledLoop):
    """The loop over large batches: see `HalvesProgram`."""

    program = HalvesProgram
    _alone, _pause = 0, 1
    """Calls that one thread still does alone, and how many that will be the next time that the cores are busy."""

    @override
    def _gather(self) -> None:
        super()._gather()
        vector = self._optimizer.vector
        halves = {argument.value: None for argument in self._of_kind("half").values()}
        self._begins = dict(zip(vector.parameters, [place.start for place in vector.slices()], strict=True))
        total = vector.values.size
        for parameter in halves:
            if parameter not in self._begins:  # The optimizer does not hold it.
                self._begins[parameter] = total
                total += parameter.size
        self._halves = aligned((2, total), vector.values.dtype)

    @override
    def _resolved(self, name: str, argument: Argument) -> Any:
        if argument.kind != "half":
            return super()._resolved(name, argument)
        parameter: Parameter = argument.value
        begin = self._begins[parameter]
        return self._halves[argument.place, begin : begin + parameter.size].reshape(parameter.shape)

    @override
    def _call(self, *given: Any) -> int:
        arguments = (*given, np.zeros(32, np.int64), self._halves, np.zeros(3), *self._bound.values())
        helped = self._alone == 0 and blas_threads() > 1
        with one_blas_thread(LEAST + 1, to=sys.maxsize):
            began, worked, others = perf_counter(), thread_time(), []
            with suppress(RuntimeError):  # Python is shutting down, and starts no more threads.
                others += [pool(2).submit(self._train, *arguments)] if helped else []
            bad = [self._train(*arguments)]
            bad += [other.result() for other in others if not other.cancel()]
            taken, worked = perf_counter() - began, thread_time() - worked
        # A thread that does not run all the time makes the other one wait for it.
        if not helped:
            self._alone -= self._alone > 0
        elif taken > 1.5 * worked:
            self._alone, self._pause = self._pause, min(2 * self._pause, LONGEST)
        else:
            self._pause = 1
        return int(max(bad))


def rows_are_independent(model: Layer) -> bool:
    """Return whether no layer of a chain needs all rows of a batch at once, as `BatchNorm` does for their mean.

    Raises:
        CompileError: the model cannot be compiled.
    """
    kernels = [link.kernels for link in linked(model, LAYERS)]
    return all("rows" in shape.__metadata__ for row in kernels for shape in row.memory.values())
