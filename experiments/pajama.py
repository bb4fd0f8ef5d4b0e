"""The data of gala and honeycrisp, as AXLearn names it.

Newlines become `<n>`, a piece of their vocabularies. Evaluation slides a row over each document by
a quarter of its length, so that all but the first targets have a long context.
"""

from __future__ import annotations

from axl_exp.config import InstantiableConfig, config_for_function
from axl_exp.data import Component, Input, TextMixture, TfdsTextSource, Vocabulary
from axl_exp.train.evaler import Evaler
from axl_exp.train.policy import every_n_steps_and_last_policy

# RedPajama's web text, which is not deduplicated against itself, and SlimPajama's other parts: the
# share of the rows of each, by AXLearn's `sp-rp`.
_WEIGHTS = {
    "rpg/common_crawl:1.0.0": 0.726,
    "slimpajama/c4:1.0.0": 0.081,
    "slimpajama/github:1.0.0": 0.049,
    "slimpajama/book:1.0.0": 0.021,
    "slimpajama/arxiv:1.0.0": 0.023,
    "slimpajama/wikipedia:1.0.0": 0.05,
    "slimpajama/stackexchange:1.0.0": 0.05,
}


def text_source(dataset_name: str, *, split: str) -> TfdsTextSource.Config:
    """Return a dataset of texts in which newlines are a piece of the vocabulary."""
    return TfdsTextSource.default_config().set(
        dataset_name=dataset_name, split=split, replace_newlines_with="<n>"
    )


def slim_pajama() -> TextMixture.Config:
    """Return the training mixture of gala."""
    return TextMixture.default_config().set(
        components={
            _short_name(name): Component(source=text_source(name, split="train"), weight=weight)
            for name, weight in _WEIGHTS.items()
        }
    )


def _short_name(dataset_name: str) -> str:
    return dataset_name.partition("/")[2].partition(":")[0]


def training_input(
    source: InstantiableConfig,
    *,
    vocabulary: str,
    max_sequence_length: int,
    global_batch_size: int,
) -> Input.Config:
    """Return the training input of `source`."""
    return Input.default_config().set(
        source=source,
        vocabulary=Vocabulary.default_config().set(model_name=vocabulary),
        max_sequence_length=max_sequence_length,
        global_batch_size=global_batch_size,
        is_training=True,
    )


def openwebtext_evaler(
    *, vocabulary: str, max_sequence_length: int, global_batch_size: int, every_n_steps: int
) -> Evaler.Config:
    """Return the evaluation on 5000 held-out documents of OpenWebText2, in the Pile's form."""
    evaluation = Input.default_config().set(
        source=text_source("pile/openwebtext_2:1.0.0", split="test[:5000]"),
        vocabulary=Vocabulary.default_config().set(model_name=vocabulary),
        max_sequence_length=max_sequence_length,
        global_batch_size=global_batch_size,
        is_training=False,
        eval_stride_tokens=max_sequence_length // 4,
    )
    policy = config_for_function(every_n_steps_and_last_policy).set(n=every_n_steps)
    return Evaler.default_config().set(input=evaluation, eval_policy=policy)
