"""What a suite may be: names that are there, once."""

import pytest

from axl_exp.errors import UserError
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
