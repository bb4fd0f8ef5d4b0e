"""Diffs and deltas of flat text: they name what was done, and apply back exactly."""

import re

import pytest
from hypothesis import given

from axl_exp.config.delta import delta_text, parse_delta
from axl_exp.config.diff import (
    Added,
    ApplyError,
    Changed,
    Moved,
    Removed,
    Reordered,
    apply,
    diff,
)
from axl_exp.config.parse import parse_text
from axl_exp.config.parse_value import ParseError
from axl_exp.config.text import config_text, flat_text, flatten
from tests.config.flat_strategies import configs, edited, property_settings

BASE = """\
checkpointer.keep_last_n: 3
learner.optimizer.fn: @optax:adamw
learner.optimizer.learning_rate: 0.0003
model.decoder.dim: 256
model.decoder.klass: @axl_exp.model.decoder:Decoder
model.note: "the one and only -> note"
rules: list by name
rules["v4"].n: 4
rules["v4"].shape: (1, 4)
rules["v5e"].n: 16
rules["v5e"].shape: (1, 16)
rules["h100"].n: 8
rules["h100"].shape: (1, 8)
"""


def edit(*edits: tuple[str, str]) -> str:
    text = BASE
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, pattern
    return text


def changes(after: str) -> list:
    a, b = parse_text(BASE), parse_text(after)
    found = diff(a, b)
    assert list(apply(found, a).items()) == list(b.texts.items())
    assert parse_delta(delta_text(found)) == found
    return found


@property_settings
@given(edited())
def test_a_diff_applied_to_the_first_gives_the_second_line_by_line(pair):
    a, b = map(flatten, pair)
    found = diff(a, b)
    assert list(apply(found, a).items()) == list(b.items())
    parsed = parse_text(config_text(pair[0])), parse_text(config_text(pair[1]))
    assert diff(*parsed) == found


@property_settings
@given(edited())
def test_a_golden_and_a_delta_text_give_the_resolved_text(pair):
    golden, resolved = map(config_text, pair)
    delta = delta_text(diff(parse_text(golden), parse_text(resolved)))
    assert flat_text(apply(parse_delta(delta), parse_text(golden))) == resolved
    assert delta.isascii()


@property_settings
@given(configs)
def test_a_config_does_not_differ_from_itself(cfg):
    assert diff(flatten(cfg), flatten(cfg.clone())) == []


@property_settings
@given(edited())
def test_a_diff_says_nothing_about_lines_that_both_have(pair):
    a, b = map(flatten, pair)
    for change in diff(a, b):
        match change:
            case Added(path, after):
                assert path not in a and b[path] == after
            case Removed(path, before):
                assert path not in b and a[path] == before
            case Changed(path, before, after):
                assert a[path] == before != after == b[path]
            case Moved(before, after):
                assert before != after
            case Reordered(path, before, after):
                assert before != after and sorted(after) == sorted(set(after))


def test_a_changed_an_added_and_a_removed_line():
    after = edit(("0.0003", "0.001"), ("^checkpointer.*\n", ""), ("^(model.d)", r"max_step: 9\n\1"))
    after = after.replace("max_step: 9\nmodel.decoder.klass", "model.decoder.klass")
    assert changes(after) == [
        Removed("checkpointer.keep_last_n", "3"),
        Changed("learner.optimizer.learning_rate", "0.0003", "0.001"),
        Added("max_step", "9"),
    ]


def test_a_renamed_subtree_is_one_move():
    assert changes(edit(("decoder\\.(?!:)(dim|klass)", r"backbone.\1"))) == [
        Moved("model.decoder", "model.backbone")
    ]


def test_a_renamed_field_is_a_move():
    assert changes(edit(("learning_rate", "rate"))) == [
        Moved("learner.optimizer.learning_rate", "learner.optimizer.rate")
    ]


def test_a_line_that_went_elsewhere_is_a_move_if_its_value_tells_it_from_all_others():
    after = edit(("^model.note(.*)\n", ""), ("^(learner.optimizer.fn)", r"learner.note\1"))
    after = after.replace(
        "learner.notelearner", 'learner.note: "the one and only -> note"\nlearner'
    )
    assert changes(after) == [Moved("model.note", "learner.note")]
    # 3 may stand anywhere.
    after = edit(("^checkpointer.*\n", ""), ("^(rules: )", r"model.size: 3\n\1"))
    assert changes(after) == [Removed("checkpointer.keep_last_n", "3"), Added("model.size", "3")]


def test_a_renamed_item_is_a_move_and_keeps_its_place():
    assert changes(edit(('"v5e"', '"v6e"'))) == [Moved('rules["v5e"]', 'rules["v6e"]')]


def test_an_item_inserted_in_the_middle_does_not_touch_the_others():
    after = edit((r'^(rules\["v5e"\]\.n)', r'rules["v5p"].n: 32\n\1'))
    assert changes(after) == [
        Added('rules["v5p"].n', "32"),
        Reordered("rules", before=("v4", "v5e", "h100"), after=("v4", "v5p", "v5e", "h100")),
    ]
    assert changes(BASE + 'rules["a100"].n: 2\n') == [Added('rules["a100"].n', "2")]


def test_a_change_of_order_alone_is_seen():
    lines = BASE.splitlines(keepends=True)
    assert changes("".join(lines[:7] + lines[9:11] + lines[7:9] + lines[11:])) == [
        Reordered("rules", before=("v4", "v5e", "h100"), after=("v5e", "v4", "h100"))
    ]


def test_the_delta_text_has_one_line_per_change():
    found = [
        Moved("model.decoder", "model.backbone"),
        Changed("a", '"x -> y"', '"a: b"'),
        Added('m["-> "]', "list of 2"),
        Removed("b.c", "None"),
        Reordered("rules", before=("v4",), after=("v5", "v4")),
    ]
    text = (
        "moved model.decoder -> model.backbone\n"
        'a: "x -> y" -> "a: b"\n'
        '+ m["-> "]: list of 2\n'
        "- b.c: None\n"
        'order rules: ["v4"] -> ["v5", "v4"]\n'
    )
    assert delta_text(found) == text
    assert parse_delta("# tpu-v5e-256\n\n" + text) == found
    assert delta_text([]) == "" and parse_delta("") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n", "delta.txt:1: expected ` -> ` at column 5, found the end of the line"),
        ("+ a 1\n", 'delta.txt:1: expected `: ` at column 4, found " 1"'),
        ("moved a\n", "delta.txt:1: expected ` -> ` at column 8, found the end of the line"),
        ("order a: 1 -> 2\n", "delta.txt:1: expected a list of strings"),
        (
            "\na: 1e-4 -> 2.0\n",
            "delta.txt:2: not in the form that the writer prints; write a: 0.0001 -> 2.0",
        ),
    ],
)
def test_a_malformed_delta_is_an_error_that_names_the_line(text, message):
    with pytest.raises(ParseError) as error:
        parse_delta(text, source="delta.txt")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            Changed("model.decoder.dim", "128", "64"),
            "model.decoder.dim was 128 when the change was made, and the text it is applied to "
            "has 256; make the change anew from this text",
        ),
        (Removed("gone", "1"), "gone was 1 when the change was made, and the text it is applied"),
        (
            Added("model.decoder.dim", "64"),
            "model.decoder.dim cannot be added as 64: it is there already, as 256; "
            "make the change anew from this text",
        ),
        (
            Moved("gone", "here"),
            "gone cannot be moved to here: the text lacks it; make the change anew from this text",
        ),
        (
            Moved("model.decoder.dim", "model.note"),
            "a move ends at model.note, where there is something already",
        ),
        (
            Reordered("rules", ("v4",), ("v4", "v6e")),
            "rules cannot be put into the order ['v4', 'v6e']: its items are "
            "['v4', 'v5e', 'h100']; make the change anew from this text",
        ),
    ],
)
def test_a_change_that_does_not_fit_the_text_is_refused(change, message):
    with pytest.raises(ApplyError) as error:
        apply([change], parse_text(BASE))
    assert str(error.value).startswith(message)
