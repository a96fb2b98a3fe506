"""Base of both estimators: arguments, networks, training and prediction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils import check_random_state, estimator_html_repr
from sklearn.utils.validation import check_is_fitted, validate_data

from .._core.arrays import FLOATS, Array, all_finite, listed, one_of, positive_int, real
from .._data import check_parts
from .._training.compiled_engine import EngineName
from .._training.splitting import split_rows
from ..callbacks import Callback, EarlyStopping
from ..errors import ArgumentError, DTypeError, StructureError
from ..initializers import GlorotUniform
from ..layers import Identity, Layer, Mean, Parallel, ReLU, Sequential, Sigmoid, Tanh, mlp
from ..losses import Loss
from ..optimizers import SGD, Adam, AdamW, NAdam, Optimizer, RMSProp
from ..optimizers.clipping import Clip
from ..optimizers.penalties import L2
from ..solvers import lbfgs
from ..trainer import Trainer
from ._bases import BaseEstimator
from ._rows import ROWS_AT_ONCE, Rows, SparseBatches, checked_weights, dense_rows, pieces

ACTIVATIONS: dict[str, type[Layer]] = {"identity": Identity, "logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam, "sgd": partial(SGD, momentum=0.9, nesterov=True), "adamw": AdamW, "nadam": NAdam, "rmsprop": RMSProp
}  # fmt: skip


class Curves(NamedTuple):
    """The loss after each epoch, the same on the held-out rows, and why the training stopped."""

    loss: list[float]
    validation_loss: list[float]
    stopped_by: str | None


class Network(BaseEstimator):
    """Base of both estimators. A subclass turns y into targets, and outputs into predictions."""

    loss_: float
    loss_curve_: list[float]
    validation_loss_curve_: list[float]
    n_iter_: int
    stopped_by_: str | None
    loss_function_: Loss
    models_: list[Any]
    model_: Any
    n_features_in_: int
    n_outputs_: int
    classes_: npt.NDArray[Any]
    _numeric: ClassVar[bool]
    _trainers: list[Trainer] | None

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
        ensemble: int = 1,
        clip: Clip | None = None,
        callbacks: Iterable[Callback] | None = None,
        engine: EngineName = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.model = model
        self.loss = loss
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.alpha = alpha
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.ensemble = ensemble
        self.clip = clip
        self.callbacks = callbacks
        self.engine = engine
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train new networks, or with ``warm_start`` the present ones further.

        Args:
            X: Input, ``(rows, features)``: an array, a frame or a sparse matrix.
            y: Target, one value for each row, or several.
            sample_weight: Weight of each row. A row of weight k counts as k rows, and one of weight 0 as none.
        """
        with _unchanged_if_refused(self):
            first = not (self.warm_start and hasattr(self, "models_"))
            rows = self._checked_rows(X, y, sample_weight, first)
            rng = check_random_state(self.random_state)
            if first:
                self._make_models(rows, rng)
            held_out = None
            if self.early_stopping:
                rows, held_out = self._held_out(rows, rng)
            self._trainers = None
            epochs, stopping = positive_int(self.max_iter, self._name("max_iter")), self._stopping(held_out)
            found: list[Curves] = []
            for model in self.models_:
                if self.solver == "lbfgs":
                    found.append(self._solve(model, rows, held_out, epochs))
                else:
                    trainer = self._trainer(model, rows, rng)
                    found.append(self._train(trainer, rows, rng, epochs, held_out, stopping))
                if len(self.models_) > 1 and found[-1].stopped_by in ("SIGINT", "SIGTERM", "interrupted"):
                    raise KeyboardInterrupt  # The other networks are not trained.
            self._keep(found[0])
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """Train for one more epoch with the optimizers of the last call."""
        with _unchanged_if_refused(self):
            first = not hasattr(self, "models_")
            rows = self._checked_rows(X, y, sample_weight, first, classes)
            rng = check_random_state(self.random_state)
            if first:
                self._make_models(rows, rng)
            if first or self._trainers is None:
                self._trainers = [self._trainer(model, rows, rng) for model in self.models_]
                self.loss_curve_: list[float] = []
            before = self.loss_curve_
            if isinstance(self.solver, str):
                for trainer in self._trainers:
                    trainer.optimizer.weight_decay = self._decay(rows)
            found = [self._train(trainer, rows, rng, 1, None, []) for trainer in self._trainers]
            self._keep(found[0]._replace(loss=before + found[0].loss))
        return self

    @abstractmethod
    def _targets(self, y: npt.NDArray[Any], first: bool, classes: Any) -> npt.NDArray[Any]:
        """Turn y into the targets of the loss; in the first fit, choose the loss as well."""

    @abstractmethod
    def _ending(self) -> type[Layer] | None:
        """Return the layer that turns the output of a model under a loss from logits into a prediction."""

    # ---- parts of a fit

    def _name(self, argument: str) -> str:
        return f"{type(self).__name__}({argument})"

    def _checked_rows(self, X: Any, y: Any, sample_weight: Any, first: bool, classes: Any = None) -> Rows:
        """Return the rows as the loss takes them; on the first call note features, classes and outputs."""
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=FLOATS, multi_output=True, reset=first,
                             y_numeric=self._numeric)  # fmt: skip
        y, weight = dense_rows(y), None
        if sample_weight is not None:
            weight = checked_weights(sample_weight, X)
            if not weight.all():  # A row of weight 0 is no row: it has no class, and no place in a batch.
                kept = np.flatnonzero(weight)
                X, y, weight = X[kept], y[kept], weight[kept]
        targets = self._targets(y, first, classes)
        return Rows(X, targets, self._weights(y, weight))

    def _weights(self, y: npt.NDArray[Any], weight: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
        return weight

    def _loss(self, default: Loss) -> Loss:
        """Return a loss of this estimator's own."""
        loss = default if self.loss is None else self.loss
        loss = deepcopy(loss) if isinstance(loss, Loss) or not callable(loss) else loss()
        check_parts(type(self).__name__, loss=(loss, Loss))
        return loss

    def _make_models(self, rows: Rows, rng: Any) -> None:
        count = positive_int(self.ensemble, self._name("ensemble"))
        self.models_ = [self._new_model(rows.x.dtype, _seed(rng)) for _ in range(count)]
        members = [_ended(model, self._link()) for model in self.models_]
        self.model_ = members[0] if count == 1 else Parallel(*members, merge=Mean())

    def _link(self) -> Callable[[], Layer] | None:
        """Return what makes the layer from the output of a trained network to the prediction; None where they equal."""
        return self._ending() if self.loss_function_.from_logits else None

    def _new_model(self, dtype: np.dtype[Any], seed: int) -> Layer:
        model: Any = self.model
        if model is None:
            ending = None if self.loss_function_.from_logits else self._ending()
            hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=int)).tolist()
            activation = self.activation
            if isinstance(activation, str):
                one_of(activation, tuple(ACTIVATIONS), self._name("activation"))
                activation = ACTIVATIONS[activation]
            sizes = [self.n_features_in_, *hidden, self.n_outputs_]
            # First values as in scikit-learn: with those of He et al. small tables were learned worse.
            return mlp(sizes, activation=activation, output=ending, weight_initializer=GlorotUniform(), dtype=dtype,
                       rng=seed)
        given = isinstance(model, Layer)
        made: Any = deepcopy(model) if given or not callable(model) else model(self.n_features_in_, self.n_outputs_)
        check_parts(type(self).__name__, model=(made, Layer))
        found: Layer = made if given else made.initialize(seed)
        width = found.output_features(self.n_features_in_)
        if width != self.n_outputs_ and not self._numeric:
            raise StructureError(f"{self._name('model')}: expected {self.n_outputs_} outputs for {self.classes_}, got "
                                 f"{width}; a function of (in_features, out_features) is told the right number")
        return found if found.dtype in (None, dtype) else found.astype(dtype)

    def _size(self, rows: Rows) -> int:
        automatic = isinstance(self.batch_size, str) and self.batch_size == "auto"
        given = 200 if automatic else positive_int(self.batch_size, self._name("batch_size"))
        return min(given, len(rows))

    def _decay(self, rows: Rows) -> float:
        """Return α divided by the weight of a batch, as in scikit-learn: the loss is a mean, the penalty is not."""
        alpha = real(self.alpha, self._name("alpha"), least=0)
        size = len(rows) if self.solver == "lbfgs" else self._size(rows)
        return alpha / (size * rows.mean_weight)

    def _trainer(self, model: Layer, rows: Rows, rng: Any) -> Trainer:
        solver = self.solver
        if isinstance(solver, str):
            one_of(solver, (*OPTIMIZERS, "lbfgs"), self._name("solver"))
            solver = partial(OPTIMIZERS[solver], learning_rate=self.learning_rate_init, weight_decay=self._decay(rows))
        if not callable(solver):
            raise DTypeError(f"{self._name('solver')}: expected a word, or a function that makes an optimizer from "
                             f"parameters, such as minidl.Adam, got {solver!r}")
        optimizer, loss = solver(model.parameters()), deepcopy(self.loss_function_)
        return Trainer(model, loss, optimizer, rng=_seed(rng), clip=self.clip, engine=self.engine)

    def _stopping(self, held_out: Rows | None) -> list[Callback]:
        least = real(self.tol, self._name("tol"), least=0)
        if self.n_iter_no_change is None or not (least or held_out):
            return []
        patience = positive_int(self.n_iter_no_change, self._name("n_iter_no_change"))
        monitor = "validation_loss" if held_out else "loss"
        return [EarlyStopping(patience, monitor, min_delta=least, restore_best=bool(held_out))]

    def _train(
        self, trainer: Trainer, rows: Rows, rng: Any, epochs: int, held_out: Rows | None, stopping: list[Callback]
    ) -> Curves:
        before, size = len(trainer.history), self._size(rows)
        callbacks = [*listed(self.callbacks or (), self._name("callbacks"), "callbacks"), *stopping]
        validation: Any = None if held_out is None else held_out.arrays()
        progress = bool(self.verbose)
        if sparse.issparse(rows.x):
            orders = np.random.default_rng([_seed(rng), before]) if self.shuffle else None
            trainer.fit_batches(SparseBatches(rows, size, orders), epochs=epochs, validation=validation,
                                callbacks=callbacks, progress=progress)
        else:
            x, y, weight = rows.arrays()
            trainer.fit(x, y, epochs=epochs, batch_size=size, shuffle=self.shuffle, sample_weight=weight,
                        validation=validation, callbacks=callbacks, progress=progress)
        history = trainer.history
        return Curves(history.loss[before:], history.validation_loss[before:], history.stopped_by)

    def _solve(self, model: Layer, rows: Rows, held_out: Rows | None, steps: int) -> Curves:
        for name in ("clip", "callbacks"):
            if given := getattr(self, name):
                raise ArgumentError(f'{self._name(name)}: expected None with solver="lbfgs", which takes all rows at '
                                    f"once, got {given!r}")
        x, y, weight = rows.arrays()
        matrices = [parameter for parameter in model.parameters() if len(parameter.shape) >= 2]
        validation: Any = None if held_out is None else held_out.arrays()
        found = lbfgs(model, x, y, loss=deepcopy(self.loss_function_), sample_weight=weight,
                      penalties=[L2(self._decay(rows), matrices)] if matrices else (), max_iterations=steps,
                      gradient_tolerance=self.tol, validation=validation,
                      patience=self.n_iter_no_change or steps, progress=bool(self.verbose))
        return Curves(found.loss[1:] or found.loss, found.validation_loss[1:], found.reason)

    def _held_out(self, rows: Rows, rng: Any) -> tuple[Rows, Rows]:
        """Return the rows to train on and those to hold out, some of every class."""
        name = self._name("validation_fraction")
        count = round(real(self.validation_fraction, name, above=0, below=1) * len(rows))
        classes = self.loss_function_.classes(rows.y)
        kept, out = split_rows(len(rows), count, classes, np.random.default_rng(_seed(rng)))
        if not (count and len(kept) and len(out)):
            raise ArgumentError(f"{name}: expected rows on both sides, but with n_samples={len(rows)} a fraction of "
                                f"{self.validation_fraction:g} leaves nothing on one of them")
        return rows.take(kept), rows.take(out)

    def _keep(self, curves: Curves) -> None:
        self.loss_curve_, self.validation_loss_curve_, self.stopped_by_ = curves
        self.n_iter_, self.loss_ = len(self.loss_curve_), self.loss_curve_[-1]

    # ---- prediction

    def _checked_input(self, X: Any) -> Any:
        """Return the input; what `validate_data` would return as it is comes back at once."""
        known = vars(self)
        if (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype.char in "df"
            and X.shape[1] == known.get("n_features_in_")
            and len(X) > 0
            and "feature_names_in_" not in known
            and "model_" in known
            and all_finite(X)
        ):
            return X
        check_is_fitted(self, "model_")
        return validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False)

    def _output(self, X: Any) -> Array:
        X = self._checked_input(X)
        if type(X) is np.ndarray and len(X) <= ROWS_AT_ONCE:
            found: Array = self.model_.predict(X)
            return found
        return np.concatenate([self.model_.predict(piece) for piece in pieces(X)])

    def _html_repr(self) -> str:
        """Show the network below the table of arguments."""
        show = getattr(getattr(self, "model_", None), "_repr_html_", str)
        return str(estimator_html_repr(self)) + show()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.target_tags.multi_output = True
        return tags


def by_batches(estimator: Network) -> bool:
    """Whether the estimator has `partial_fit`."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit is only available for optimizers that go by batches, not for solver='lbfgs'")
    return True


@contextmanager
def _unchanged_if_refused(estimator: Network) -> Iterator[None]:
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        estimator.__dict__ = before
        raise


def _seed(rng: Any) -> int:
    return int(rng.randint(np.iinfo(np.int32).max))


def _ended(model: Layer, ending: Callable[[], Layer] | None) -> Layer:
    """Return the model followed by a layer; the parameters are shared."""
    if ending is None:
        return model
    return Sequential(*(model.layers if type(model) is Sequential else [model]), ending())
