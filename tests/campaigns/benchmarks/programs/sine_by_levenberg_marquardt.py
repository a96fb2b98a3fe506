"""The sine experiment by Levenberg–Marquardt, to a mean squared error of 1e-6."""

import numpy as np

from minidl import Sigmoid, mlp
from minidl.initializers import Normal
from minidl.solvers import levenberg_marquardt

x = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
y = np.sin(x)
model = mlp([1, 20, 20, 1], activation=Sigmoid, weight_initializer=Normal(), bias_initializer=Normal(), rng=0)
levenberg_marquardt(model, x, y, goal=1e-6)
assert np.mean((model.predict(x) - y) ** 2) <= 1e-6
