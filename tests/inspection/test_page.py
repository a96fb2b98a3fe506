"""The page of a trace, read back: its numbers, its equations, and what it must not contain."""

from __future__ import annotations

import html
import json
import re
import time
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import (
    L2,
    SGD,
    Adam,
    Array,
    BinaryCrossEntropy,
    ClipGlobalNorm,
    CrossEntropy,
    Dense,
    HalfSquaredError,
    Layer,
    Loss,
    MeanSquaredError,
    Residual,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    mlp,
)
from minidl.errors import DivergenceError
from minidl.inspection import Trace, diagram, summary, trace
from minidl.layers import Merge
from minidl.schedules import Exponential
from tests.campaigns import page as campaign
from tests.campaigns.jobs import Job
from tests.campaigns.traces import fresh
from tests.inspection.calculator import calculate
from tests.inspection.models import MODELS, gates
from tests.support.conformance_table import layers as table_of_layers
from tests.support.svg import boxes

RNG = np.random.default_rng(0)


def article() -> Trace:
    """Return the trace of a network 2-2-1 with numbers that are easy to follow."""
    model = Sequential(Dense(2, 2), Sigmoid(), Dense(2, 1), Sigmoid())
    values = [[[0.2, -0.4], [0.3, 0.6]], [0.1, -0.1], [[0.3, 0.9]], [0.05]]
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.value = np.array(value)
    return trace(model, HalfSquaredError(), [[0.35, 0.7]], [[1.0]], optimizer=SGD(model.parameters(), 0.5))


def data_of(page: str) -> dict[str, Any]:
    """Return the data of a page; NaN and Infinity, which JSON does not have, fail."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1], parse_constant=pytest.fail)
    return data


def matrices(data: dict[str, Any], row: dict[str, Any]) -> list[Any]:
    """Return the matrices of a row as the page shows them for the first sample; None for those without numbers."""
    found: list[Any] = []
    for token in row["tokens"]:
        if not isinstance(token, str):
            shape, *more = data["arrays"][token[1]]
            if not more or more[0] is None:
                found.append(None)
                continue
            array = np.array(more[0], float).reshape(shape)
            array = array[0] if token[2] in ("row", "column") else array
            array = np.atleast_1d(array)
            array = array[:, None] if array.ndim == 1 else array
            found.append(array.T if token[2] in ("row", "transposed") else array)
    return found


def worked_out(data: dict[str, Any]) -> int:
    """Work out every number of a page from the numbers that it shows; return how many they are."""
    count = 0
    for step in data["steps"]:
        for row in step.get("rows", []):
            if "work" in row:
                shown = matrices(data, row)
                result = shown[0]
                if "…" in row["work"]:  # some terms are left out
                    continue
                if isinstance(row["work"], str):
                    for j, i in np.ndindex(result.shape):
                        numbers = [float(one[j, i]) if one.shape == result.shape else 0.0 for one in shown]
                        made = row["work"].format(*[f"({value})" for value in numbers])
                        value = calculate([f"z = {made}"], {"e": np.e})["z"]
                        assert value == pytest.approx(result[j, i], rel=3e-3, abs=1e-3)
                        count += 1
                    continue
                product, terms, factor = row["work"]
                for j, i in np.ndindex(result.shape):
                    parts = [number * shown[place][j, i] for number, place in terms]
                    if product:
                        a, *b = (shown[place] for place in product)
                        parts += [a[j, k] * (b[0][k, i] if b else 1.0) for k in range(a.shape[1])]
                    scale = 1.0 if factor is None else shown[factor][j, i]
                    rounding = 2e-3 * sum(map(abs, parts)) * abs(scale)
                    assert sum(parts) * scale == pytest.approx(result[j, i], abs=rounding)
                    count += 1
    return count


def test_the_page_of_a_chain_has_the_equations_of_the_article_in_order() -> None:
    steps = data_of(article().to_html())["steps"]
    equations = [equation for step in steps for equation, _ in step["equations"]]
    assert {"f₂(z) = 1 / (1 + e⁻ᶻ)", "O₂′ = O₂ ∘ (1 − O₂)", "O₃′ = O₃ ∘ (1 − O₃)"} <= {*equations}
    numbers = [[number for _, number in step["equations"] if number] for step in steps]
    assert [number for each in numbers for number in each] == [
        "(1)", "(2)", "(1)", "(2)", "(3)", "(5)", "(6)", "(4)", "(5)", "(6)", "(7)", "(7)", "(7)", "(7)",
    ]  # fmt: skip
    first = [step["equations"][0][0] for step in steps]
    assert first[:6] == [
        "O₁ = x", "I₂ = W₁ O₁ + b₁", "O₂ = f₂(I₂)", "I₃ = W₂ O₂ + b₂", "O₃ = f₃(I₃)", "e = ½ ‖O₃ − y‖²",
    ]  # fmt: skip
    assert first[6:] == [
        "∂e/∂O₃ = O₃ − y", "E₃ = ∂e/∂O₃ ∘ O₃′", "ΔW₂ = E₃ O₂ᵀ", "E₂ = (W₂ᵀ E₃) ∘ O₂′", "ΔW₁ = E₂ O₁ᵀ",
        "W₁ ← W₁ − η ΔW₁", "b₁ ← b₁ − η Δb₁", "W₂ ← W₂ − η ΔW₂", "b₂ ← b₂ − η Δb₂",
    ]  # fmt: skip


def test_the_numbers_of_the_article_s_network_are_those_of_a_hand_computation() -> None:
    data = data_of(article().to_html())
    w1, w2, x = np.array([[0.2, -0.4], [0.3, 0.6]]), np.array([[0.3, 0.9]]), np.array([0.35, 0.7])
    i2 = w1 @ x + [0.1, -0.1]
    o2 = 1 / (1 + np.exp(-i2))
    o3 = 1 / (1 + np.exp(-(w2 @ o2 + 0.05)))
    e3 = (o3 - 1) * o3 * (1 - o3)
    e2 = (w2.T @ e3) * o2 * (1 - o2)
    wanted = {"I₂": i2, "O₂": o2, "O₃": o3, "E₃": e3, "E₂": e2, "Δb₁": e2,
              "ΔW₁": np.outer(e2, x), "new W₁": w1 - 0.5 * np.outer(e2, x)}  # fmt: skip
    found = {row["tokens"][0][0]: matrices(data, row)[0] for step in data["steps"] for row in step["rows"]}
    for symbol, value in wanted.items():
        np.testing.assert_allclose(found[symbol], value.reshape(len(value), -1), rtol=5e-4)


@pytest.mark.parametrize("name", ["2-2-1", "1-20-20-1", "normalized", "nested", "gates", "branches", "own"])
def test_every_number_that_is_worked_out_comes_from_the_numbers_shown(name: str) -> None:
    model = MODELS[name]().initialize(0)
    width = {"2-2-1": 2, "1-20-20-1": 1}.get(name, 4)
    y = model.forward(x := RNG.normal(size=(3, width)))
    for optimizer in (SGD(model.parameters(), 0.1), Adam(model.parameters())):
        t = trace(model, HalfSquaredError(), x, y + 1, optimizer=optimizer, clip=ClipGlobalNorm(0.1),
                  penalties=[L2(0.1, model.parameters()[:1])])  # fmt: skip
        assert worked_out(data_of(t.to_html())) >= 10


@pytest.mark.parametrize("seed", range(25))
def test_pages_pictures_and_tables_of_random_models(seed: int) -> None:
    job = Job(seed, numba=False)
    one = fresh(job)
    batch = [array[: max(job.batch, 2)] for array in (job.x, job.y, job.weight) if array is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        t = trace(one.model, one.loss, *batch, optimizer=one.optimizer, penalties=one.penalties, clip=one.clip)
    worked_out(data_of(t.to_html()))
    total = sum(parameter.size for parameter in one.model.parameters())
    assert sum(row.parameters for row in summary(one.model, batch[0]).rows) == total
    parts = [box for box in boxes(diagram(one.model, style="blocks").svg) if box.kind == "box"]
    assert not any(a.overlaps(b) for a, b in combinations(parts, 2))


def test_the_update_of_a_schedule_is_equation_7_and_that_of_momentum_is_not() -> None:
    model = mlp([2, 3, 1], activation=Sigmoid, rng=0)
    given: list[Any] = [model, HalfSquaredError(), np.ones((1, 2)), np.ones((1, 1))]
    scheduled = SGD(model.parameters(), Exponential(0.5, 0.5, steps=3))
    pushed = SGD(model.parameters(), 0.1, momentum=0.9)
    for optimizer in (scheduled, pushed):
        given[1].forward(model.forward(given[2]), given[3])
        model.backward(given[1].backward())
        optimizer.step()
    for optimizer, wanted in ((scheduled, 4), (pushed, 0)):
        steps = data_of(trace(*given, optimizer=optimizer).to_html())["steps"]
        updates = [step for step in steps if step["phase"] == "update"]
        numbers = [number for step in updates for _, number in step.get("equations", [])]
        assert numbers.count("(7)") == wanted
    assert "work" in data_of(trace(*given, optimizer=scheduled).to_html())["steps"][-1]["rows"][0]


@pytest.mark.parametrize("chain", [True, False])
def test_the_update_of_a_group_has_its_own_rate(chain: bool) -> None:
    layers = Dense(2, 2), Sigmoid(), Dense(2, 2)
    model = Sequential(*layers if chain else [Residual(Sequential(*layers))]).initialize(0)
    optimizer = SGD(model.parameters(), 0.5).set_group(model.parameters()[:2], rate_factor=0.1)
    data = data_of(trace(model, HalfSquaredError(), np.ones((1, 2)), np.ones((1, 2)), optimizer=optimizer).to_html())
    assert data["article"] is chain
    updates = [step for step in data["steps"] if step["phase"] == "update"]
    assert [step["rows"][0]["tokens"][3] for step in updates] == ["− 0.05 ·"] * 2 + ["− 0.5 ·"] * 2
    first = "0" if chain else "0.layer.0"
    notes = [f"The learning rate of {first}.{name} is its own: η = 0.05." for name in ("weight", "bias")]
    assert [step.get("note", "") for step in updates] == [*notes, "", ""]
    assert worked_out(data) >= 12


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("loss", [CrossEntropy, BinaryCrossEntropy, SigmoidCrossEntropy, SoftmaxCrossEntropy])
def test_a_loss_with_smoothed_labels_is_worked_out(loss: Any, rows: int) -> None:
    smoothed = loss(label_smoothing=0.3)
    last = [] if loss.from_logits else [Softmax()]
    model, y = Sequential(Dense(2, 3), *last).initialize(0), np.eye(3)[:rows]
    data = data_of(trace(model, smoothed, np.ones((rows, 2)), y).to_html())
    (step,) = [step for step in data["steps"] if step["phase"] == "loss"]
    shown, work = matrices(data, step["rows"][0])[0].item(), step["rows"][0]["work"]
    assert calculate([f"z = {work}"], {})["z"] == pytest.approx(shown, rel=2e-3)
    assert step["note"].startswith("With label smoothing ε = 0.3, y stands for the smoothed target.")


def test_a_wrong_equation_is_not_worked_out() -> None:
    class Doubled(Dense):
        def compute(self, x: Array) -> Array:
            return 2 * super().compute(x)

    t = trace(Sequential(Doubled(2, 2)), HalfSquaredError(), np.ones((1, 2)), np.ones((1, 2)))
    data = data_of(t.to_html())
    assert not data["article"]
    first = data["steps"][0]["rows"][0]
    assert "work" not in first
    assert first["tokens"][1] == "from"


@pytest.mark.parametrize("name", table_of_layers())
def test_the_last_number_of_the_code_is_a_number_shown_above_it(name: str) -> None:
    layer, x = table_of_layers()[name]
    if isinstance(layer, Merge):
        pytest.skip("merges are in the graphs")
    x = np.abs(x) % 2 if "Embedding" in name else x
    y = layer.forward(x)
    data = data_of(trace(layer, HalfSquaredError(), x, y.reshape(len(y), -1) + 1).to_html())
    for step in data["steps"]:
        if "code" in step and step["phase"] in ("forward", "backward"):
            made = data["arrays"][step["code"][-1][3][-1][1]]
            if len(made) > 1 and made[1] is not None:
                last = np.sort(np.ravel(made[1]))
                results = [data["arrays"][row["tokens"][0][1]] for row in step["rows"]]
                assert any(
                    result[1] is not None and np.array_equal(np.sort(np.ravel(result[1])), last) for result in results
                ), step["title"]


def test_the_page_is_one_file_without_outside_references() -> None:
    page = article().to_html()
    assert re.findall(r'(?:https?:)?//[^\s"*]+', page.replace("http://www.w3.org/2000/svg", "")) == []
    assert not re.search(r"@import|url\(|<link|\ssrc=", page)


def test_names_with_html_are_harmless() -> None:
    class Evil(Tanh):
        def __repr__(self) -> str:
            return "</script><script>alert(1)</script>"

    t = trace(Sequential(Dense(2, 2), Evil()), HalfSquaredError(), np.ones((1, 2)), np.ones((1, 2)))
    page = t.to_html("</title><script>alert(2)</script>{{data}}")
    assert page.count("<script") == 2
    assert "alert(2)&lt;/script&gt;{{data}}</title>" in page
    assert t._repr_html_().count("<") == 2


def test_a_notebook_shows_the_page_in_a_frame_of_its_own() -> None:
    t = article()
    shown = t._repr_html_()
    assert re.match(r'<iframe sandbox="allow-scripts" ', shown)
    frame = re.search(r'srcdoc="([^"]*)"', shown)
    assert frame
    assert html.unescape(frame[1]) == t.to_html()


def test_pages_are_small_and_fast() -> None:
    sine = mlp([1, 20, 20, 1], activation=Sigmoid, rng=0)
    digits = mlp([784, 256, 128, 10], rng=0)
    cases = [
        (90_000, sine, HalfSquaredError(), np.ones((1, 1)), np.ones((1, 1))),
        (60_000, digits, SoftmaxCrossEntropy(), RNG.normal(size=(1, 784)), np.eye(10)[[3]]),
    ]
    for most, model, loss, x, y in cases:
        times = []
        for _ in range(5):
            began = time.thread_time()
            page = trace(model, loss, x, y, optimizer=SGD(model.parameters(), 0.1)).to_html()
            times.append(time.thread_time() - began)
        assert len(page.encode()) <= most
        assert min(times) < 0.1  # 9 and 13 ms on a quiet machine


def test_of_a_large_batch_the_page_says_that_it_has_the_first_samples() -> None:
    x = RNG.normal(size=(10_000, 2))
    model = mlp([2, 2, 1], activation=Sigmoid, rng=0)
    data = data_of(trace(model, HalfSquaredError(), x, x[:, :1]).to_html())
    assert (data["rows"], data["all"]) == (8, 10_000)
    gradients = next(step for step in data["steps"] if step["title"].startswith("The gradients"))
    assert gradients["note"] == "These sums are over all 10,000 samples, of which the page has the first 8."
    assert all("work" not in row and len(row["tokens"]) == 1 for row in gradients["rows"])


def test_numbers_that_are_not_finite_are_shown_and_the_first_is_named() -> None:
    model = mlp([2, 2, 1], activation=Sigmoid, rng=0)
    model.layers[0].weight.value[0, 0] = np.inf  # type: ignore[attr-defined]
    data = data_of(trace(model, HalfSquaredError(), np.ones((1, 2)), np.ones((1, 1))).to_html())
    assert data["warning"] == "The first number that is not finite is made here: forward, 0: Dense(2 -> 2)."
    assert "inf" in data["arrays"][data["steps"][1]["rows"][0]["tokens"][0][1]][1]


def test_the_batch_of_a_divergence_has_a_page() -> None:
    model = mlp([1, 4, 1], rng=0)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 1e6), rng=0, engine="numpy")
    x = np.linspace(-1, 1, 32)[:, None]
    with pytest.raises(DivergenceError) as error:
        trainer.fit(x, x, epochs=50, progress=False)
    assert error.value.data
    assert data_of(trace(model, HalfSquaredError(), *error.value.data).to_html())["warning"]


def test_a_layer_without_source_has_a_page_without_its_code() -> None:
    space: dict[str, Any] = {"Layer": Layer}
    exec("class Twice(Layer):\n    def forward(self, x): return 2 * x\n    def backward(self, g): return 2 * g", space)
    x = np.ones((1, 2))
    steps = data_of(trace(Sequential(Dense(2, 2), space["Twice"]()), HalfSquaredError(), x, x).to_html())["steps"]
    assert "code" not in next(step for step in steps if step.get("path") == "1")


def test_a_model_of_two_thousand_layers_has_a_page() -> None:
    model = Sequential(*[Dense(2, 2) for _ in range(2000)]).initialize(0)
    data = data_of(trace(model, HalfSquaredError(), np.ones((1, 2)), np.ones((1, 2)), lines=False).to_html())
    assert len(data["steps"]) > 4000


def test_the_steps_of_a_graph_name_where_their_inputs_come_from() -> None:
    t = trace(gates().initialize(0), HalfSquaredError(), RNG.normal(size=(2, 4)), np.ones((2, 1)))
    step = next(one for one in data_of(t.to_html())["steps"] if one["path"] == "sum" and one["phase"] == "forward")
    tokens = [token for token in step["rows"][0]["tokens"] if not isinstance(token, str)]
    assert [token[3:] for token in tokens] == [[], ["gate.1"], ["new.1"], []]
    assert step["rows"][0]["work"] == [[], [[1.0, 1], [1.0, 2], [1.0, 3]], None]


def test_what_a_container_of_the_user_s_computes_for_its_parts_is_named() -> None:
    t = trace(MODELS["own"]().initialize(0), HalfSquaredError(), RNG.normal(size=(2, 4)), np.ones((2, 1)))
    rows = [row["tokens"] for step in data_of(t.to_html())["steps"] for row in step["rows"] if step.get("path") == "0"]
    assert [row[0][0] for row in rows if len(row) == 1][1:3] == ["error of 0.f.1", "error of 0.heads.0"]
    assert all(isinstance(row[-1], list) or row[-1] == ")" for row in rows)


def test_save_writes_the_page(tmp_path: Path) -> None:
    t = article()
    t.save(tmp_path / "step.html")
    assert (tmp_path / "step.html").read_text("utf-8") == t.to_html()


def test_the_campaign_says_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "browser", lambda: None)
    assert campaign.main([]) == 0
    assert "there is no Chromium. Install it" in capsys.readouterr().out


@pytest.mark.skipif(campaign.browser() is None, reason="there is no Chromium")
def test_the_campaign_visits_every_step_in_a_browser(capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign.main(["--only", "names with HTML"]) == 0
    assert re.search(r"names with HTML, narrow +\d+ steps, +\d\d+ numbers", capsys.readouterr().out)


class Absolute(Loss):
    """Measure the absolute error; the equation is not that of the code.

    Forward:
        p = softmax(a)
        e = mean(|a − y|)
    Backward:
        ∂e/∂a = sign(a − y)
    """

    @override
    def forward_rows(self, prediction: Array, target: Array) -> Array:
        self._sign = np.sign(prediction - target)
        rows: Array = np.abs(prediction - target).sum(axis=1)
        return rows

    @override
    def backward_rows(self) -> Array:
        return self._sign


LOSSES: dict[str, tuple[Loss, Any, str]] = {
    "one sample": (HalfSquaredError(), [[1.0, 0.0]], "½ (0.25 − 1)² + ½ ((−0.5) − 0)²"),
    "two samples": (HalfSquaredError(), [[1.0, 0.0], [1.0, 1.0]],
                    "1/2 · (½ (0.25 − 1)² + ½ ((−0.5) − 0)² + ½ (0.25 − 1)² + ½ ((−0.5) − 1)²)"),
    "a mean": (MeanSquaredError(), [[1.0, 0.0]], "1/2 · ((0.25 − 1)² + ((−0.5) − 0)²)"),
    "labels": (SoftmaxCrossEntropy(), [1], "−(0 · log(0.6792) + 1 · log(0.3208))"),
    "a loss of the user's": (Absolute(), [[1.0, 0.0]], ""),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_worked_out_from_all_samples(name: str) -> None:
    loss, y, wanted = LOSSES[name]
    model = Dense(1, 2)
    model.weight.value[:] = [[0.25], [-0.5]]
    data = data_of(trace(model, loss, np.ones((len(y), 1)), np.array(y)).to_html())
    (row,) = next(step for step in data["steps"] if step["phase"] == "loss")["rows"]
    assert row.get("work", "") == wanted


def test_the_loss_of_a_large_batch_is_shown_alone() -> None:
    t = trace(Dense(1, 1), HalfSquaredError(), np.ones((20, 1)), np.zeros((20, 1)))
    step = next(step for step in data_of(t.to_html())["steps"] if step["phase"] == "loss")
    assert [token[0] for token in step["rows"][0]["tokens"]] == ["e"]
    assert step["note"] == "e is the mean over all N = 20 samples, of which the page has the first 8."
