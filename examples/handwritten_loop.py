"""Train without the Trainer: forward, backward and step, written out.

Two rings of points are told apart. The loop is all that there is: whatever should happen in the middle of a training
can be written into it. Here it stops as soon as 99 % of some held-out points are right.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import SGD, Array, Dense, Sequential, SigmoidCrossEntropy, Tanh, batches
from minidl.inspection import plot_decision

PICTURE = Path("pictures/handwritten_loop.png")


def rings(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Return points around the circles of radius 1 and 2, and the label 1 for the outer one."""
    outer = rng.integers(2, size=(count, 1)).astype(float)
    angle = rng.uniform(0.0, 2.0 * np.pi, size=(count, 1))
    radius = 1.0 + outer + rng.normal(0.0, 0.15, size=(count, 1))
    return np.hstack([radius * np.cos(angle), radius * np.sin(angle)]), outer


def accuracy(model: Sequential, x: Array, y: Array) -> float:
    """Return the share of points on the right ring; the model gives logits, so the border is at 0."""
    return float(np.mean((model.predict(x) > 0.0) == (y == 1.0)))


def train(rng: np.random.Generator, x: Array, y: Array, held_out: tuple[Array, Array]) -> Sequential:
    """Train a 2-16-1 network until it is good enough, for at most 200 epochs."""
    model = Sequential(Dense(2, 16), Tanh(), Dense(16, 1)).initialize(rng)
    loss = SigmoidCrossEntropy()
    optimizer = SGD(model.parameters(), learning_rate=0.1, momentum=0.9)
    for epoch in range(200):
        total = 0.0
        for batch_x, batch_y in batches(x, y, batch_size=16, rng=rng):
            total += loss.forward(model.forward(batch_x), batch_y) * len(batch_x)
            model.backward(loss.backward())
            optimizer.step()
        right = accuracy(model, *held_out)
        print(f"epoch {epoch}: loss {total / len(x):.4f}, held-out accuracy {right:.1%}")
        if right >= 0.99:
            break
    return model


def main() -> None:
    rng = np.random.default_rng(0)
    x, y = rings(rng, 500)
    held_out = rings(rng, 500)
    model = train(rng, x, y, held_out)
    try:
        picture = plot_decision(model, *held_out)
    except ImportError:
        print("no picture: matplotlib is not installed")
    else:
        PICTURE.parent.mkdir(exist_ok=True)
        picture.savefig(PICTURE)
        print(f"picture: {PICTURE}")
    assert accuracy(model, *held_out) >= 0.98


if __name__ == "__main__":
    main()
