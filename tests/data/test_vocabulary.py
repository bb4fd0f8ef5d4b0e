"""Vocabularies: exact text, exact byte counts, plain errors."""

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from axl_exp.data import (
    EMBEDDED_VOCABULARY,
    EMBEDDED_VOCABULARY_SIZE,
    DataError,
    Vocabulary,
    prepare_embedded_corpus,
)
from axl_exp.data.corpus import documents
from axl_exp.data.sentencepiece_model import train_vocabulary


def _open(model_name: str, data_dir) -> Vocabulary:
    cfg = Vocabulary.default_config().set(model_name=model_name)
    return cfg.instantiate(data_dir=data_dir)


@pytest.fixture(scope="module")
def embedded() -> Vocabulary:
    return _open(EMBEDDED_VOCABULARY, prepare_embedded_corpus())


def _assert_exact(vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.num_bytes[ids].sum() == len(text.encode())


def test_the_embedded_vocabulary_has_the_special_ids_of_the_golden(embedded):
    assert embedded.size == len(embedded.num_bytes) == EMBEDDED_VOCABULARY_SIZE
    assert embedded.eos_id == 1
    assert embedded.num_bytes[:3].tolist() == [0, 0, 0]
    assert embedded.decode([0, 1]) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        "\n\n\n  \n",
        "def f(x):\n        return  x\n\n\n",
        "\ttab\r\nand return\r",
        "   leading and trailing   ",
        "a\u2581b \u2581\u2581 c",
        "\u2581",
        "<pad></s><unk><s><0x0A>",
        "nul\x00byte",
        "ﬁ ① Å Å e\u0301 東京 🐍 \ufeff \u200b \u2028",
        "x" * 10_000,
    ],
)
def test_hard_text_comes_back_exactly(embedded, text):
    _assert_exact(embedded, text)


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_exactly(embedded, text):
    _assert_exact(embedded, text)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet=" \n\t\u2581ab()=:\r"))
def test_any_whitespace_comes_back_exactly(embedded, text):
    _assert_exact(embedded, text)


def test_every_held_out_document_comes_back_exactly_at_over_three_bytes_per_token(embedded):
    held_out = [d.text for d in documents() if d.split == "validation"]
    for text in held_out:
        _assert_exact(embedded, text)
    num_tokens = sum(len(embedded.encode(text)) for text in held_out)
    assert sum(len(text.encode()) for text in held_out) / num_tokens > 3


def test_ids_are_those_of_sentencepiece_itself(embedded):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(embedded.path))
    text = "class A:\n    def b(self):\n        pass\n"
    assert embedded.encode(text) == processor.encode(text)


def test_training_is_deterministic():
    texts = [d.text for d in documents() if d.name.startswith("json/")]
    assert train_vocabulary(texts, size=700) == train_vocabulary(texts, size=700)


def test_a_vocabulary_that_normalizes_is_used_as_its_maker_meant_it(data_dir):
    vocabulary = _open("mine.model", data_dir)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary.path))
    text = "the \u2581 quick  brown"
    assert vocabulary.encode(text) == processor.encode(text)
    assert vocabulary.decode(vocabulary.encode(text)) == "the quick brown"


def test_a_missing_vocabulary_names_the_place_and_what_is_there(data_dir):
    with pytest.raises(DataError) as error:
        _open("yours.model", data_dir)
    folder = data_dir / "tokenizers" / "sentencepiece"
    assert str(error.value) == (
        f"No vocabulary 'yours.model': there is no file {folder}/yours.model. Put the "
        "sentencepiece model there, or name another in vocabulary.model_name "
        "(there are: mine.model)."
    )


def test_a_file_that_is_no_model_is_an_error(tmp_path):
    folder = tmp_path / "tokenizers" / "sentencepiece"
    folder.mkdir(parents=True)
    (folder / "bad.model").write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"bad\.model is not a sentencepiece model \("):
        _open("bad.model", tmp_path)


def test_a_vocabulary_without_end_of_sentence_is_an_error(tmp_path):
    folder = tmp_path / "tokenizers" / "sentencepiece"
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e"]),
        model_prefix=str(folder / "no_eos"),
        vocab_size=10,
        hard_vocab_limit=False,
        eos_id=-1,
        minloglevel=2,
    )
    with pytest.raises(DataError, match=r"no_eos\.model has no token that ends a document"):
        _open("no_eos.model", tmp_path)
