"""Small data directories of a user's own, written by TFDS's and sentencepiece's own means."""

import io
import random
from pathlib import Path

import pytest
import sentencepiece
import tensorflow_datasets as tfds

from axl_exp.data import Input

_WORDS = "the quick brown fox jumps over a lazy dog and runs far away from café 東京"


def make_texts(count: int, *, seed: int) -> list[str]:
    """Texts of many lengths, the empty one and one far longer than a row among them."""
    rng = random.Random(seed)
    lengths = [0, 400, *(rng.randrange(1, 40) for _ in range(count - 2))]
    rng.shuffle(lengths)
    texts = [" ".join(rng.choices(_WORDS.split(), k=length)) for length in lengths]
    return [f"{text}\n{i}" if text else "" for i, text in enumerate(texts)]


TRAIN_TEXTS = make_texts(41, seed=1)
VALIDATION_TEXTS = make_texts(11, seed=2)


class Mine(tfds.core.GeneratorBasedBuilder):
    """A dataset as a user writes it."""

    # Looked for with importlib_resources, which TFDS does not ask for, under pytest's import mode.
    code_path = None

    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="small", version="1.2.3")]

    def _info(self):
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"text": text, "url": text}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(TRAIN_TEXTS),
            "validation": self._generate_examples(VALIDATION_TEXTS),
        }

    def _generate_examples(self, texts):
        for i, text in enumerate(texts):
            yield i, {"text": text, "url": str(i)}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """`mine/small:1.2.3` with the features `text` and `url`, and the vocabulary `mine.model`."""
    path = tmp_path_factory.mktemp("data")
    Mine(data_dir=path, config="small", file_format="array_record").download_and_prepare()
    folder = path / "tokenizers" / "sentencepiece"
    folder.mkdir(parents=True)
    model = io.BytesIO()
    # Sentencepiece's defaults: text is normalized, a space is put before it, spaces are merged.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAIN_TEXTS),
        model_writer=model,
        vocab_size=120,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        user_defined_symbols=["<n>"],
        minloglevel=2,
    )
    (folder / "mine.model").write_bytes(model.getvalue())
    return path


def small_input(**kwargs) -> Input.Config:
    """A config that reads the directory above."""
    cfg = Input.default_config().set(
        max_sequence_length=32, global_batch_size=4, is_training=True, seed=3
    )
    cfg.source.set(dataset_name="mine/small:1.2.3", split="train", replace_newlines_with="<n>")
    cfg.vocabulary.set(model_name="mine.model")
    cfg.set(**kwargs)
    if not cfg.is_training:
        cfg.source.set(split="validation")
    return cfg
