"""Flat text to config: the text of what is built is the text again."""

import pytest

from axl_exp.config import ConfigError
from axl_exp.config.build import build_config
from axl_exp.config.parse import parse_text
from axl_exp.config.text import config_text
from axl_exp.registry import find_symbol, list_configs, load_config


def built(text):
    return build_config(parse_text(text), find=find_symbol)


@pytest.mark.parametrize("name", list_configs())
def test_a_config_is_built_again_from_its_text(name):
    cfg = load_config(name).config
    again = built(config_text(cfg))
    assert config_text(again) == config_text(cfg)
    assert type(again) is type(cfg)


def test_a_built_config_equals_the_one_that_was_written():
    cfg = load_config("fuji-1B-v3").config
    assert built(config_text(cfg)) == cfg


def changed(path, text):
    lines = config_text(load_config("fuji-tiny").config).splitlines()
    assert any(line.startswith(f"{path}: ") for line in lines)
    return "".join(f"{path}: {text}\n" if x.startswith(f"{path}: ") else f"{x}\n" for x in lines)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("model.klass", "@os:system", "model: @os:system is of no package of configs"),
        ("model.klass", "@axl_exp.model.gone:Gone", "model: @axl_exp.model.gone:Gone is not in"),
        ("model.decoder.dim", '"wide"', "model.decoder.dim: "),
    ],
)
def test_what_this_code_does_not_have_is_named_by_its_path(path, text, message):
    with pytest.raises(ConfigError) as error:
        built(changed(path, text))
    assert str(error.value).startswith(message)


def test_a_text_that_does_not_say_what_it_is_of_is_refused():
    with pytest.raises(ConfigError, match="no line `klass"):
        built("max_step: 3\n")
