"""What a suite may be: names that are there, once."""

import pytest

from axl_exp.errors import UserError
from axl_exp.golden.render import MAX_MARKDOWN_BYTES
from axl_exp.report.markdown import HALF_BYTES, fitted
from axl_exp.suite.__main__ import main
from axl_exp.suite.command_run import choose_cases
from axl_exp.suite.definition import Case, Suite

WHOLE = Case("whole", "core")
RESUMED = Case("resumed", "core", interrupt_at_step=9, losses_of="whole")


def test_a_case_that_is_to_have_the_losses_of_none_is_refused():
    with pytest.raises(UserError, match="'whole', which is no case of it"):
        Suite("x", (RESUMED,))


def test_two_cases_of_one_name_are_refused():
    with pytest.raises(UserError, match="two cases called whole"):
        Suite("x", (WHOLE, WHOLE))


def test_a_chosen_case_brings_the_case_whose_losses_it_must_have():
    suite = Suite("x", (WHOLE, Case("other", "core"), RESUMED))
    assert [case.name for case in choose_cases(suite, ["resumed"]).cases] == ["whole", "resumed"]


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_a_suite_is_shown_without_a_folded_name(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["show", "core"]) == 0
    told = capsys.readouterr().out
    assert all(len(line) <= columns for line in told.splitlines())
    rows = {line.split()[0]: line.split()[1] for line in told.splitlines() if line[0] != " "}
    assert rows["checkpoint_async"] == rows["resume"] == "core-checkpoint-async"
    assert "must have the losses of checkpoint_async, to the bit" in " ".join(told.split())


def test_goldens_and_metrics_fit_into_one_comment_of_github():
    assert MAX_MARKDOWN_BYTES + HALF_BYTES < 65_536
    text = fitted("head", ["x" * 10_000] * 9, rest="rest", most=HALF_BYTES)
    assert len(text.encode()) < HALF_BYTES + 100 and text.endswith("rest\n")
