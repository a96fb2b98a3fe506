"""Every planted fault, with the checks that must fail on it and a word of what they must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minidl import Activation
from minidl.testing import (
    ConformanceError,
    Report,
    check_activation,
    check_layer,
    check_loss,
    check_merge,
    check_optimizer,
)
from tests.support.planted import activations, layers, losses, merges, optimizers


@dataclass(frozen=True)
class Fault:
    """Something wrong, and how the kit is to say so.

    Attributes:
        name: Of the class or function that is wrong.
        check: Runs the kit on it.
        failed: The checks that must fail, all of them and no other.
        says: What the report must contain.
    """

    name: str
    check: Callable[[], Report]
    failed: tuple[str, ...]
    says: str

    def report(self) -> Report:
        """Return what the kit found."""
        try:
            return self.check()
        except ConformanceError as error:
            return error.report

    def caught(self) -> bool:
        """Whether exactly the right checks fail, for the right reason."""
        report = self.report()
        return report.failed == self.failed and self.says in str(report)


def _layer(kind: type, *failed: str, says: str) -> Fault:
    return Fault(kind.__name__, lambda: check_layer(kind()), failed, says)


def _merge(kind: type, *failed: str, says: str) -> Fault:
    return Fault(f"merge {kind.__name__}", lambda: check_merge(kind()), failed, says)


def _loss(kind: type, *failed: str, says: str) -> Fault:
    return Fault(f"loss {kind.__name__}", lambda: check_loss(kind()), failed, says)


def _optimizer(kind: type, *failed: str, says: str) -> Fault:
    return Fault(f"optimizer {kind.__name__}", lambda: check_optimizer(kind), failed, says)


def _pair(function: Callable[..., object], derivative: Callable[..., object], *failed: str, says: str) -> Fault:
    name = f"activation {function.__name__}, {derivative.__name__}"
    return Fault(name, lambda: check_activation(Activation(function, derivative)), failed, says)


LAYERS = [
    _layer(layers.MissingTranspose, "gradient of x", says="gradient of x[3, 3]: expected -0.397"),
    _layer(layers.TransposedWeightGradient, "gradient of weight", says="it is the transpose of what is expected"),
    _layer(layers.DividesByTheRows, "gradient of weight", says="wrong by a factor 1/5, the number of rows"),
    _layer(layers.WrongSign, "gradient of bias", says="only its sign is wrong"),
    _layer(layers.ForgetsTheBias, "gradient of bias", says="it is zero everywhere"),
    _layer(layers.ForgetsTheWeight, "gradient of x", says="gradient of x[3, 0]: expected"),
    _layer(layers.TinySlip, "gradient of x", says="relative error 1e-08 by complex step"),
    _layer(layers.DerivativeAtTheOutput, "gradient of x", says="by complex step"),
    _layer(layers.WrongSideOfTheKink, "gradient of x", says="by central differences"),
    _layer(layers.IgnoresTheOtherRows, "gradient of x", says="declared: couples_rows = True"),
    _layer(layers.HalfOfTheBatch, "gradient of weight", says="gradient of weight[0]: expected"),
    _layer(layers.OneWrongAmongMany, "total gradient", says="gradient of all arrays, in a random direction"),
    _layer(layers.CancelsDigits, "float32 gradients", says="by float64, at most 2e-03"),
    _layer(layers.Overwrites, "gradients add up", says="gradient of weight after two passes"),
    _layer(layers.AssignsTheGradient, "backward", says="expected `p.grad += g`"),
    _layer(layers.SlipInTheFastPath, "backward_parameters", says="gradient of bias of backward_parameters called 1×"),
    _layer(layers.AccumulatesOnce, "backward_parameters", says="called 2×"),
    _layer(layers.UsesItsMemoryUp, "backward again", says="no attribute '_x'"),
    _layer(layers.KeepsTheFirstInput, "last forward counts", says="self.weight.grad += np.sum(grad * self._x, axis=0)"),
    _layer(layers.MemoryFromTheStart, "backward before forward", says="raised TypeError"),
    _layer(layers.NeedsNoForward, "backward before forward", says="got a result"),
    _layer(layers.WrongErrorForOrder, "backward before forward", says="raised RuntimeError: call forward first"),
    _layer(layers.WritesIntoItsInput, "arguments unmodified", says="forward wrote into x"),
    _layer(layers.WritesIntoTheGradient, "arguments unmodified", says="backward wrote into the gradient"),
    _layer(layers.ReturnsItsInput, "no aliasing", says="the output of forward shares memory with x"),
    _layer(layers.ReusesItsOutput, "no aliasing", says="a later forward wrote into the output of forward"),
    _layer(layers.WritesIntoItsOutput, "no aliasing", says="backward wrote into the output of forward"),
    _layer(layers.ReturnsItsWeight, "no aliasing", says="the output of forward shares memory with weight"),
    _layer(layers.TrustsTheLayout, "layouts", says="for Fortran-ordered input and gradient"),
    _layer(layers.AlwaysDoublePrecision, "float32 kept", says="the output of forward: expected float32"),
    _layer(layers.AlwaysSinglePrecision, "float64 kept", says="the gradient of x: expected float64"),
    _layer(layers.BreaksOnOneRow, "batch sizes", says="predict of a batch of 1: expected 1 rows, got (4,)"),
    _layer(layers.BreaksOnNoRows, "batch sizes", says="self._first = x[0]"),
    _layer(layers.BroadcastsItsInput, "wrong width", says="expected a ShapeError; raised ValueError"),
    _layer(layers.FlatInputGradient, "backward", says="gradient of x: expected shape (5, 4), got (20,)"),
    _layer(layers.SaysAnotherWidth, "output_features", says="output_features(4) says 5, but forward gives 4"),
    _layer(
        layers.CouplesRowsUnsaid,
        "rows are alone in training",
        "rows are alone in prediction",
        says="say so in the class: couples_rows = True",
    ),
    _layer(
        layers.CouplesRowsNot,
        "declared: rows are coupled in training",
        says="a change of one row changes nothing of the others",
    ),
    _layer(layers.NoSpreadOfOneRow, "batch sizes", says="output of forward in a batch of 1: expected finite numbers"),
    _layer(layers.NaNBelowTheSmallestBatch, "declared: smallest batch", says="which is below smallest_batch"),
    _layer(layers.PredictsByForward, "predict leaves the state", says="predict changed _x"),
    _layer(layers.PredictsFromMemory, "predict and inference()", says="predict after a training pass"),
    _layer(layers.CountsPredictions, "predict leaves the state", says="predict changed log"),
    _layer(layers.PredictsInOnePlace, "threads", says="Threads that predict with one object at once"),
    _layer(
        layers.ForwardPastPredict,
        "predict and layer(x)",
        says="predict is that of PredictsByItself, forward that of ForwardPastPredict: override predict as well",
    ),
    _layer(layers.PredictsAnother, "predict and inference()", says="inference().forward against predict"),
    _layer(layers.SharesItsMemory, "predict leaves the state", says="predict changed queue"),
    _layer(layers.TouchesItsLayers, "predict leaves the state", says="predict changed layers[0]._x, layers[1]._x, "),
    _layer(layers.MemoryOfTheClass, "predict leaves the state", says="predict changed kept (of the class)"),
    _layer(layers.MemoryOfTheModule, "predict before backward", says="_KEPT"),
    _layer(layers.InferenceInTraining, "predict leaves the state", says="predict changed rng, _mask"),
    _layer(layers.InferenceForgetsTheDerivative, "gradient of inference()", says="gradient of x[4, 3]"),
    _layer(layers.InferenceOwnsCopies, "predict and inference()", says="a parameter weight of its own"),
    _layer(layers.DrawsFromNowhere, "repeatable", says="numpy.random.Generator"),
    _layer(layers.KeepsAView, "storage", says="_w is a view of weight"),
    _layer(layers.KeepsACopy, "storage", says="p.value or p.grad of an earlier call"),
    _layer(
        layers.KeepsTheFirstWeights,
        "gradient of x",
        "gradient of weight",
        says="does forward read the value anew in each call?",
    ),
    _layer(layers.HidesAParameter, "parts are found", says="Parameter() at box.scale is not found"),
    _layer(layers.RenamesItsArgument, "config", says="write self.gain = gain in __init__"),
    _layer(layers.ChangesItsArgument, "config", says="another config: ['gain']"),
    _layer(layers.HoldsALambda, "pickle", says="pickle refuses it"),
    _layer(layers.PicklesAfterAll, "declared: does not pickle", says="remove the declaration"),
    _layer(layers.HoldsALock, "deepcopy", says="cannot pickle '_thread.lock' object"),
    _layer(layers.CopiesToItself, "deepcopy", says="gave the object itself"),
    _layer(layers.InitializesByChance, "initialize", says="two different values of weight"),
    _layer(layers.ForwardRaises, "forward", says="cannot reshape array of size 4 into shape (2,3)"),
    _layer(layers.ForwardReturnsAList, "forward", says="to return an array, got list"),
    _layer(layers.GivesNaN, "forward", says="got NaN or infinity"),
    _layer(layers.HasNoInputGradient, "declared: no gradient of the input", says="expected a gradient of zeros"),
    _layer(layers.ContainerOfAFault, "gradient of 1.bias", says="gradient of 1.bias[0]"),
]

MERGES = [
    _merge(merges.OneGradientForAll, "backward", says="a tuple of 3 arrays, one for each input"),
    _merge(merges.ReturnsNoTuple, "backward", says="got list"),
    _merge(merges.SecondInputForgotten, "gradient of x1", says="it is zero everywhere"),
    _merge(
        merges.GradientsInTheWrongOrder, "gradient of x0", "gradient of x2", says="times what is expected, everywhere"
    ),
    _merge(merges.OverwritesItsGradient, "gradients add up", says="gradient of weight after two passes"),
    _merge(merges.AddsInPlace, "arguments unmodified", says="forward wrote into x0"),
    _merge(merges.ReturnsTheFirst, "no aliasing", says="shares memory with x0"),
    _merge(merges.BroadcastsRows, "unequal rows", "unequal widths", says="where x0 has 1 row and the others 5"),
    _merge(merges.BroadcastsWidths, "unequal widths", says="x0 of shape (5, 1) was taken"),
    _merge(merges.ScalesByTheFirstBatch, "last forward counts", says="after another forward before it"),
    _merge(merges.LosesAParameter, "storage", says="p.value or p.grad of an earlier call"),
]

ACTIVATIONS = [
    _pair(activations.logistic, activations.overflowing_prime, "extremes", says="backward at x = 709"),
    _pair(activations.logistic, activations.at_the_output, "gradient of x", says="x[0, 3]: expected 0.00246"),
    _pair(activations.bent_identity, activations.bent_identity_prime, "gradient of x", says="by complex step"),
    _pair(activations.naive_softplus, activations.logistic, "extremes", says="forward at x = 745"),
    _pair(activations.over_zero, activations.over_zero_prime, "extremes", says="x = -1e-300"),
    _pair(np.tanh, activations.wrong_tail, "gradient of x", says="got -0 "),
    _pair(np.positive, activations.one, "float32 kept", says="the gradient of x: expected float32"),
    Fault(
        "activation RowNorm",
        lambda: check_activation(activations.RowNorm()),
        ("each number alone",),
        "a change of column 0 of x changed column 1 of the output",
    ),
    Fault(
        "activation DropsAColumn",
        lambda: check_activation(activations.DropsAColumn()),
        ("each number alone",),
        "expected an output of the shape of x, (5, 5), got (5, 4)",
    ),
    Fault(
        "activation of lambdas",
        lambda: check_activation(activations.lambdas()),
        ("pickle",),
        "say so in the class or on the object: picklable = False",
    ),
]

LOSSES = [
    _loss(losses.ForgetsTheHalf, "gradient", says="it is 2 times what is expected, everywhere"),
    _loss(
        losses.DividesTwice, "gradient", says="a factor 1/6, the number of rows: the mean over the batch is the loss"
    ),
    _loss(losses.TargetMinusPrediction, "gradient", says="only its sign is wrong"),
    _loss(losses.SumsOverTheBatch, "gradient", says="a factor 6, the number of rows"),
    _loss(
        losses.MeanInsteadOfRows,
        "forward",
        says="one error for each row from forward_rows: expected shape (6,), got (1,)",
    ),
    _loss(losses.IgnoresWeights, "gradient with sample_weight", says="gradient of prediction[5, 0]"),
    _loss(losses.WeightsOnlyTheLoss, "gradient with sample_weight", says="gradient of prediction[5, 0]"),
    _loss(losses.CouplesItsRows, "mean over the rows", says="against the mean over batches of 1"),
    _loss(losses.WritesIntoThePrediction, "arguments unmodified", says="forward wrote into prediction"),
    _loss(
        losses.GradientInThePrediction,
        "arguments unmodified",
        "no aliasing",
        says="the gradient of prediction shares memory with prediction",
    ),
    _loss(losses.ReusesItsGradient, "no aliasing", says="a later backward wrote into the gradient of prediction"),
    _loss(losses.UsesItselfUp, "backward again", says="gradient of prediction of a second backward"),
    _loss(losses.KeepsTheFirstWeights, "last forward counts", says="self._scales[0]"),
    _loss(losses.KeepsNothingAfterAnother, "last forward counts", says="expected shape (6, 3), got (8, 3)"),
    _loss(losses.CallKeeps, "a call keeps nothing", says="changed _difference"),
    _loss(losses.CallCounts, "a call keeps nothing", says="changed calls"),
    _loss(losses.BackwardAnytime, "backward before forward", says="got a result"),
    _loss(losses.AlwaysDouble, "float32 kept", says="in float32 like the prediction, got float64"),
    _loss(losses.AlwaysSingle, "float64 kept", says="in float64 like the prediction, got float32"),
    _loss(
        losses.Broadcasts,
        "(N,) against (N, 1) refused",
        "other shapes refused",
        says="a prediction (6, 1) and a target (6,): expected a ShapeError, got a loss",
    ),
    _loss(losses.BroadcastsAColumn, "other shapes refused", says="a prediction (6, 3) and a target (6, 1)"),
    _loss(
        losses.TakesTheEmptyBatch, "empty batch refused", says="a batch of no rows: expected a DataError, got a loss"
    ),
    _loss(losses.HoldsALambda, "pickle", says="pickle refuses it"),
    _loss(losses.RandomLoss, "repeatable", says="gave another output for the same input and state"),
    _loss(losses.TrustsTheLayout, "layouts", says="for Fortran-ordered input and gradient"),
    _loss(losses.SharedMemory, "deepcopy", says="gave the object itself"),
    _loss(losses.ReturnsAnArray, "forward", says="expected forward to return a finite float"),
]

OPTIMIZERS = [
    _optimizer(optimizers.Uphill, "learns the parabola", says="it goes away from the minimum"),
    _optimizer(optimizers.TooSlow, "learns the parabola", says="it goes too slowly towards the minimum"),
    _optimizer(optimizers.Diverges, "learns the parabola", says="it goes away from the minimum"),
    _optimizer(optimizers.MakesNewValues, "step", says="write into values: values -= …"),
    _optimizer(optimizers.ForgetsToCount, "step", says="expected steps to be 2 after two steps, got 0"),
    _optimizer(optimizers.MovesTheParameters, "storage", says="a parameter lies outside of vector.values"),
    _optimizer(optimizers.WritesIntoGradients, "gradients unmodified", says="update wrote into the gradients"),
    _optimizer(optimizers.SmallNoise, "same bits again", says="expected the same bits"),
    _optimizer(optimizers.RemembersInAList, "slots", says="a run that went on from the slots"),
    _optimizer(optimizers.RemembersLate, "slots", says="make each in __init__"),
    _optimizer(optimizers.RemembersUndeclared, "slots", says="write self.velocity = self.slot()"),
    _optimizer(optimizers.ChangesAnUndeclaredNumber, "slots", says="numbers must be in `changing`"),
    _optimizer(optimizers.RemembersTheParameters, "deepcopy", "pickle", says="what came out of copy.deepcopy"),
    _optimizer(
        optimizers.StepsWithoutGradients,
        "no gradient refused",
        says="a step before any gradient: expected a CallOrderError, got a step",
    ),
    _optimizer(optimizers.LeavesTheGradients, "gradients used up", says="a parameter's gradient is not zero"),
    _optimizer(optimizers.DoublesShared, "shared parameter once", says="the first parameter was given twice"),
    _optimizer(optimizers.DoubleSlots, "float32 kept", says="slot velocity: expected float32"),
    _optimizer(optimizers.DoesNotCopy, "deepcopy", says="gave the optimizer itself"),
    _optimizer(optimizers.HoldsALambda, "pickle", says="pickle refuses it"),
    _optimizer(optimizers.SkipsWithoutGradient, "missing gradient is zero", says="have no gradient"),
]

FAULTS = [*LAYERS, *MERGES, *ACTIVATIONS, *LOSSES, *OPTIMIZERS]
