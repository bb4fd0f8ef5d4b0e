"""AXLearn's views of a config."""

import dataclasses
from collections import defaultdict
from typing import Any, NamedTuple

import attrs
import pytest

from axl_exp.config import REQUIRED, ConfigBase, Required, config_class, similar_names


class Span(NamedTuple):
    start: int
    stop: int


@dataclasses.dataclass
class Cat:
    name: str
    owner: str | None = None
    adopted: bool = True


@attrs.define
class Size:
    width: int = 1


@config_class
class Leaf(ConfigBase):
    count: int = 5


@config_class
class Tree(ConfigBase):
    cat: Cat = Cat("Ross")
    empty: list[int] = []
    fn: Any = similar_names
    items_of: dict[str, Any] = {"b": Leaf(), "a": [1, "x"]}
    kind: type = Cat
    none: int | None = None
    needed: Required[int] = REQUIRED
    number: float = 0.0
    size: Size = Size()
    span: Span = Span(1, 2)
    steps: range = range(2)
    sub: Leaf = Leaf()


FLAT = {
    "cat['name']": "Ross",
    "cat['adopted']": True,
    "fn": similar_names,
    "items_of['b'].count": 5,
    "items_of['a'][0]": 1,
    "items_of['a'][1]": "x",
    "kind": Cat,
    "number": 0.0,
    "size['width']": 1,
    "span['start']": 1,
    "span['stop']": 2,
    "steps[0]": 0,
    "steps[1]": 1,
    "sub.count": 5,
}


def test_the_flat_dict_leaves_out_what_is_none_or_required_by_default():
    assert list(Tree().to_flat_dict().items()) == list(FLAT.items())


def test_the_flat_dict_can_keep_everything():
    extra = {"cat['owner']": None, "none": None, "needed": REQUIRED}
    assert Tree().to_flat_dict(omit_default_values=()) == {**FLAT, **extra}


def test_what_was_set_to_none_is_kept():
    assert "needed" in Tree().set(needed=3).to_flat_dict()
    flat = Tree().set(items_of={"x": None}, fn=None).to_flat_dict()
    assert flat["items_of['x']"] is None and flat["fn"] is None


@pytest.mark.parametrize("value", [REQUIRED, None, False, 0, 0.0, ""])
@pytest.mark.parametrize("default", [REQUIRED, None, False, 0, 0.0, ""])
@pytest.mark.parametrize("omitted", [{None, REQUIRED}, set()])
def test_a_field_is_left_out_only_if_it_is_its_default_and_that_is_omitted(default, value, omitted):
    @config_class
    class One(ConfigBase):
        value: Any = default

    cfg = One(value=value)
    left_out = default is value and default in omitted
    assert cfg.debug_string(omit_default_values=omitted) == (
        "" if left_out else f"value: {value!r}"
    )


def test_the_debug_string_is_one_line_per_leaf():
    lines = str(Tree()).split("\n")
    assert lines[0] == "cat['name']: 'Ross'"
    assert "fn: 'axl_exp.config.names.similar_names'" in lines
    assert f"kind: '{__name__}.Cat'" in lines
    assert repr(Leaf()) == "count:5"


def test_to_dict_nests():
    assert Tree().to_dict() == {
        "cat": {"name": "Ross", "owner": None, "adopted": True},
        "empty": [],
        "fn": "axl_exp.config.names.similar_names",
        "items_of": {"b": {"count": 5}, "a": [1, "x"]},
        "kind": f"{__name__}.Cat",
        "none": None,
        "needed": REQUIRED,
        "number": 0.0,
        "size": {"width": 1},
        "span": {"start": 1, "stop": 2},
        "steps": [0, 1],
        "sub": {"count": 5},
    }


def test_to_dict_takes_default_dicts():
    @config_class
    class Holder(ConfigBase):
        value: dict[str, Any] = defaultdict(list)

    assert Holder().to_dict() == {"value": {}}


def test_visit_enters_what_enter_fn_returns_and_leaves_in_order():
    events = []

    def enter(key, value, items):
        events.append(("enter", key))
        return None if key == "cat" else items

    Tree().visit(
        lambda key, value: events.append(("visit", key)),
        enter,
        lambda key, value: events.append(("exit", key)),
    )
    assert events[:3] == [("enter", ""), ("enter", "cat"), ("visit", "cat")]
    assert events[-4:] == [
        ("enter", "sub.count"),
        ("visit", "sub.count"),
        ("exit", "sub"),
        ("exit", ""),
    ]
    assert ("exit", "items_of['a']") in events
