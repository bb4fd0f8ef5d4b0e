"""tokenizer.json files: exact text, exact byte counts, plain errors."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from axl_exp.data import DataError, Vocabulary, vocabulary_path
from axl_exp.data.corpus import documents

_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved|>"]


def byte_level() -> tokenizers.Tokenizer:
    """A small BPE of bytes, as tiktoken's vocabularies are stored; id 0 is text, as theirs is."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                tokenizers.Regex(r"\p{L}+|\p{N}{1,3}|\s+|[^\s\p{L}\p{N}]+"), "isolated"
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    texts = [d.text for d in documents() if d.name.startswith("json/")]
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(_SPECIAL)
    return tokenizer


def byte_fallback() -> tokenizers.Tokenizer:
    """A BPE in sentencepiece's manner, as Llama 2's tokenizer.json is: a mark for each space."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{b:02X}>" for b in range(256)),
        "▁",
        "a",
        "b",
        "▁a",
        "ü",
    ]
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=[("▁", "a")],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def save(tokenizer: tokenizers.Tokenizer, data_dir: Path, name: str) -> Path:
    """Put a tokenizer where a data directory has it."""
    path = Path(vocabulary_path(data_dir, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def own_data_dir(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tokenizers")
    save(byte_level(), path, "bytes.json")
    save(byte_fallback(), path, "fallback.json")
    return path


def _open(data_dir: Path, name: str, **fields) -> Vocabulary:
    return Vocabulary.default_config().set(model_name=name, **fields).instantiate(data_dir=data_dir)


@pytest.fixture(scope="module", params=["bytes.json", "fallback.json"])
def vocabulary(request, own_data_dir) -> Vocabulary:
    return _open(own_data_dir, request.param)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
def test_any_text_comes_back_exactly_with_its_bytes(vocabulary, text):
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert vocabulary.num_bytes[ids].sum() == len(text.encode())


def test_every_token_alone_has_the_bytes_that_the_package_decodes(own_data_dir):
    """Latin-1 letters name bytes one to one, so a byte-level token's bytes can be read off."""
    opened = _open(own_data_dir, "bytes.json")
    tokenizer = tokenizers.Tokenizer.from_file(str(opened.path))
    for token_id in range(opened.size - len(_SPECIAL)):
        text = tokenizer.decode([token_id])
        if "\ufffd" not in text:  # Not a piece of a letter.
            assert opened.num_bytes[token_id] == len(text.encode())
    assert opened.num_bytes[-len(_SPECIAL) :].tolist() == [0, 0, 0]
    assert opened.num_bytes[:-3].min() == 1


def test_the_name_of_a_control_token_in_a_document_is_text(own_data_dir):
    opened = _open(own_data_dir, "bytes.json")
    ids = opened.encode("a<|end_of_text|>b")
    assert opened.eos_id not in ids
    assert opened.decode(ids) == "a<|end_of_text|>b"


def test_a_batch_gives_what_each_text_gives(vocabulary):
    texts = ["", "a b", "über  café\n", "x" * 1000]
    assert vocabulary.encode_batch(texts) == [vocabulary.encode(text) for text in texts]


def test_ids_are_those_of_the_package_itself(own_data_dir):
    opened = _open(own_data_dir, "bytes.json")
    tokenizer = tokenizers.Tokenizer.from_file(str(opened.path))
    text = "def f(x):\n    return x + 1234567\n"
    assert opened.encode(text) == tokenizer.encode(text).ids
    assert opened.size == tokenizer.get_vocab_size()


def test_control_tokens_are_found_by_their_usual_names_or_by_the_config(own_data_dir):
    llama = _open(own_data_dir, "bytes.json")
    assert (llama.bos_id, llama.eos_id) == (llama.size - 3, llama.size - 2)
    assert _open(own_data_dir, "bytes.json", eos_token="<|reserved|>").eos_id == llama.size - 1
    fallback = _open(own_data_dir, "fallback.json")
    assert (fallback.bos_id, fallback.eos_id) == (1, 2)
    with pytest.raises(
        DataError, match=r"bytes\.json has no token '<end>' \(vocabulary\.eos_token"
    ):
        _open(own_data_dir, "bytes.json", eos_token="<end>")


def test_a_file_that_ends_no_document_names_the_fix(tmp_path):
    tokenizer = byte_fallback()
    description = json.loads(tokenizer.to_str().replace("</s>", "<other>"))
    save(tokenizers.Tokenizer.from_str(json.dumps(description)), tmp_path, "no_eos.json")
    with pytest.raises(DataError, match=r"Name one of its tokens in vocabulary\.eos_token\."):
        _open(tmp_path, "no_eos.json")


def test_a_missing_file_names_the_place_and_where_one_comes_from(own_data_dir):
    with pytest.raises(DataError) as error:
        _open(own_data_dir, "Llama-3-tokenizer.json")
    folder = own_data_dir / "tokenizers" / "hf"
    assert str(error.value) == (
        "No vocabulary 'Llama-3-tokenizer.json': there is no file "
        f"{folder}/Llama-3-tokenizer.json. Put the tokenizer.json there: it comes with "
        "a model on huggingface.co, or name another in "
        "vocabulary.model_name (there are: bytes.json, fallback.json)."
    )


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version": "1.0", "model": 3}'])
def test_a_broken_file_is_named(tmp_path, content):
    path = Path(vocabulary_path(tmp_path, "bad.json"))
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"hf/bad\.json is not a tokenizer\.json \("):
        _open(tmp_path, "bad.json")


def test_a_name_of_another_kind_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"'vocab\.txt' is neither a sentencepiece model \(\*\.model"
    ):
        _open(tmp_path, "vocab.txt")
