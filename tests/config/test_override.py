"""Overrides: `--config.path=text`, typed by the field."""

import enum
import pathlib
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.config import (
    REQUIRED,
    ConfigBase,
    Override,
    OverrideError,
    Required,
    apply_overrides,
    config_class,
    config_for_function,
)
from axl_exp.config.path import parse_path


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


def schedule(peak: float, warmup_steps: int = 10, *, scale=1, floor=None):
    """A function of someone else: some parameters have no annotation."""


@config_class
class Inner(ConfigBase):
    name: str = "inner"
    n: int = 1


@config_class
class Outer(ConfigBase):
    steps: int = 1
    rate: float = 0.1
    flag: bool = False
    text: str = "x"
    maybe: int | None = None
    maybe_text: str | None = None
    number: int | float = 1
    int_or_text: int | str = 0
    bool_or_int: bool | int = 0
    needed: Required[int] = REQUIRED
    color: Color = Color.RED
    mode: Literal["fast", "exact"] = "fast"
    dtype: jnp.dtype = jnp.bfloat16
    any_dtype: Any = jnp.float32
    path: pathlib.Path | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    axes: tuple[str, ...] = ("data",)
    names: list[str] = []
    table: dict[str, float] = {"a": 0.5}
    anything: Any = None
    some: Any = "text"
    inner: Inner = Inner()
    optional_inner: Inner | None = None
    evalers: dict[str, Inner] = {"x": Inner(), "c4/en": Inner()}
    by_step: dict[str, int] = {"7": 0}
    layers: list[Inner] = [Inner(name="a"), Inner(name="b")]
    rates: list[tuple[str, float]] = [("bias", 0.0), ("*", 1.0)]
    fn: Callable = print
    schedule: Any = config_for_function(schedule)


def override(path: str, text: str) -> Any:
    cfg, _ = apply_overrides(Outer(), [Override(path, text)])
    return cfg


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("steps", "8", 8),
        ("steps", "-8", -8),
        ("steps", "1e6", 1_000_000),
        ("steps", "1_000", 1000),
        ("steps", "0x10", 16),
        ("rate", "3e-4", 3e-4),
        ("rate", "-1", -1.0),
        ("rate", "inf", float("inf")),
        ("flag", "true", True),
        ("flag", "True", True),
        ("flag", "0", False),
        ("text", "hello world", "hello world"),
        ("text", "3", "3"),
        ("text", "none", "none"),
        ("text", '"quoted"', "quoted"),
        ("text", "'it\\'s'", "it's"),
        ("text", "", ""),
        ("text", "a=b", "a=b"),
        ("maybe", "none", None),
        ("maybe", "None", None),
        ("maybe", "5", 5),
        ("maybe_text", "none", None),
        ("maybe_text", '"none"', "none"),
        ("number", "2", 2),
        ("number", "0.5", 0.5),
        ("int_or_text", "7", 7),
        ("int_or_text", "seven", "seven"),
        ("int_or_text", '"7"', "7"),
        ("bool_or_int", "1", 1),
        ("bool_or_int", "true", True),
        ("needed", "3", 3),
        ("color", "BLUE", Color.BLUE),
        ("color", "blue", Color.BLUE),
        ("mode", "exact", "exact"),
        ("mode", '"exact"', "exact"),  # As config.txt has it.
        ("dtype", "float32", np.dtype("float32")),
        ("dtype", "bfloat16", jnp.dtype("bfloat16")),
        ("dtype", 'dtype("float32")', np.dtype("float32")),  # As config.txt has it.
        ("dtype", "jnp.float8_e4m3fn", jnp.dtype("float8_e4m3fn")),
        ("any_dtype", "bfloat16", jnp.dtype("bfloat16")),
        ("path", "/data/c4", pathlib.Path("/data/c4")),
        ("betas", "(0.8, 0.9)", (0.8, 0.9)),
        ("betas", "[0.8, 1]", (0.8, 1)),
        ("betas[1]", "0.99", 0.99),
        ("axes", "'data', 'fsdp'", ("data", "fsdp")),
        ("axes[0]", "model", "model"),
        ("names", '["a", "b"]', ["a", "b"]),
        ("names", "()", []),
        ("table", "{'b': 1}", {"b": 1}),
        ('table["a"]', "1", 1.0),
        ("table.a", "1e-3", 1e-3),
        ("anything", "3", 3),
        ("anything", "[1, 'a']", [1, "a"]),
        ("anything", "free text", "free text"),
        ("some", "3", "3"),
        ("inner.n", "4", 4),
        ('evalers["x"].n', "4", 4),
        ("evalers.x.n", "4", 4),
        ("evalers[c4/en].n", "4", 4),
        ('layers["b"].n', "4", 4),
        ("layers[-1].n", "4", 4),
        ('rates["bias"]', "0.5", 0.5),
        ("schedule.peak", "1e-3", 1e-3),
        ("schedule.warmup_steps", "2000", 2000),
        ("schedule.scale", "0.5", 0.5),
        ("schedule.floor", "0.1", 0.1),
    ],
)
def test_a_text_becomes_a_value_of_the_type_of_its_field(path, text, value):
    cfg = override(path, text)
    got = cfg.get_recursively(parse_path(path))
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("steps", "8.5", "'8.5' is not a value of type int"),
        ("steps", "1e17", "'1e17' is not a value of type int"),
        ("steps", "", "'' is not a value of type int"),
        ("steps", "none", "'none' is not a value of type int"),
        ("rate", "fast", "'fast' is not a value of type float"),
        ("flag", "maybe", "'maybe' is not a value of type bool; write true or false"),
        ("maybe", "x", "'x' is not a value of type int | None"),
        ("color", "GREEN", "'GREEN' is not a value of type Color; one of: RED, BLUE"),
        ("mode", "slow", "'slow' is not a value of type 'fast' | 'exact'"),
        ("dtype", "float33", "'float33' is not a value of type dtype"),
        (
            "axes",
            "data",
            "'data' is not a value of type tuple[str, ...]; write it as in Python, "
            "strings in quotes",
        ),
        (
            "betas",
            "(1, 2, 3)",
            "'(1, 2, 3)' is not a value of type tuple[float, float]; write it as in Python, "
            "strings in quotes",
        ),
        ("some.x", "1", "some.x does not exist: some is 'text', which has no fields"),
        ("inner", "3", "that is a config, not a value; override one of its fields instead"),
        ("fn", "len", "function has no text; set it in a recipe or a modifier"),
        ("schedule.fn", "len", "function has no text; set it in a recipe or a modifier"),
        ("setps", "3", "the config has no 'setps' (did you mean steps, betas?)"),
        ('evalers["y"].n', "3", "evalers has no 'y' (there are: x, c4/en)"),
        ("inner..n", "3", "Malformed path 'inner..n' at '..n'; write it like "),
    ],
)
def test_a_text_that_does_not_fit_is_an_error_that_shows_the_flag(path, text, message):
    with pytest.raises(OverrideError) as error:
        override(path, text)
    assert str(error.value).startswith(f"--config.{path}={text}: {message}")


@given(st.integers(-(2**70), 2**70))
def test_every_int_reads_back(number):
    assert override("steps", str(number)).steps == number


@given(st.floats(allow_nan=False))
def test_every_float_reads_back(number):
    assert override("rate", repr(number)).rate == number


@given(st.text())
def test_every_string_reads_back_from_its_repr(text):
    assert override("text", repr(text)).text == text


@given(st.lists(st.text() | st.none() | st.booleans() | st.integers()))
def test_every_literal_reads_back_from_its_repr(items):
    assert override("anything", repr(items)).anything == items


def test_overrides_are_applied_to_a_copy_all_or_none():
    cfg = Outer()
    with pytest.raises(OverrideError):
        apply_overrides(cfg, [Override("steps", "5"), Override("rate", "x")])
    assert cfg == Outer()
    changed, warnings = apply_overrides(cfg, [Override("steps", "5"), Override("inner.n", "2")])
    assert (changed.steps, changed.inner.n, warnings) == (5, 2, [])
    assert cfg == Outer()


def test_overrides_of_a_frozen_config_give_a_free_one():
    cfg, _ = apply_overrides(Outer().freeze(), [Override('table["a"]', "2")])
    assert cfg.table == {"a": 2.0}


def test_an_override_that_changes_nothing_is_a_warning():
    _, warnings = apply_overrides(Outer(), [Override("steps", "1"), Override("rate", "0.2")])
    assert warnings == ["--config.steps=1 changes nothing: that is the value already"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("steps=1", "steps=2"),
        ("steps=1", "steps=1"),
        ('evalers["x"].n=1', "evalers.x.n=2"),
        ('by_step["7"]=1', "by_step[7]=2"),
        ('layers["b"].n=1', "layers[1].n=2"),
        ("layers[1].n=1", "layers[-1].n=2"),
        ('rates["*"]=1', "rates[1][1]=2"),
        ("betas=(1, 2)", "betas[0]=3"),
        ("betas[0]=3", "betas=(1, 2)"),
    ],
)
def test_two_overrides_of_one_field_are_an_error_however_they_are_written(one, two):
    with pytest.raises(OverrideError) as error:
        apply_overrides(Outer(), [Override(*one.split("=")), Override(*two.split("="))])
    assert str(error.value) == (
        f"--config.{two} and --config.{one} set the same field; keep one of them"
    )


def test_an_override_remembers_its_flag():
    (write,) = override("inner.n", "7").inner.writes("n")
    assert (write.by, write.where, write.value) == ("command line", "--config.inner.n=7", 7)
