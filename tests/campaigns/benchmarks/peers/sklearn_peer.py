"""scikit-learn's MLP, given our first values through its warm start."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from typing_extensions import override

from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import Peer, PredictionCall, Training

sklearn.set_config(assume_finite=True)


class ScikitLearn(Peer):
    """`MLPRegressor` and `MLPClassifier` with solver='sgd' and everything beyond plain SGD turned off."""

    name = "scikit-learn"
    package = "sklearn.neural_network"
    apart = True
    note = (
        "one `fit` of many epochs in the order of the data, or `partial_fit` for each; no checks for finite numbers; "
        "the classifier predicts logits (its last softmax is turned off)."
    )

    @override
    def about(self) -> str:
        return f"scikit-learn {sklearn.__version__}"

    @override
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        if not network.plain:
            return
        x, y = _data(network)
        # Its loss is the mean over the outputs, while its gradient is that of the sum.
        factor = network.sizes[-1] if network.loss == "half squared error" else 1

        def fit(model: Any, epochs: int) -> list[float]:
            model.set_params(max_iter=epochs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(x, y)
            return [float(loss) * factor for loss in model.loss_curve_[-epochs:]]

        def partial_fit(model: Any, epochs: int) -> list[float]:
            return [float(model.partial_fit(x, y).loss_) * factor for _ in range(epochs)]

        yield "fit", partial(fit, _model(network))
        yield "partial_fit", partial(partial_fit, _model(network))

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        model = _model(network)
        model.out_activation_ = "identity"
        predict = model.predict_proba if network.loss == "softmax cross-entropy" else model.predict
        yield "", lambda: predict(x)


def _data(network: Network) -> tuple[Array, Array]:
    x, y = network.data()
    return x, y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y


def _model(network: Network) -> Any:
    """Fit once, so that all attributes are there, and put our first values in their place."""
    make = MLPRegressor if network.loss == "half squared error" else MLPClassifier
    model = make(
        hidden_layer_sizes=network.sizes[1:-1],
        activation="logistic" if network.activation == "sigmoid" else "relu",
        solver="sgd",
        alpha=0.0,
        batch_size=network.batch,
        learning_rate_init=network.learning_rate,
        momentum=0.0,
        nesterovs_momentum=False,
        max_iter=1,
        n_iter_no_change=np.inf,
        shuffle=False,
        warm_start=True,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*_data(network))
    model.coefs_ = [weight.T.copy() for weight, _ in network.initial_values()]
    model.intercepts_ = [bias for _, bias in network.initial_values()]
    return model


PEERS: tuple[Peer, ...] = (ScikitLearn(),)
