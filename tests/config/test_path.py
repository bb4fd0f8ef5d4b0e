"""Paths: their text, what they name, what they say when they name nothing."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.config import ConfigBase, InvalidPathError, Required, UnknownFieldError, config_class
from axl_exp.config.path import parse_path, path_text
from axl_exp.config.required import REQUIRED


@config_class
class Named(ConfigBase):
    name: str = "a"
    value: int = 0


@config_class
class Tree(ConfigBase):
    leaf: int = 1
    by_key: dict[str, Named] = {"a": Named(), "b.c": Named()}
    by_number: dict[int, int] = {3: 4}
    by_any: dict[Any, int] = {0.5: 1, True: 2, "7": 3}
    by_name: list[Named] = [Named(name="x"), Named(name="y", value=5)]
    by_index: tuple[Named, ...] = (Named(), Named())  # the same name twice
    pairs: list[tuple[str, float]] = [(".*bias", 0.0), (".*", 1.0)]
    unset: Required[Any] = REQUIRED


keys = st.one_of(
    st.text(max_size=5), st.integers(-9, 9), st.sampled_from(["a", "a.b", 'a"b', "a\\b", "é\n"])
)


@given(st.lists(keys, min_size=1, max_size=4))
def test_the_text_of_a_path_parses_back(path):
    assert parse_path(path_text(path)) == tuple(path)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b_2.c", ("a", "b_2", "c")),
        ('evalers["x"].n', ("evalers", "x", "n")),
        ("evalers['x'].n", ("evalers", "x", "n")),
        ("evalers[x].n", ("evalers", "x", "n")),
        ("evalers.x.n", ("evalers", "x", "n")),
        ("layers[0].dim", ("layers", 0, "dim")),
        ("layers[-1]", ("layers", -1)),
        ('rates[".*bias"]', ("rates", ".*bias")),
        (r'a["\"\\\u00e9"]', ("a", '"\\é')),
        ("a['it\\'s']", ("a", "it's")),
        ("evalers[c4/en:3.0.1]", ("evalers", "c4/en:3.0.1")),
    ],
)
def test_what_a_path_reads_as(text, path):
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text", ["", ".", ".a", "a..b", "a[", "a]", "a[]", 'a["x]', "a b", "a.[b]"]
)
def test_a_malformed_path_says_how_to_write_one(text):
    with pytest.raises(InvalidPathError, match=re.escape('or evalers["valid"].input')):
        parse_path(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("leaf", 2),
        ('by_key["b.c"].value', 7),
        ("by_key.a.value", 7),
        ("by_number[3]", 7),
        ("by_any[0.5]", 7),
        ("by_any[True]", 7),
        ("by_any[7]", 7),
        ('by_name["y"].value', 7),
        ("by_name[0].value", 7),
        ("by_index[1].value", 7),
        ('pairs[".*bias"]', 0.5),
        ("pairs[1]", (".*kernel", 0.5)),
        ("pairs[1][1]", 0.5),
    ],
)
def test_what_is_set_at_a_path_is_read_there_and_nothing_else_changes(path, value):
    keys = parse_path(path)
    cfg, before = Tree(), Tree()
    assert cfg.set_recursively(keys, value=value) is cfg
    assert cfg.get_recursively(keys) == value and type(cfg.get_recursively(keys)) is type(value)
    assert cfg != before
    assert cfg.set_recursively(keys, value=before.get_recursively(keys)) == before


def test_an_empty_path_is_the_config_itself_and_cannot_be_set():
    cfg = Tree()
    assert cfg.get_recursively([]) is cfg
    with pytest.raises(InvalidPathError, match="An empty path names no field"):
        cfg.set_recursively([], value=1)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("laef", "the config has no 'laef' (did you mean leaf?)"),
        ("by_key.a.valeu", "by_key.a has no 'valeu' (did you mean value?)"),
        ('by_key["b.d"]', "by_key has no 'b.d' (did you mean b.c?)"),
        ("by_number[5]", "by_number has no 5 (there are: 3)"),
        ('by_name["z"]', "by_name has no 'z' (there are: x, y)"),
        ('by_index["a"]', "by_index has no 'a' (there are: 0, 1)"),
        ("by_index[2]", "by_index has 2 items, there is no [2]"),
        ("pairs.bias", "pairs has no 'bias' (did you mean .*bias?)"),
        ("leaf.x", "leaf.x does not exist: leaf is 1, which has no fields"),
        ("unset.x", "unset.x does not exist: unset is REQUIRED, which has no fields"),
    ],
)
def test_a_path_to_nothing_names_the_step_and_the_nearest(path, text):
    for use in (
        lambda: Tree().get_recursively(parse_path(path)),
        lambda: Tree().set_recursively(parse_path(path), value=1),
    ):
        with pytest.raises(UnknownFieldError) as error:
            use()
        assert str(error.value) == text


def test_what_is_set_in_a_container_is_checked_against_the_field():
    cfg = Tree()
    with pytest.raises(TypeError, match=r"Tree.pairs\[0\]\[1\]: expected float, got str 'x'"):
        cfg.set_recursively(["pairs", ".*bias"], value="x")
    assert cfg == Tree()
