"""The text of a config: what every kind of node looks like, and in which order."""

import dataclasses
import enum
import subprocess
import sys
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from axl_exp.config import (
    REQUIRED,
    ConfigBase,
    Configurable,
    Required,
    config_class,
    config_for_class,
    config_for_function,
)
from axl_exp.config.describe import UnprintableValueError
from axl_exp.config.text import config_text, flatten

HERE = __name__


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Policy:
    every: int
    names: tuple = ()


class Thing:
    def method(self):
        """Does nothing."""


def schedule(step, *, peak=1.0):
    return peak * step


@config_class
class Leaf(ConfigBase):
    """A plain config."""

    size: int = 1
    note: str | None = None
    value: Any = 0.5


@config_class
class Rule(ConfigBase):
    """A named config."""

    name: str | None = None
    shape: tuple = (1, 2)


class Layer(Configurable):
    """Something configurable."""

    @config_class
    class Config(Configurable.Config):
        """Its config."""

        dim: Required[int] = REQUIRED
        bias: bool = False
        inner: Leaf = Leaf()


@config_class
class Root(ConfigBase):
    """Holds anything."""

    value: Any = None
    a_field: int = 2


def lines_of(value: Any) -> list[str]:
    text = config_text(Root(value=value))
    assert text.startswith("a_field: 2\n")
    return text.splitlines()[1:]


def test_a_field_is_left_out_only_where_value_and_default_are_none():
    assert lines_of(None) == []
    assert lines_of(Leaf(value=None)) == [
        f"value: config @{HERE}:Leaf",
        "value.size: 1",
        "value.value: None",
    ]


def test_a_field_that_nobody_set_says_so():
    assert lines_of(Layer.default_config()) == [
        "value.bias: False",
        "value.dim: REQUIRED",
        f"value.inner: config @{HERE}:Leaf",
        "value.inner.size: 1",
        "value.inner.value: 0.5",
        f"value.klass: @{HERE}:Layer",
    ]


def test_fields_are_sorted_level_by_level():
    @config_class
    class Pair(ConfigBase):
        ab: int = 1
        a: Leaf = Leaf()

    assert [line.split(":")[0] for line in config_text(Pair()).splitlines()] == [
        "a",
        "a.size",
        "a.value",
        "ab",
    ]


def test_configs_of_functions_and_classes_say_what_they_are_of():
    assert lines_of(config_for_function(schedule)) == [
        f"value.fn: @{HERE}:schedule",
        "value.peak: 1.0",
        "value.step: REQUIRED",
    ]
    assert lines_of(config_for_class(Policy)) == [
        "value.every: REQUIRED",
        f"value.klass: @{HERE}:Policy",
        "value.names: ()",
    ]


def test_a_mapping_prints_its_items_by_key_whatever_their_order():
    value = {"b": 1, 10: "ten", "a: b": {}, 9: [1], Colour.RED: None}
    expected = [
        "value[9]: [1]",
        'value[10]: "ten"',
        'value["a: b"]: {}',
        'value["b"]: 1',
        f"value[@{HERE}:Colour.RED]: None",
    ]
    assert lines_of(value) == expected
    assert lines_of(dict(reversed(value.items()))) == expected


def test_a_sequence_of_plain_values_stands_on_one_line_while_that_is_short():
    assert lines_of(list(range(25))) == [f"value: {list(range(25))}"]
    assert len(lines_of(list(range(25)))[0]) <= 100 < len(f"value: {list(range(26))}")
    assert lines_of(list(range(26))) == [
        "value: list of 26",
        *(f"value[{i}]: {i}" for i in range(26)),
    ]


def test_configs_with_names_of_their_own_are_keyed_by_name_in_their_order():
    first, second = Rule(name="v5e"), Rule(name="h100", shape=())
    assert lines_of([first, second]) == [
        "value: list by name",
        f'value["v5e"]: config @{HERE}:Rule',
        'value["v5e"].shape: (1, 2)',
        f'value["h100"]: config @{HERE}:Rule',
        'value["h100"].shape: ()',
    ]
    assert lines_of((first,))[0] == "value: tuple by name"


@pytest.mark.parametrize(
    "items", [[Rule(name="a"), Rule(name="a")], [Rule(name="a"), Rule()], [Leaf(), Rule(name="a")]]
)
def test_configs_without_names_of_their_own_are_keyed_by_place(items):
    assert lines_of(items)[0] == "value: list of 2"
    assert lines_of(items)[1].startswith("value[0]: config @")


def test_a_table_of_patterns_is_keyed_by_pattern_in_its_order():
    table = [(".*bias", Leaf()), (".*", None)]
    assert lines_of(table) == [
        "value: list of pairs",
        f'value[".*bias"]: config @{HERE}:Leaf',
        'value[".*bias"].size: 1',
        'value[".*bias"].value: 0.5',
        'value[".*"]: None',
    ]
    assert lines_of([("x" * 60, 1), ("y" * 60, 2)])[0] == "value: list of pairs"
    assert lines_of([("a", 1), ("b", 2)]) == ['value: [("a", 1), ("b", 2)]']
    assert lines_of([("a", Leaf()), ("a", 1)])[0] == "value: list of 2"


def test_list_and_tuple_and_mapping_differ_on_their_line():
    heads = [lines_of(v)[0] for v in ([Leaf()], (Leaf(),), {0: Leaf()})]
    leaf = f"config @{HERE}:Leaf"
    assert heads == ["value: list of 1", "value: tuple of 1", f"value[0]: {leaf}"]


def test_freezing_does_not_change_the_text():
    cfg = Root(value=[{"a": [Rule(name="r")]}, (1, [2])])
    assert config_text(cfg.clone().freeze()) == config_text(cfg)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [Thing().method]}, 'value["a"]: cannot print a builtins.method: '),
        (Policy(every=1, names=(Leaf(),)), "value: cannot print a config "),
        ({PurePosixPath("a"): 1, PureWindowsPath("a"): 2}, 'value[path("a")]: two keys print as '),
    ],
)
def test_a_refusal_starts_with_the_path(value, message):
    with pytest.raises(UnprintableValueError) as error:
        flatten(Root(value=value))
    assert str(error.value).startswith(message)


PROGRAM = """
{imports}
from axl_exp.config import ConfigBase, config_class
from axl_exp.config.text import config_text
from typing import Any
import jax, jax.numpy as jnp, optax
@config_class
class Root(ConfigBase):
    value: Any = None
print(config_text(Root(value=[
    {{"b": {{3, "x", "y", None}}, "a": frozenset("abcdefgh")}},
    jax.nn.silu, jnp.bfloat16, optax.adamw, jax.sharding.PartitionSpec("a", unreduced={{"b", "c"}}),
])))
"""


def test_the_text_does_not_depend_on_hash_seed_or_import_order():
    outputs = set()
    for seed, imports in (("1", ""), ("2", "import optax, jax.scipy.linalg")):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(imports=imports)],
            env={"PYTHONHASHSEED": seed, "PATH": "", "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(run.stdout)
    assert len(outputs) == 1
    assert '\nvalue[2]: dtype("bfloat16")\n' in outputs.pop()
