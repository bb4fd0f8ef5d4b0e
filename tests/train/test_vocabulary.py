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
        "--config.model.decoder.vocab_size=8192, or name another sentencepiece model."
    )


def test_a_stride_needs_a_model_that_does_not_count_its_marks():
    cfg = load_config("fuji-tiny").config
    cfg.model.decoder.set(pad_token_id=3)
    cfg.model.decoder.transformer.num_layers = 1
    cfg.evalers["validation"].input.eval_stride_tokens = 32
    with pytest.raises(VocabularyError) as error:
        cfg.instantiate().open_inputs(data_dir=None)
    assert str(error.value) == (
        "evalers['validation'].input.eval_stride_tokens marks targets that do not count with 0, "
        "but model.decoder.pad_token_id is 3; set it to 0, or the stride to None."
    )
