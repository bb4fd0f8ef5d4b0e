"""The parser of flat text: the inverse of the writer, and its errors."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axl_exp.config.describe import Call, Symbol
from axl_exp.config.literal import Head, format_value
from axl_exp.config.parse import FlatConfig, parse_text
from axl_exp.config.parse_value import ParseError, parse_value
from axl_exp.config.required import REQUIRED
from axl_exp.config.text import config_text, flat_text, flatten
from tests.config.flat_strategies import configs, leaves, property_settings


@property_settings
@given(configs)
def test_text_to_parsed_to_text_is_the_identity(cfg):
    text = config_text(cfg)
    assert text.isascii()
    parsed = parse_text(text)
    assert parsed.texts == flatten(cfg)
    assert flat_text({path: format_value(value) for path, value in parsed.items()}) == text


@property_settings
@given(leaves)
def test_a_value_to_text_to_value_to_text_is_the_identity(value):
    text = format_value(value)
    assert format_value(parse_value(text)) == text
    assert "\n" not in text


@property_settings
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda v: st.lists(v) | st.lists(v).map(tuple) | st.dictionaries(st.text(), v),
        max_leaves=10,
    )
)
def test_plain_values_come_back_equal_and_of_the_same_type(value):
    assert repr(parse_value(format_value(value))) == repr(value) or value == parse_value(
        format_value(value)
    )


@property_settings
@given(configs, st.data())
def test_a_damaged_text_is_refused_or_is_what_it_says(cfg, data):
    text = config_text(cfg)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 3, len(text))))
    piece = data.draw(st.text(alphabet='ab01.,:"[](){}@\\\n -eé', max_size=3))
    damaged = text[:start] + piece + text[end:]
    try:
        parsed = parse_text(damaged)
    except ParseError as error:
        assert re.match(r"flat text(:\d+)?: ", str(error))
    else:
        kept = [line for line in damaged.split("\n") if line and not line.startswith("#")]
        assert flat_text(parsed.texts) == "".join(f"{line}\n" for line in kept)


@property_settings
@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    try:
        parse_value(text)
    except ParseError:
        return


def test_values_are_plain_or_say_what_they_stand_for():
    flat = parse_text(
        'dtype: dtype("bfloat16")\n'
        "fn: @jax.nn:silu\n"
        "items: list of 2\n"
        "items[0]: (1,)\n"
        'items[1]: @m:Policy(every=5, names=["a"])\n'
        "lr: 0.0003\n"
        "unset: REQUIRED\n"
    )
    assert dict(flat) == {
        "dtype": Call("dtype", ("bfloat16",)),
        "fn": Symbol("jax.nn:silu"),
        "items": Head("list of 2"),
        "items[0]": (1,),
        "items[1]": Call("@m:Policy", (), (("every", 5), ("names", ["a"]))),
        "lr": 0.0003,
        "unset": REQUIRED,
    }
    assert flat.lines["lr"] == 6


def test_comments_and_blank_lines_are_skipped_and_lines_keep_their_numbers():
    flat = parse_text('# parameters: 8.1 M\n\na: 1\n# more\nb: "# kept"\n')
    assert dict(flat) == {"a": 1, "b": "# kept"}
    assert flat.lines == {"a": 3, "b": 5}
    assert flat == parse_text('a: 1\nb: "# kept"\n')
    assert flat != parse_text("a: 1\n")
    assert parse_text("") == FlatConfig({}, {}, {})


def test_parse_value_takes_what_a_person_would_write():
    assert parse_value("1e-4") == 0.0001
    assert parse_value("+3") == 3
    assert parse_value("[ 1,2 , ]") == [1, 2]
    assert parse_value("{3, 1}") == {1, 3}
    assert parse_value('{"a": 1, 2: (1,)}') == {"a": 1, 2: (1,)}
    assert parse_value("-inf") == float("-inf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a value at column 1, found the end of the line"),
        ("silu", 'expected a value at column 1, found "silu"'),
        ("1 2", 'expected nothing more at column 2, found " 2"'),
        ("[1 2]", 'expected `,` or `]` at column 4, found "2]"'),
        ("[1", "expected `,` or `]` at column 3, found the end of the line"),
        ("(1)", "a tuple of one item is written with a comma: (1,)"),
        ('"abc', 'expected a string that ends with a quote at column 1, found "\\"abc"'),
        (r'"\q"', r'"\q" is not a JSON string: Invalid \escape: line 1 column 2 (char 1)'),
        ('b"é"', 'expected bytes, `b"..."` of printable ASCII and \\xNN at column 1'),
        ("@jax", 'expected a name `@module:qualname` at column 1, found "@jax"'),
        ("array(1)", 'expected a value at column 1, found "array(1)"'),
        ("P(a=1, 2)", 'expected `name=value` at column 8, found "2)"'),
        ("{[1]}", "a list cannot be in a set or be a key of a dict"),
        ("{1: 2, 3}", "a dict has `key: value` everywhere, a set nowhere"),
        ("set({1})", "write set(), {1, 2}, frozenset() or frozenset({1, 2})"),
        ("[" * 100_000, "a value is nested too deeply"),
        ("9" * 5000, "the integer 99999999999999999999... is too long"),
    ],
)
def test_a_malformed_value_is_an_error_that_says_what_was_expected(text, message):
    with pytest.raises(ParseError) as error:
        parse_value(text)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb 2\n", '2: expected `: ` at column 2, found " 2"'),
        ("a:1\n", '1: expected `: ` at column 2, found ":1"'),
        (" a: 1\n", '1: expected a path, which starts with a field name at column 1, found " a:'),
        ("a..b: 1\n", '1: expected a field name at column 3, found ".b: 1"'),
        ("a: 1\n\na: 1\n", "3: a is already on line 1; remove one of the two"),
        ("a: 1e-4\n", "1: 1e-4 is not in the form that the writer prints; write 0.0001"),
        ("a: [1,2]\n", "1: [1,2] is not in the form that the writer prints; write [1, 2]"),
        ("a[01]: 1\n", "1: 01 is not in the form that the writer prints; write 1"),
        ("a: 1\na.b: 2\n", "1: a has a value and also lines below it; remove one or the other"),
        ("b: 1\na: 1\n", "1: a belongs here, before b; move it up from line 2"),
        ("a: list of 2\na[0]: 1\n", "1: a is a list of 2, so items [0] to [1] belong below it"),
        ("a: list by name\n", "1: a is a list by name, so only lines with names belong below it"),
        ("a: config @m:C\na[0]: 1\n", "1: a is a config, so only lines with fields belong below"),
        ("a.b: 1\na[0]: 1\n", "1: a has both fields and keys below it"),
    ],
)
def test_a_malformed_text_is_an_error_that_names_line_and_fix(text, message):
    with pytest.raises(ParseError) as error:
        parse_text(text, source="config.txt")
    assert str(error.value).startswith(f"config.txt:{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\r\nb: 2\r\n",
            "config.txt: has \\r in its line ends; flat text ends lines with \\n alone "
            "(git config core.autocrlf false, and check the file out again)",
        ),
        ("a: 1\nb: 2", "config.txt: the last line has no line end: the text may be cut short"),
    ],
)
def test_a_text_that_was_cut_or_converted_is_refused(text, message):
    with pytest.raises(ParseError, match=re.escape(message)):
        parse_text(text, source="config.txt")


def test_the_example_of_the_format_s_page_is_flat_text():
    page = (Path(__file__).parents[2] / "docs/flat_text.md").read_text(encoding="utf-8")
    example = page.split("```\n")[1]
    assert len(parse_text(example)) == example.count("\n") - 1
