"""Trace random models, and compare with a training pass: ``python -m tests.campaigns.traces --count 500``.

The models, losses, optimizers, penalties and clips are those of `tests.campaigns.jobs`. The training pass is that of
the Trainer in NumPy. Compared bit for bit: error, prediction, gradients at the step, and the new parameters. A trace
changes nothing, and the last number under the code of each step is the number that the step shows.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from functools import reduce
from typing import Any

import numpy as np

from minidl import Parameter, Trainer
from minidl._core.generators import drawing_from
from minidl._training.numpy_engine import NumpyEngine
from minidl.inspection import Step, Trace, trace
from minidl.schedules import Epochs
from tests.campaigns.jobs import Job
from tests.support.whole_state import whole


def trained(trainer: Trainer, batch: tuple[Any, ...]) -> tuple[float, dict[str, bytes], dict[str, bytes]]:
    """Make one update; return the error, and for each parameter the bits of its gradient and of its new value."""
    parameters = trainer.model.named_parameters()
    gradients: dict[str, bytes] = {}
    step = trainer.optimizer.step

    def noted() -> None:
        gradients.update({path: bits_of_gradient(parameter) for path, parameter in parameters.items()})
        step()

    trainer.optimizer.step = noted  # type: ignore[method-assign]
    error = NumpyEngine(trainer._run, ()).update(batch)
    return error, gradients, {path: bits(parameter.value) for path, parameter in parameters.items()}


def bits(array: Any) -> bytes:
    """Return the bits of an array; −0 is 0."""
    found: bytes = (np.asarray(array) + 0.0).tobytes()
    return found


def bits_of_gradient(parameter: Parameter) -> bytes:
    return bits(parameter._memory() if parameter.has_grad else np.zeros_like(parameter.value))


def broken(seed: int) -> str | None:
    """Trace one random model; return what does not hold."""
    job = Job(seed, numba=False)
    one, other = fresh(job), fresh(job)
    rows = min(job.rows, max(job.batch, 2))
    batch = tuple([array[:rows] for array in (job.x, job.y, job.weight) if array is not None])
    before = whole(one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        more: dict[str, Any] = {"optimizer": one.optimizer, "penalties": one.penalties, "clip": one.clip}
        t = trace(one.model, one.loss, *batch, **more)
        plain = trace(one.model, one.loss, *batch, **more, lines=False)
        cast = [np.asarray(array, job.dtype) if array.dtype.kind == "f" else array for array in batch]
        if cast[1].dtype.kind in "iub" and cast[1].ndim == 2:
            cast[1] = cast[1].astype(job.dtype)
        error, gradients, values = trained(other, tuple(cast))
    problems = [] if whole(one) == before else ["the trace changed something"]
    for found in (t, plain):
        after = {step.path: bits(step.outputs[0]) for step in found.steps if step.phase == "update" and step.outputs
                 and step.path in values}  # fmt: skip
        problems += ["error"] if bits(found.error) != bits(error) else []
        held = {path: bits(gradient) for path, gradient in found.gradients.items()}
        frozen = {path for path, own in one.model.named_parameters().items() if own.frozen}
        learned = [path for path in gradients if path not in frozen]
        problems += [f"gradient of {path}" for path in learned if held[path] != gradients[path]]
        problems += [f"value of {path}" for path in after if after[path] != values[path]]
        problems += [f"no update of {path}" for path in values if path not in after and path not in frozen]
    problems += unlike(t)
    return f"seed {seed}: {problems}\n{job}\n" if problems else None


def fresh(job: Job) -> Trainer:
    with drawing_from(np.random.default_rng(job.seed)):
        trainer = job.trainer("numpy")
    trainer.optimizer.epochs = Epochs(0, 0, 5)
    return trainer


def unlike(t: Trace) -> list[str]:
    """List steps that do not show the last number that their code made, and sums that are not of their inputs."""
    found = []
    for step in t.steps:
        if step.is_sum and not np.allclose(reduce(np.add, step.inputs), step.outputs[0], 1e-6, 1e-12):
            found.append(f"{step}: not the sum of its inputs")
        if step.lines and not shows_last(step):
            found.append(f"{step}: its code made another number")
        found += [f"{step}: no line makes the gradient of {name}" for name in step.gradients if not shows(step, name)]
    return found


def shows_last(step: Step) -> bool:
    """Whether the last number that the code of a step made is what the step shows as made."""
    *_, last = step.lines[-1].made.items()
    many = last[0].endswith("]") and last[0].startswith("return[")
    wanted = step.outputs[-1] if step.outputs else list(step.gradients.values())[-1]
    if many and step.outputs:
        wanted = step.outputs[int(last[0][7:-1])]
    corner = (slice(8),) * last[1].numbers.ndim  # A step keeps 8 rows, a line of a large array 8 of each axis.
    return np.array_equal(last[1].numbers[corner], wanted[corner], equal_nan=True)


def shows(step: Step, name: str) -> bool:
    """Whether a line of a step made the gradient that it shows; a part without lines, and one without, counts too."""
    made = [value.numbers for line in step.lines for value in line.made.values()]
    gradient = step.gradients[name]
    return not step.lines or not gradient.any() or any(np.array_equal(gradient, number) for number in made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = [text for seed in range(given.seed, given.seed + given.count) if (text := broken(seed))]
    print(*found, sep="", end="")
    print(f"traces: {given.count} random models, {len(found)} unlike training")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
