"""A surrogate model and its sensitivities: learn how far a beam bends, then ask the network for the derivatives.

A cantilever of length L, width b and height h under a load at its end bends by u = L³ / (b h³), in suitable units. A
small network learns u from 250 computed cases; the Jacobian of the network then says how u reacts to L, b and h.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl import Array, Tanh, mlp
from minidl.solvers import jacobian, levenberg_marquardt

NAMES = ("length L", "width b", "height h")


def bending(x: Array) -> Array:
    length, width, height = x.T
    u: Array = length**3 / (width * height**3)
    return u[:, None]


def sensitivities(x: Array) -> Array:
    """∂u/∂L = 3 u / L, ∂u/∂b = −u / b, ∂u/∂h = −3 u / h: what the network is not told."""
    du: Array = bending(x) * np.array([3.0, -1.0, -3.0]) / x
    return du


def save_picture(found: Array, exact: Array, path: Path) -> None:
    """Draw each derivative by the Jacobian over the exact one."""
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    style.use("minidl.style")
    figure = Figure(figsize=(11, 4))
    for axes, name, mine, true in zip(figure.subplots(1, 3), NAMES, found.T, exact.T, strict=True):
        ends = [true.min(), true.max()]
        axes.plot(ends, ends, "k", lw=1)
        axes.plot(true, mine, ".", color="C0", ms=4)
        axes.set(title=f"derivative by {name}", xlabel="exact", ylabel="Jacobian of the network")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    print(f"picture: {path}")


def main() -> None:
    rng = np.random.default_rng(0)
    x, held_out = rng.uniform(1.0, 2.0, (250, 3)), rng.uniform(1.0, 2.0, (250, 3))
    model = mlp([3, 16, 1], activation=Tanh, rng=0)
    result = levenberg_marquardt(model, x, bending(x), validation=(held_out, bending(held_out)), max_iterations=300)
    print(result)

    fresh = rng.uniform(1.05, 1.95, (400, 3))
    found, exact = jacobian(model, fresh)[:, 0, :], sensitivities(fresh)
    value_error = float(np.sqrt(np.mean((model.predict(fresh) - bending(fresh)) ** 2)) / bending(fresh).std())
    slope_error = float(np.sqrt(np.mean((found - exact) ** 2)) / exact.std())
    print(f"relative error of the values {value_error:.1e}, of the sensitivities {slope_error:.1e}")
    save_picture(found, exact, Path("pictures/surrogate_jacobian.png"))
    assert value_error < 1e-3
    assert slope_error < 1e-2


if __name__ == "__main__":
    main()
