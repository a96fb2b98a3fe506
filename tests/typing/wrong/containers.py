"""Things that are not layers, and layers that are not made yet."""

from __future__ import annotations

import numpy as np

from minidl import Activation, Dense, ReLU, Sequential, Sigmoid, mlp

Sequential(Dense(1, 2), ReLU)  # error: [arg-type] has incompatible type "type[ReLU]"; expected "Layer"
Sequential([Dense(1, 2)])  # error: [arg-type] expected "Layer"
Sequential(Dense(1, 2), np.tanh)  # error: [arg-type] expected "Layer"
Dense("1", 2)  # error: [arg-type] has incompatible type "str"; expected "int"
Dense(1.0, 2)  # error: [arg-type] has incompatible type "float"; expected "int"
Dense(1)  # error: [call-arg] Missing positional argument "out_features"
Dense(1, 2, biased=False)  # error: [call-arg] Unexpected keyword argument "biased"
Dense(1, 2, weight_initializer="normal")  # error: [arg-type] expected "Initializer | None"
Activation(np.tanh)  # error: [call-arg] Missing positional argument "derivative"
mlp([1, 2], activation=Sigmoid())  # error: [arg-type] expected "Callable[[], Layer]"
mlp(1)  # error: [arg-type] has incompatible type "int"; expected "Sequence[int]"
Sequential(Dense(1, 2)).initialize(rng="0")  # error: [arg-type] expected "Generator | int | None"
weight: int = Sequential(Dense(1, 2))[0]  # error: [assignment] expression has type "Layer", variable has type "int"
