"""The libraries: each trains the network of a job by Adam, on one thread, and predicts the test rows."""

from __future__ import annotations

import time
import warnings
from importlib import import_module
from itertools import chain
from math import inf
from typing import Any, NamedTuple, Protocol

from sklearn.neural_network import MLPClassifier, MLPRegressor

from minidl import (
    Adam,
    HalfSquaredError,
    ReLU,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Trainer,
    mlp,
)
from tests.campaigns.datasets.jobs import Array, Job


class Outcome(NamedTuple):
    """The result of a training.

    Attributes:
        losses: Of each epoch, the mean over the training rows of the loss when their batch was trained.
        seconds: Processor time of the training. On one thread of an idle machine a clock shows the same.
        prediction: Labels or values of the test rows.
    """

    losses: list[float]
    seconds: float
    prediction: Array


class Library(Protocol):
    """Train the network of a job for some epochs."""

    def __call__(self, job: Job, epochs: int) -> Outcome: ...


def by_minidl(engine: Any) -> Library:
    """Make `Trainer.fit` by an engine."""

    def train(job: Job, epochs: int) -> Outcome:
        activation = Sigmoid if job.data_set.activation == "sigmoid" else ReLU
        model = mlp(job.sizes, activation=activation, rng=0)
        for parameter, array in zip(model.parameters(), chain.from_iterable(job.weights), strict=True):
            parameter.value = array
        loss = (SoftmaxCrossEntropy if job.classes > 2 else SigmoidCrossEntropy if job.classes else HalfSquaredError)()
        optimizer = Adam(model.parameters(), job.data_set.learning_rate)
        y = job.y.astype(float) if job.classes == 2 else job.y
        trainer = Trainer(model, loss, optimizer, rng=job.seed, engine=engine)
        began = time.process_time()
        history = trainer.fit(job.x, y, epochs=epochs, batch_size=job.data_set.batch, shuffle=job.data_set.shuffle,
                              progress=False)
        seconds = time.process_time() - began
        outputs = model.predict(job.x_test)
        return Outcome(history.loss, seconds, job.labels(outputs) if job.classes else outputs)

    return train


def by_sklearn(job: Job, epochs: int) -> Outcome:
    """Fit scikit-learn's MLP: no penalty, no early stop. A warm start begins from our first weights with a new Adam."""
    last, data_set = job.sizes[-1], job.data_set
    model = (MLPClassifier if job.classes else MLPRegressor)(
        hidden_layer_sizes=data_set.hidden,
        activation="logistic" if data_set.activation == "sigmoid" else "relu",
        solver="adam",
        alpha=0.0,
        batch_size=data_set.batch,
        learning_rate_init=data_set.learning_rate,
        max_iter=1,
        tol=0.0,
        n_iter_no_change=inf,
        shuffle=data_set.shuffle,
        random_state=job.seed,
        warm_start=True,
    )
    y = job.y[:, 0] if job.y.shape[1:] == (1,) else job.y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It warns that max_iter was reached.
        model.fit(job.x, y)
        model.coefs_ = [weight.T.copy() for weight, _ in job.weights]
        model.intercepts_ = [bias.copy() for _, bias in job.weights]
        model.set_params(max_iter=epochs)
        began = time.process_time()
        model.fit(job.x, y)
        seconds = time.process_time() - began
    # Its squared loss is the mean over the outputs, while its gradient is that of the sum.
    losses = [float(loss) * (1 if job.classes else last) for loss in model.loss_curve_[-epochs:]]
    prediction = model.predict(job.x_test)
    return Outcome(losses, seconds, prediction if job.classes else prediction.reshape(-1, last))


def by_torch(job: Job, epochs: int, **how: bool) -> Outcome:
    """Train in PyTorch by a plain loop over slices of shuffled tensors, which is faster than a DataLoader.

    Args:
        job: The job.
        epochs: Passes over the rows.
        how: ``fused=True`` or ``foreach=True``: Adam's steps for all parameters at once.
    """
    torch: Any = import_module("torch")
    torch.set_num_threads(1)
    nn, data_set = torch.nn, job.data_set
    layers = []
    for weight, bias in job.weights:
        layers += [nn.Linear(*weight.T.shape, dtype=torch.float64)]
        layers[-1].load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
        layers += [nn.Sigmoid() if data_set.activation == "sigmoid" else nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    loss: Any = (nn.CrossEntropyLoss if job.classes > 2 else nn.BCEWithLogitsLoss if job.classes else nn.MSELoss)()
    # MSELoss is the mean over the outputs of a row, without ½. Adam's steps are the same with ε divided by that factor.
    factor = 1.0 if job.classes else 0.5 * job.sizes[-1]
    optimizer = torch.optim.Adam(model.parameters(), data_set.learning_rate, eps=1e-8 / factor, **how)
    x = torch.from_numpy(job.x)
    y = torch.from_numpy(job.y.astype(float)[:, None] if job.classes == 2 else job.y)
    generator, losses = torch.Generator().manual_seed(job.seed), []
    began = time.process_time()
    for _ in range(epochs):
        total = 0.0
        if data_set.shuffle:
            order = torch.randperm(len(x), generator=generator)
            x, y = x[order], y[order]
        for rows, targets in zip(x.split(data_set.batch), y.split(data_set.batch), strict=True):
            optimizer.zero_grad()
            error = loss(model(rows), targets)
            error.backward()
            optimizer.step()
            total += error.item() * len(rows)
        losses.append(factor * total / len(x))
    seconds = time.process_time() - began
    with torch.inference_mode():
        outputs: Array = model(torch.from_numpy(job.x_test)).numpy()
    return Outcome(losses, seconds, job.labels(outputs) if job.classes else outputs)
