"""Losses: the error of each row and its gradient."""

from .classes import BinaryCrossEntropy, CrossEntropy, SigmoidCrossEntropy, SoftmaxCrossEntropy
from .differences import ElementwiseLoss, HalfSquaredError, Huber, MeanAbsoluteError, MeanSquaredError, Pinball
from .likelihoods import GaussianNLL, PoissonLoss
from .loss import Loss

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "ElementwiseLoss",
    "GaussianNLL",
    "HalfSquaredError",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Pinball",
    "PoissonLoss",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
]
