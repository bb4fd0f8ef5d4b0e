"""`Input`: the batches that a trainer or an evaler reads."""

import functools
import weakref
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np
from etils import epath

from axl_exp.config import REQUIRED, Configurable, InstantiableConfig, Required, config_class
from axl_exp.data.corpus import EMBEDDED_DATASET, EMBEDDED_VOCABULARY, prepare_embedded_corpus
from axl_exp.data.errors import DataError
from axl_exp.data.mixture import TextMixture, dataset_text
from axl_exp.data.pipeline import Share, evaluation_batches, tokenize, training_batches
from axl_exp.data.source import TfdsTextSource
from axl_exp.data.vocabulary import Vocabulary, vocabulary_path


class Input(Configurable):
    """Batches of tokenized text: deterministic, seekable, each process its own share.

    Training goes on forever, over every document once per epoch in an order that follows from the
    seed, packed into rows. Evaluation is one pass over the documents in their order.
    """

    @config_class
    class Config(Configurable.Config):
        # Where documents come from: makes something with len(), [i] -> TextDocument, fingerprint();
        # or a TextMixture of several.
        source: InstantiableConfig = TfdsTextSource.default_config()
        # What makes token ids of them: see Vocabulary for what it must have.
        vocabulary: InstantiableConfig = Vocabulary.default_config()
        # Tokens per row.
        max_sequence_length: Required[int] = REQUIRED
        # Rows per batch, over all processes.
        global_batch_size: Required[int] = REQUIRED
        # Training: shuffled and endless. Evaluation: in order, one pass, the last batch padded.
        is_training: Required[bool] = REQUIRED
        # Order of the documents in training, if they are shuffled.
        seed: int = 0
        # Training: every epoch in an order of its own, or always in that of the dataset.
        shuffle: bool = True
        # Evaluation: None packs documents as training does. A number cuts each one into rows that
        # begin so many tokens apart, of which only the last so many targets count, so that all but
        # a document's first have a long context (see windows.py); AXLearn's is a quarter of a row.
        eval_stride_tokens: int | None = None
        # Evaluation stops after this many batches; None means the whole split.
        num_batches: int | None = None
        # Batches made ahead by a background thread.
        num_prefetch_batches: int = 2
        # Threads that read documents; more only help storage that is slow to answer.
        num_read_threads: int = 2

    def __init__(
        self,
        cfg: Config,
        *,
        data_dir: epath.PathLike | None = None,
        rows: Sequence[int] | None = None,
    ):
        """Open source and vocabulary.

        Args:
            data_dir: Directory of TFDS datasets, with vocabularies in tokenizers/sentencepiece;
                None means the embedded corpus, which is built if this is its first use.
            rows: Those of the global batch that this process reads; None for all.

        Raises:
            DataError: Something is not there or does not fit; the message names it and the fix.
        """
        super().__init__(cfg)
        _check_sizes(cfg)
        data_dir = (
            _embedded_data_dir(cfg) if data_dir is None else epath.Path(data_dir).expanduser()
        )
        self.source = cfg.source.instantiate(data_dir=data_dir)
        self.vocabulary = cfg.vocabulary.instantiate(data_dir=_vocabulary_dir(cfg, data_dir))
        self._check_tokens()
        self._share = Share(
            max_sequence_length=cfg.max_sequence_length,
            global_batch_size=cfg.global_batch_size,
            rows=tuple(range(cfg.global_batch_size) if rows is None else rows),
        )

    def _check_tokens(self) -> None:
        """Raise DataError where documents hold the tokens of another vocabulary."""
        sources = [self.source]
        if isinstance(self.source, TextMixture):
            sources = [source for source, _ in self.source.sources.values()]
        for source in sources:
            own = self.vocabulary.sha256 if getattr(source, "holds_tokens", False) else None
            if own is not None and source.vocabulary_sha256 != own:
                raise DataError(
                    f"{source.config.dataset_name} was tokenized with another vocabulary than "
                    f"{self.vocabulary.path}: the SHA-256 of its file begins with "
                    f"{source.vocabulary_sha256[:12]}, of this one with {own[:12]}. Name that one "
                    "in vocabulary.model_name, or build the dataset again."
                )

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data: those of the source and of the vocabulary."""
        return {**self.source.fingerprint(), **self.vocabulary.fingerprint()}

    def iterator(self) -> "DataIterator":
        """Return a new iterator at the beginning."""
        cfg = self._config
        if cfg.is_training:
            mixed = isinstance(self.source, TextMixture)
            sources = self.source.sources.values() if mixed else [(self.source, 1.0)]
            batches = training_batches(
                [(self._tokens(source), weight) for source, weight in sources],
                self._share,
                seed=cfg.seed,
                shuffle=cfg.shuffle,
                num_read_threads=cfg.num_read_threads,
            )
        else:
            batches = evaluation_batches(
                self._tokens(self.source),
                self._share,
                stride_tokens=cfg.eval_stride_tokens,
                num_batches=cfg.num_batches,
                num_read_threads=cfg.num_read_threads,
            )
        prefetched = grain.experimental.ThreadPrefetchIterDataset(
            batches, prefetch_buffer_size=cfg.num_prefetch_batches
        )
        # The place of the data does not matter: it may have moved.
        content = {k: v for k, v in self.fingerprint().items() if k != "source"}
        order = {field: getattr(cfg, field) for field in ("seed", "shuffle", "eval_stride_tokens")}
        sizes = {
            field: getattr(cfg, field) for field in ("max_sequence_length", "global_batch_size")
        }
        belongs_to = {**content, **order, **sizes}
        return DataIterator(iter(prefetched), belongs_to=belongs_to)

    def _tokens(self, source: Any) -> grain.MapDataset:
        documents = grain.MapDataset.source(source)
        return documents.map(functools.partial(tokenize, vocabulary=self.vocabulary))


class DataIterator:
    """Batches in order, with a position that can be saved and restored to the batch.

    A batch is a dict of int32 arrays [rows of this process, max_sequence_length]:

        inputs        token ids; the first of each document is the end-of-sentence id
        targets       the token that follows each input; -1 where another row counts it
        target_bytes  UTF-8 bytes of each target
        segment_ids   1, 2, ... for the documents in a row; 0 is padding, which does not count
        positions     0, 1, ... from the beginning of each segment
    """

    def __init__(self, batches: grain.DatasetIterator, *, belongs_to: dict[str, Any]):
        self._batches = batches
        self._belongs_to = belongs_to
        # At the interpreter's exit too: Grain's iterators complain if they outlive its modules.
        weakref.finalize(self, _release, vars(self))

    def __iter__(self) -> "DataIterator":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        """Return the position after the last batch that was handed out: small, and plain JSON.

        It does not depend on what the background thread has prepared. It is that of the rows of
        this process; see `join_states` for that of all.
        """
        return {**self._belongs_to, "position": _as_lists(self._batches.get_state())}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a position that `get_state` returned, here or in other processes, joined.

        Raises:
            DataError: The state is of other documents, another vocabulary, seed or batch, so that
                other text would follow than the run would have seen.
        """
        for key, own in self._belongs_to.items():
            if state.get(key) != own:
                raise DataError(
                    f"The saved position in the data is of {key} {state.get(key)}, but this input "
                    f"has {key} {own}. Resume with what the run began with, or begin a new run."
                )
        self._batches.set_state(_as_tuples(state["position"]))

    def close(self) -> None:
        """Stop the background thread; for an iterator that is not read to its end."""
        self._batches.close()


def join_states(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the position of all rows of a training input from those of each process's rows.

    Any number of processes can go on from it, each with any of the rows.
    """
    rows = {row: where for state in states for row, where in state["position"]["rows"].items()}
    return {**states[0], "position": {**states[0]["position"], "rows": rows}}


def _release(attributes: dict[str, Any]) -> None:
    attributes.pop("_batches").close()


def use_embedded_corpus(cfg: Input.Config) -> Input.Config:
    """Return `cfg` with the embedded corpus and its vocabulary: nothing to prepare or download.

    What reads (a part of) the training split keeps reading it, everything else the held-out text; a
    source that names the embedded corpus stays as it is.
    """
    cfg = cfg.clone()
    if getattr(cfg.source, "dataset_name", None) != EMBEDDED_DATASET:
        reads_train = cfg.is_training or str(getattr(cfg.source, "split", "")).startswith("train")
        split = "train" if reads_train else "validation"
        cfg.source = TfdsTextSource.default_config().set(dataset_name=EMBEDDED_DATASET, split=split)
    cfg.vocabulary = Vocabulary.default_config().set(model_name=EMBEDDED_VOCABULARY)
    return cfg


def _vocabulary_dir(cfg: Input.Config, data_dir: epath.Path) -> epath.Path:
    """Return where the vocabulary lies: that of the embedded corpus is at hand with any data."""
    is_embedded = getattr(cfg.vocabulary, "model_name", None) == EMBEDDED_VOCABULARY
    if is_embedded and not vocabulary_path(data_dir, EMBEDDED_VOCABULARY).is_file():
        return epath.Path(prepare_embedded_corpus())
    return data_dir


def _embedded_data_dir(cfg: Input.Config) -> epath.Path:
    name = dataset_text(cfg.source)
    names_data = isinstance(cfg.source, TextMixture.Config) or "dataset_name" in cfg.source
    if names_data and name != EMBEDDED_DATASET:
        raise DataError(
            f"Dataset {name!r} needs --data_dir=<the directory that it was prepared in>. Without "
            f"one there is only the embedded corpus: source.dataset_name={EMBEDDED_DATASET}."
        )
    return epath.Path(prepare_embedded_corpus())


def _check_sizes(cfg: Input.Config) -> None:
    least = {
        "max_sequence_length": 1,
        "global_batch_size": 1,
        "num_batches": 1,
        "eval_stride_tokens": 1,
        "num_prefetch_batches": 0,
        "num_read_threads": 0,
    }
    for name, limit in least.items():
        value = getattr(cfg, name)
        if value is not None and value < limit:
            raise DataError(f"input.{name} is {value}: it must be at least {limit}.")
    if cfg.is_training:
        _check_training(cfg)
    else:
        _check_evaluation(cfg)
    if not 0 <= cfg.seed < 2**32:
        raise DataError(f"input.seed is {cfg.seed}: it must be in 0 ... 2**32 - 1.")


def _check_training(cfg: Input.Config) -> None:
    if cfg.num_batches is not None:
        raise DataError(
            f"input.num_batches is {cfg.num_batches}, which limits evaluation only. Leave it None "
            "where is_training is True; the trainer's max_step ends training."
        )
    if cfg.eval_stride_tokens is not None:
        raise DataError(
            f"input.eval_stride_tokens is {cfg.eval_stride_tokens}, which is for evaluation only: "
            "training packs its rows. Leave it None where is_training is True."
        )


def _check_evaluation(cfg: Input.Config) -> None:
    stride = cfg.eval_stride_tokens
    if stride is not None and stride > cfg.max_sequence_length:
        raise DataError(
            f"input.eval_stride_tokens {stride} is above max_sequence_length "
            f"{cfg.max_sequence_length}, so that targets between two rows would be left out. "
            f"Use {cfg.max_sequence_length} or less."
        )
    if isinstance(cfg.source, TextMixture.Config):
        raise DataError(
            "A mixture is for training: its sources never end. Evaluate each of them by itself, "
            "with an evaler of its own."
        )


def _as_lists(state: Any) -> Any:
    """Return Grain's state as JSON gives it back: lists for tuples."""
    if isinstance(state, dict):
        return {key: _as_lists(value) for key, value in state.items()}
    return [_as_lists(v) for v in state] if isinstance(state, (list, tuple)) else state


def _as_tuples(state: Any) -> Any:
    """Undo `_as_lists`: Grain's packing compares slices with tuples; given lists, it drops text."""
    if isinstance(state, dict):
        return {key: _as_tuples(value) for key, value in state.items()}
    return tuple(_as_tuples(v) for v in state) if isinstance(state, list) else state
