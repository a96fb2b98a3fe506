"""The base classes of scikit-learn. scikit-learn declares no types, so a type checker reads those written here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:

    class BaseEstimator:
        """What every estimator has."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the arguments of the constructor."""

        def set_params(self, **params: Any) -> Self:
            """Change arguments of the constructor."""

        def set_fit_request(self, **requests: bool | str | None) -> Self:
            """Say which arguments `fit` asks for, where metadata is routed."""

        def set_score_request(self, **requests: bool | str | None) -> Self:
            """Say which arguments ``score`` asks for, where metadata is routed."""

        def _repr_html_(self) -> str: ...

        def _repr_mimebundle_(self) -> dict[str, str]: ...

        def __sklearn_tags__(self) -> Any: ...

    class ClassifierMixin:
        """What every classifier has."""

        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
            """Return the accuracy."""

    class RegressorMixin:
        """What every regressor has."""

        def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
            """Return the coefficient of determination R²."""

else:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

__all__ = ["BaseEstimator", "ClassifierMixin", "RegressorMixin"]
