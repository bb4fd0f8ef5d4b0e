"""Data and model must mean the same tokens."""

import pytest

from axl_exp.registry import load_config
from axl_exp.train.trainer import SpmdTrainer, VocabularyError


def trainer_of(name: str, **decoder) -> SpmdTrainer:
    cfg = load_config(name).config
    cfg.model.decoder.set(**decoder)
    cfg.model.decoder.transformer.num_layers = 1
    return cfg.instantiate()


def test_a_vocabulary_that_is_too_large_names_the_override():
    with pytest.raises(VocabularyError) as error:
        trainer_of("fuji-tiny", vocab_size=32).open_inputs(data_dir=None)
    assert str(error.value) == (
        "input.vocabulary has 8192 tokens, the model only 32; set "
        "--config.model.decoder.vocab_size=8192, or name another vocabulary."
    )


def test_a_padding_token_that_is_text_names_the_override():
    with pytest.raises(VocabularyError) as error:
        trainer_of("fuji-tiny", pad_token_id=3).open_inputs(data_dir=None)
    assert str(error.value) == (
        "model.decoder.pad_token_id is 3, which is text in input.vocabulary ('\\n') and would "
        "never be learned; set --config.model.decoder.pad_token_id=-1: rows mark their padding "
        "themselves."
    )


@pytest.mark.parametrize("pad_token_id", [0, -1, 8192])
def test_a_padding_token_that_is_no_text_is_accepted(pad_token_id):
    trainer_of("fuji-tiny", pad_token_id=pad_token_id).open_inputs(data_dir=None)
