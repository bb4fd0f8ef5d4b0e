"""Real text as batches of tokens: TFDS sources, vocabularies, Grain pipelines."""

from axl_exp.data.corpus import (
    EMBEDDED_DATASET,
    EMBEDDED_VOCABULARY,
    EMBEDDED_VOCABULARY_SIZE,
    data_home,
    prepare_embedded_corpus,
)
from axl_exp.data.errors import DataError
from axl_exp.data.input import DataIterator, Input, join_states, use_embedded_corpus
from axl_exp.data.mixture import Component, TextMixture, dataset_text
from axl_exp.data.source import TextDocument, TfdsTextSource, TokenDocument
from axl_exp.data.vocabulary import Vocabulary, vocabulary_path
from axl_exp.data.windows import NO_TARGET

__all__ = [
    "EMBEDDED_DATASET",
    "EMBEDDED_VOCABULARY",
    "EMBEDDED_VOCABULARY_SIZE",
    "Component",
    "DataError",
    "DataIterator",
    "Input",
    "NO_TARGET",
    "Vocabulary",
    "TextDocument",
    "TextMixture",
    "TfdsTextSource",
    "TokenDocument",
    "data_home",
    "dataset_text",
    "join_states",
    "prepare_embedded_corpus",
    "use_embedded_corpus",
    "vocabulary_path",
]
