"""A regressor for scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from typing_extensions import override

from ..errors import ArgumentError
from ..layers import Activation, Layer, Sigmoid
from ..losses import HalfSquaredError, Loss, PoissonLoss
from ._bases import RegressorMixin
from ._network import Network, by_batches
from ._rows import pieces


class NetworkRegressor(RegressorMixin, Network):
    """Predict a number, or several, by a network.

    Its arguments and attributes are those of `NetworkClassifier`, without ``class_weight`` and ``classes_``. The loss
    is by default `HalfSquaredError`. The network learns best if y has about the mean 0 and the deviation 1: scale it by
    scikit-learn's ``TransformedTargetRegressor``. With `PoissonLoss`, for counts, it predicts the rate, which is the
    exponential of what its networks compute.

    Example:
        >>> x = np.linspace(-2, 2, 50)[:, None]
        >>> model = NetworkRegressor((20,), "tanh", solver="lbfgs", ensemble=5, random_state=0)
        >>> mean, spread = model.fit(x, np.sin(2 * x[:, 0])).predict([[0.5], [6.0]], return_std=True)
        >>> bool(abs(mean[0] - np.sin(1)) < 0.02 and spread[1] > 10 * spread[0])
        True
    """

    loss_function_: Loss
    n_outputs_: int
    _numeric = True

    @override
    def _targets(self, y: npt.NDArray[Any], first: bool, classes: Any) -> npt.NDArray[Any]:
        if first:
            self._flat, self.n_outputs_ = y.ndim == 1, 1 if y.ndim == 1 else y.shape[1]
            self.loss_function_ = self._loss(HalfSquaredError())
        return y[:, None] if y.ndim == 1 else y

    @override
    def _ending(self) -> type[Layer] | None:
        return Sigmoid if self.loss_function_.from_logits else None

    @override
    def _link(self) -> Callable[[], Layer] | None:
        if isinstance(self.loss_function_, PoissonLoss):  # The network learns the logarithm of the rate.
            return partial(Activation, np.exp, np.exp)
        return super()._link()

    @available_if(by_batches)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go through some rows once, and keep what was learned before."""
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict each row; of an ensemble, the mean of its networks.

        Args:
            X: Input, ``(rows, features)``.
            return_std: Whether to return the spread of the ensemble as well: the standard deviation of the predictions
                of its networks (with n − 1).

        Returns:
            ``(rows,)`` if y was of that shape in `fit`, else ``(rows, outputs)``; with ``return_std`` two such arrays.
        """
        if not return_std:
            return self._shaped(self._output(X))
        check_is_fitted(self, "model_")
        if len(self.models_) == 1:
            raise ArgumentError("NetworkRegressor.predict(return_std): expected an ensemble, got one network, which "
                                "has no spread; fit with ensemble=10")
        X, members = self._checked_input(X), self.model_.layers
        outputs = np.concatenate([np.stack([member.predict(piece) for member in members]) for piece in pieces(X)], 1)
        return self._shaped(outputs.mean(axis=0)), self._shaped(outputs.std(axis=0, ddof=1))

    def _shaped(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return y[:, 0] if self._flat and y.shape[1] == 1 else y
