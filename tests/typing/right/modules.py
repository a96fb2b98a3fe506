"""Every public module and every name that is loaded at first use, after ``import minidl`` alone."""

from __future__ import annotations

from typing import assert_type

import minidl

stopping = minidl.callbacks.EarlyStopping(patience=3)
assert_type(stopping.patience, int)
refused: type[ValueError] = minidl.errors.ShapeError
weights: minidl.initializers.Initializer = minidl.initializers.Normal(0, 1)
merge: minidl.layers.Merge = minidl.layers.Add()
loss: minidl.losses.Loss = minidl.losses.HalfSquaredError()
metric: minidl.metrics.Metric = minidl.metrics.r2
model = minidl.mlp([1, 2, 1], weight_initializer=weights)
clip: minidl.optimizers.Clip = minidl.optimizers.ClipNorm(1.0)
optimizer: minidl.optimizers.Optimizer = minidl.SGD(model.parameters(), 0.1)
assert_type(minidl.schedules.__all__, list[str])
assert_type(minidl.solvers.jacobian(model, [[1.0]]), minidl.Array)
assert_type(minidl.testing.check_layer(model), minidl.testing.Report)
assert_type(minidl.trainer.Trainer(model, loss, optimizer, clip=clip).history, minidl.trainer.History)
assert_type(minidl.Predictor(model)([[1.0]]), minidl.Array)
minidl.save(model, "model.safetensors")
assert_type(minidl.load("model.safetensors"), minidl.Layer)
