"""The sine experiment by online SGD; the argument is the number of epochs."""

import sys

import numpy as np

from minidl import SGD, HalfSquaredError, Sigmoid, Trainer, mlp
from minidl.initializers import Normal

x = np.linspace(0.0, 3.0 * np.pi, 200)[:, None]
y = np.sin(x)
model = mlp([1, 20, 20, 1], activation=Sigmoid, weight_initializer=Normal(), bias_initializer=Normal(), rng=0)
trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), learning_rate=0.05), rng=0)
trainer.fit(x, y, epochs=int(sys.argv[1]), batch_size=1)
