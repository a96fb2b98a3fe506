"""A classifier for scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import column_or_1d, compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from typing_extensions import override

from .._core.arrays import real
from .._training.compiled_engine import EngineName
from ..callbacks import Callback
from ..errors import ArgumentError
from ..layers import Layer, Sigmoid, Softmax
from ..losses import CrossEntropy, Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy
from ..optimizers import Optimizer
from ..optimizers.clipping import Clip
from ._bases import ClassifierMixin
from ._network import Network, by_batches


class NetworkClassifier(ClassifierMixin, Network):
    """Classify by a network: two or more classes, or several labels for each row.

    It takes the arguments of scikit-learn's ``MLPClassifier`` by the same names, and models, losses and optimizers of
    minidl. A row of weight k counts as k rows. With several batches this holds for the expected gradient only, because
    the batches differ; layers that count rows, such as BatchNorm, see the row once.

    Args:
        hidden_layer_sizes: Widths of the hidden layers.
        activation: Their activation: ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, or what makes a layer,
            such as ``minidl.GELU``.
        model: A network in place of these two: a function of (in_features, out_features) that makes one, which is then
            initialized; or a layer, of which a copy is trained from its present values.
        loss: The loss, or what makes one; by default `SigmoidCrossEntropy` for two classes and several labels, and
            `SoftmaxCrossEntropy` for more classes. A model under it gives logits, under other losses probabilities.
        solver: ``"adam"``, ``"adamw"``, ``"nadam"``, ``"rmsprop"``, ``"sgd"`` (with Nesterov's momentum 0.9),
            ``"lbfgs"``; or a function of the parameters that makes an optimizer, with all settings of its own.
        learning_rate_init: The learning rate, or a schedule.
        alpha: Strength of the penalty ½ α Σ W² on the sum of the losses, as in scikit-learn.
        batch_size: Rows of one update; ``"auto"`` is 200, or all rows if there are fewer.
        max_iter: Most epochs, or steps of L-BFGS.
        shuffle: Whether each epoch goes through the rows in an order of its own.
        tol: Smallest improvement of the loss that counts; 0 trains for ``max_iter`` epochs. For L-BFGS the largest
            number of the gradient at which it stops.
        n_iter_no_change: Epochs to wait for an improvement; None for ``max_iter``.
        early_stopping: Whether the loss on held-out rows decides, and the best weights are restored.
        validation_fraction: How many of the rows are held out.
        class_weight: ``"balanced"``, or a mapping from classes to weights, which multiply the sample weights.
        ensemble: Number of networks that are trained, each from first values of its own; predictions are their mean.
        clip: How gradients are made smaller, such as ``ClipGlobalNorm(1.0)``; not for ``"lbfgs"``.
        callbacks: What else to do, as in `minidl.callbacks`; not for ``"lbfgs"``.
        engine: What runs the batches, as in `Trainer`.
        warm_start: Whether `fit` continues from the present weights, with the models and the loss of the first fit.
        random_state: Seed of first values and of orders; a seed, a ``RandomState``, or None.
        verbose: Whether to show a bar.

    Attributes:
        model_: The network that predicts, for `minidl.save`: its output is what `predict_proba` returns (for two
            classes the probability of the second), as a mean if there are several networks.
        models_: The networks that were trained, without the last Sigmoid or Softmax of ``model_`` if the loss contains
            it; they share their parameters with it.
        classes_: The classes.
        loss_function_: The loss.
        loss_curve_, validation_loss_curve_: The loss after each epoch, without the penalty; of an ensemble those of
            its first network, as the next three.
        n_iter_: Number of epochs.
        loss_: The last loss.
        stopped_by_: Why the training ended.
        n_features_in_, feature_names_in_, n_outputs_: As in scikit-learn.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> x, y = load_iris(return_X_y=True)
        >>> NetworkClassifier((16,), learning_rate_init=0.01, random_state=0).fit(x, y).score(x, y) > 0.95
        True
    """

    classes_: npt.NDArray[Any]
    loss_function_: Loss
    n_outputs_: int
    _numeric = False

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str | Callable[[], Layer] = "relu",
        *,
        model: Layer | Callable[[int, int], Layer] | None = None,
        loss: Loss | Callable[[], Loss] | None = None,
        solver: str | Callable[[list[Any]], Optimizer] = "adam",
        learning_rate_init: float = 1e-3,
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int | None = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: Mapping[Any, float] | str | None = None,
        ensemble: int = 1,
        clip: Clip | None = None,
        callbacks: Iterable[Callback] | None = None,
        engine: EngineName = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            hidden_layer_sizes, activation, model=model, loss=loss, solver=solver,
            learning_rate_init=learning_rate_init, alpha=alpha, batch_size=batch_size, max_iter=max_iter,
            shuffle=shuffle, tol=tol, n_iter_no_change=n_iter_no_change, early_stopping=early_stopping,
            validation_fraction=validation_fraction, ensemble=ensemble, clip=clip, callbacks=callbacks, engine=engine,
            warm_start=warm_start, random_state=random_state, verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    @override
    def _targets(self, y: npt.NDArray[Any], first: bool, classes: Any) -> npt.NDArray[Any]:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError(f"Unknown label type: {kind}. For several classes in each row use "
                             "sklearn.multioutput.MultiOutputClassifier.")
        several = kind == "multilabel-indicator"
        if not several:
            y = column_or_1d(y, warn=True)
        if first:
            self._note_classes(y, several, classes)
        if several != self._multilabel:
            wanted = "several labels" if self._multilabel else "one class"
            raise ValueError(f"y: expected {wanted} for each row, as in the first fit, got the other kind")
        if several:
            return y
        codes = self._codes(y)
        if self._binary:
            return codes[:, None].astype(float)
        return codes if isinstance(self.loss_function_, SoftmaxCrossEntropy) else np.eye(len(self.classes_))[codes]

    def _note_classes(self, y: npt.NDArray[Any], several: bool, classes: Any) -> None:
        self._multilabel = several
        self.classes_ = np.arange(y.shape[1]) if several else np.unique(y) if classes is None else classes
        count = len(self.classes_)
        if count < 2 and not several:
            raise ValueError(f"NetworkClassifier: expected at least 2 classes in y, got 1 class: {self.classes_[0]!r}")
        self.loss_function_ = self._loss(SigmoidCrossEntropy() if several or count == 2 else SoftmaxCrossEntropy())
        one_each = isinstance(self.loss_function_, (SoftmaxCrossEntropy, CrossEntropy))
        self._binary = count == 2 and not several and not one_each
        self.n_outputs_ = 1 if self._binary else count

    def _codes(self, y: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Return the place of each label in ``classes_``."""
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                             f"'y' has {unknown}.")
        return np.searchsorted(self.classes_, y)

    def _weights(self, y: npt.NDArray[Any], weight: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
        if self.class_weight is None:
            return weight
        if isinstance(self.class_weight, str) and self.class_weight == "balanced" and not self._multilabel:
            # As scikit-learn counts them, but a row of weight k counts as k rows.
            _, codes = np.unique(y, return_inverse=True)
            totals = np.bincount(codes.ravel(), weight)
            own = (totals.sum() / (len(totals) * totals))[codes.ravel()]
        elif isinstance(self.class_weight, Mapping) and not self._multilabel:
            for label, number in self.class_weight.items():
                real(number, f"{self._name('class_weight')}: class {label}", least=0)
            # Of all classes: rows of `partial_fit` may be of a few.
            own = compute_class_weight(dict(self.class_weight), classes=self.classes_, y=y)[self._codes(y)]
        else:
            own = compute_sample_weight(self.class_weight, y)
        found: npt.NDArray[Any] = own if weight is None else own * weight
        if not found.any():
            raise ArgumentError(f"{self._name('class_weight')}: expected a weight above 0 for some row, got only zeros")
        return found

    @override
    def _ending(self) -> type[Layer]:
        return Sigmoid if self._multilabel or self._binary else Softmax

    @available_if(by_batches)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Go through some rows once, and keep what was learned before.

        Args:
            X: Input, ``(rows, features)``.
            y: The class of each row.
            classes: All classes; needed in the first call.
            sample_weight: Weight of each row.
        """
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ValueError("class_weight 'balanced' is not supported for partial_fit. Pass the weights as a dict: "
                             "compute_class_weight('balanced', classes=classes, y=y) computes them.")
        if classes is None:
            if not hasattr(self, "models_"):
                raise ValueError("classes must be passed on the first call to partial_fit.")
        else:
            classes = np.unique(classes)
            if hasattr(self, "models_") and not np.array_equal(classes, self.classes_):
                raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                                 f"{self.classes_!r}")
        return self._partial_fit(X, y, sample_weight, classes)

    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Return the probability of each class, ``(rows, classes)``; of each label where a row has several."""
        p = self._output(X)
        return np.concatenate([1 - p, p], axis=1) if self._binary else p

    def predict_log_proba(self, X: Any) -> npt.NDArray[Any]:
        """Return the logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            logarithm: npt.NDArray[Any] = np.log(self.predict_proba(X))
        return logarithm

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row, ``(rows,)``; ones and zeros where a row has several labels."""
        p = self._output(X)
        if self._multilabel:
            return (p > 0.5).astype(int)
        found: npt.NDArray[Any] = self.classes_[(p[:, 0] > 0.5).astype(int) if self._binary else p.argmax(axis=1)]
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
