"""Every built-in passes the conformance kit, and every planted fault is caught for the right reason."""

from __future__ import annotations

import pytest

from minidl.testing.report import conclude
from tests.campaigns import conformance
from tests.support import conformance_table
from tests.support.conformance_table import TABLE, missing_parts
from tests.support.planted.faults import FAULTS, Fault


@pytest.mark.parametrize("name", TABLE)
def test_a_built_in_keeps_its_contract(name: str) -> None:
    report = conclude(TABLE[name](), name)
    assert report.not_run == ()
    assert len(report.passed) == len(report.outcomes) >= 14


def test_no_public_class_is_missing_from_the_table() -> None:
    assert missing_parts() == []


def test_a_public_class_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TABLE, "Softplus")
    monkeypatch.delitem(TABLE, "Huber")
    assert missing_parts() == ["Softplus", "Huber"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_fails_the_check_that_is_meant_for_it(fault: Fault) -> None:
    report = fault.report()
    assert report.failed == fault.failed
    assert fault.says in str(report)


def test_there_are_faults_of_every_kind() -> None:
    kinds = {fault.name.split(" ")[0] for fault in FAULTS}
    assert {"merge", "activation", "loss", "optimizer"} < kinds
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 100


def test_the_command_prints_the_figures_and_fails_where_one_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {name: TABLE[name] for name in ("Dense", "Sequential without parameters", "SGD")}
    right, wrong = FAULTS[0], Fault("not a fault", FAULTS[0].check, ("another check",), "")
    monkeypatch.setattr(conformance, "TABLE", few)
    monkeypatch.setattr(conformance, "FAULTS", [right])
    assert conformance.main() == 0
    printed = capsys.readouterr().out
    assert "of 3 objects, 0 failed" in printed
    assert "planted faults caught: 1 of 1" in printed
    for method in ("complex step", "central differences", "float32"):
        assert f"worst relative error, {method}" in printed
    monkeypatch.setattr(conformance, "FAULTS", [right, wrong])
    assert conformance.main() == 1
    assert "caught: 1 of 2: not not a fault" in capsys.readouterr().out
    monkeypatch.setattr(conformance, "FAULTS", [right])
    monkeypatch.setattr(conformance, "LIMITS", {**conformance.LIMITS, "float32": 1e-12})
    assert conformance.main() == 1
    monkeypatch.undo()
    monkeypatch.setattr(conformance, "TABLE", few)
    monkeypatch.setattr(conformance, "FAULTS", [])
    monkeypatch.setattr(conformance_table, "TABLE", few)
    assert conformance.main() == 1
    assert "BatchNorm" in capsys.readouterr().out
