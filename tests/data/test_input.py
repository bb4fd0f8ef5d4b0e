"""`Input` on a user's own data directory: batches, exact positions, plain errors."""

import itertools
import json
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from axl_exp.data import (
    Component,
    DataError,
    Input,
    TextMixture,
    use_embedded_corpus,
)
from tests.data.conftest import TRAIN_TEXTS, VALIDATION_TEXTS, small_input


def _assert_same(a, b) -> None:
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_batches_are_int32_with_the_agreed_keys(data_dir):
    batch = next(small_input().instantiate(data_dir=data_dir).iterator())
    assert sorted(batch) == ["inputs", "positions", "segment_ids", "target_bytes", "targets"]
    assert {v.shape for v in batch.values()} == {(4, 32)}
    assert {v.dtype for v in batch.values()} == {np.dtype(np.int32)}


def test_held_out_text_is_a_target_exactly_once_with_its_bytes(data_dir):
    opened = small_input(is_training=False).instantiate(data_dir=data_dir)
    batches = list(opened.iterator())
    is_target = np.concatenate([b["segment_ids"].ravel() for b in batches]) > 0
    targets = np.concatenate([b["targets"].ravel() for b in batches])[is_target]
    num_bytes = np.concatenate([b["target_bytes"].ravel() for b in batches])[is_target]
    expected = []
    for text in VALIDATION_TEXTS:
        expected += [*opened.vocabulary.encode(text.replace("\n", "<n>")), opened.vocabulary.eos_id]
    assert targets.tolist() == expected
    assert num_bytes.sum() == sum(len(text.encode()) for text in VALIDATION_TEXTS)


def test_windows_count_the_targets_and_bytes_that_packed_rows_do(data_dir):
    counted = []
    for stride in (None, 8):
        cfg = small_input(is_training=False, eval_stride_tokens=stride)
        batches = list(cfg.instantiate(data_dir=data_dir).iterator())
        targets = np.concatenate([b["targets"][b["segment_ids"] > 0] for b in batches])
        num_bytes = np.concatenate([b["target_bytes"][b["segment_ids"] > 0] for b in batches])
        counted.append((targets[targets >= 0].tolist(), num_bytes.sum()))
    assert counted[0] == counted[1]


def mixture_input(**weights: float) -> Input.Config:
    """The training split and the held-out one as a mixture."""
    cfg = small_input()
    parts = {
        name: Component(source=cfg.source.clone(split=name), weight=weight)
        for name, weight in weights.items()
    }
    return cfg.set(source=TextMixture.default_config().set(components=parts))


def test_a_mixture_trains_on_its_parts_and_resumes_exactly(data_dir):
    opened = mixture_input(train=1.0, validation=2.0).instantiate(data_dir=data_dir)
    iterator = opened.iterator()
    alone = [
        small_input(source=small_input().source.clone(split=split)).instantiate(data_dir=data_dir)
        for split in ("train", "validation")
    ]
    # Each row of the batch goes on, in each part, as it does where there is no other part.
    rows_alone = [[list(_rows(each.iterator(), row)) for row in range(4)] for each in alone]
    found = [0, 0]
    taken = [[0] * 4, [0] * 4]
    for batch in itertools.islice(iterator, 15):
        for row, values in enumerate(_stacked(batch)):
            part = 0 if values == rows_alone[0][row][taken[0][row]] else 1
            assert values == rows_alone[part][row][taken[part][row]]
            taken[part][row] += 1
            found[part] += 1
    assert found == [20, 40]
    state = json.loads(json.dumps(iterator.get_state()))
    resumed = opened.iterator()
    resumed.set_state(state)
    for _ in range(5):
        _assert_same(next(iterator), next(resumed))


def _stacked(batch) -> list[list[list[int]]]:
    return np.stack([batch["inputs"], batch["targets"]], axis=1).tolist()


def _rows(batches, row: int) -> Iterator[list[list[int]]]:
    for batch in itertools.islice(batches, 20):
        yield _stacked(batch)[row]


def test_the_fingerprint_of_a_mixture_covers_weights_and_parts(data_dir):
    def fingerprint(**weights):
        return mixture_input(**weights).instantiate(data_dir=data_dir).fingerprint()

    both = fingerprint(train=1.0, validation=2.0)
    assert both["dataset"] == "1.0 mine/small:1.2.3, 2.0 mine/small:1.2.3"
    assert both["split"] == "train, validation"
    assert both["num_documents"] == len(TRAIN_TEXTS) + len(VALIDATION_TEXTS)
    others = [fingerprint(train=1.0), fingerprint(train=2.0, validation=2.0)]
    assert len({each["fingerprint"] for each in [both, *others]}) == 3


def test_a_second_pass_over_held_out_text_is_the_same(data_dir):
    opened = small_input(is_training=False).instantiate(data_dir=data_dir)
    for a, b in zip(opened.iterator(), opened.iterator(), strict=True):
        _assert_same(a, b)


def test_the_fingerprint_of_a_users_dataset_covers_its_description(data_dir, tmp_path):
    fingerprint = small_input().instantiate(data_dir=data_dir).fingerprint()
    assert fingerprint["dataset"] == "mine/small:1.2.3"
    assert fingerprint["num_documents"] == len(TRAIN_TEXTS)
    assert fingerprint["fingerprint_of"] == "description"
    assert fingerprint["source"] == str(data_dir / "mine" / "small" / "1.2.3")
    shutil.copytree(data_dir, tmp_path / "moved")
    moved = small_input().instantiate(data_dir=tmp_path / "moved").fingerprint()
    assert moved == fingerprint | {"source": moved["source"]}


def test_a_mixture_without_a_data_directory_names_the_fix():
    with pytest.raises(DataError, match=r"Dataset '1.0 mine/small:1.2.3' needs --data_dir="):
        mixture_input(train=1.0).instantiate()
    embedded = use_embedded_corpus(mixture_input(train=1.0))
    assert embedded.source.dataset_name == "python_text:1.0.0"


def test_a_source_of_the_embedded_corpus_stays_as_it_is():
    cfg = use_embedded_corpus(mixture_input(train=1.0))
    cfg.source.split = "train[:10]"
    assert use_embedded_corpus(cfg).source.split == "train[:10]"


def test_use_embedded_corpus_returns_a_changed_copy():
    cfg = small_input(is_training=False)
    embedded = use_embedded_corpus(cfg)
    assert (cfg.source.dataset_name, cfg.vocabulary.model_name) == (
        "mine/small:1.2.3",
        "mine.model",
    )
    assert embedded.source.dataset_name == "python_text:1.0.0"
    assert embedded.source.split == "validation"
    assert embedded.source.replace_newlines_with is None
    assert embedded.vocabulary.model_name == "python_text_8192.model"
    assert embedded.max_sequence_length == cfg.max_sequence_length


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"dataset_name": "mine/small"},
            "source.dataset_name 'mine/small' is not of the form name[/config]:major.minor.patch. "
            "Name the version, as in 'c4/en:3.0.1'. Versions there: 1.2.3.",
        ),
        (
            {"dataset_name": "mine/small:9.9.9"},
            "No dataset 'mine/small:9.9.9': there is none at {data_dir}/mine/small/9.9.9. Versions "
            "there: 1.2.3. Prepare it (needs TensorFlow: tfds build mine/small:9.9.9 "
            "--data_dir={data_dir} --file_format=array_record), or leave out --data_dir to use the "
            "embedded corpus.",
        ),
        (
            {"split": "tests"},
            "mine/small:1.2.3 has no split 'tests' (source.split): its splits are train, "
            "validation; a slice is written train[:5000].",
        ),
        (
            {"split": "train[:"},
            "mine/small:1.2.3 has no split 'train[:' (source.split): its splits are train, "
            "validation; a slice is written train[:5000].",
        ),
        ({"split": "train[:0]"}, "Split 'train[:0]' of mine/small:1.2.3 has no document."),
        (
            {"text_key": "body"},
            "mine/small:1.2.3 has no feature 'body' (source.text_key): its features are text, url.",
        ),
    ],
)
def test_a_wrong_source_names_the_fix(data_dir, change, message):
    cfg = small_input()
    cfg.source.set(**change)
    with pytest.raises(DataError) as error:
        cfg.instantiate(data_dir=data_dir)
    assert str(error.value) == message.format(data_dir=data_dir)


def test_a_missing_data_directory_names_the_fix(tmp_path):
    with pytest.raises(DataError) as error:
        small_input().instantiate(data_dir=tmp_path / "nowhere")
    assert str(error.value) == (
        f"There is no data directory {tmp_path}/nowhere. Name the one that TFDS datasets were "
        "prepared in, or leave out --data_dir to use the embedded corpus."
    )


def test_another_dataset_without_a_data_directory_names_the_fix():
    with pytest.raises(DataError) as error:
        small_input().instantiate()
    assert str(error.value) == (
        "Dataset 'mine/small:1.2.3' needs --data_dir=<the directory that it was prepared in>. "
        "Without one there is only the embedded corpus: source.dataset_name=python_text:1.0.0."
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"global_batch_size": 0}, "input.global_batch_size is 0: it must be at least 1."),
        ({"seed": -1}, "input.seed is -1: it must be in 0 ... 2**32 - 1."),
        (
            {"num_batches": 3},
            "input.num_batches is 3, which limits evaluation only. Leave it None where is_training "
            "is True; the trainer's max_step ends training.",
        ),
        (
            {"eval_stride_tokens": 8},
            "input.eval_stride_tokens is 8, which is for evaluation only: training packs its rows. "
            "Leave it None where is_training is True.",
        ),
        (
            {"eval_stride_tokens": 64, "is_training": False},
            "input.eval_stride_tokens 64 is above max_sequence_length 32, so that targets between "
            "two rows would be left out. Use 32 or less.",
        ),
        (
            {"source": mixture_input(train=1.0).source, "is_training": False},
            "A mixture is for training: its sources never end. Evaluate each of them by itself, "
            "with an evaler of its own.",
        ),
        (
            {"source": mixture_input(train=0.0).source},
            "source.components['train'].weight is 0.0: it must be above 0. Leave the component out "
            "instead.",
        ),
        (
            {"source": mixture_input().source},
            "source.components is empty: name at least one source with a weight.",
        ),
    ],
)
def test_sizes_that_do_not_fit_name_the_fix(data_dir, change, message):
    with pytest.raises(DataError) as error:
        small_input().set(**change).instantiate(data_dir=data_dir)
    assert str(error.value) == message


@pytest.fixture
def damaged(data_dir, tmp_path):
    """A copy of the data directory, to be damaged, and the dataset's own folder in it."""
    shutil.copytree(data_dir, tmp_path / "data")
    return tmp_path / "data", tmp_path / "data" / "mine" / "small" / "1.2.3"


def test_a_format_without_random_access_names_the_conversion(damaged):
    directory, dataset = damaged
    info = dataset / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    for shard in dataset.glob("*.array_record-*"):
        shard.rename(dataset / shard.name.replace("array_record", "tfrecord"))
    with pytest.raises(DataError) as error:
        small_input().instantiate(data_dir=directory)
    assert str(error.value) == (
        f"{dataset} is in tfrecord format, which cannot be read at any position. Convert it (needs "
        f"TensorFlow): tfds convert_format --dataset_version_dir={dataset} "
        "--out_file_format=array_record"
    )


def test_a_missing_shard_is_noticed_at_once(damaged):
    directory, dataset = damaged
    (dataset / "mine-train.array_record-00000-of-00001").unlink()
    with pytest.raises(DataError) as error:
        small_input().instantiate(data_dir=directory)
    assert str(error.value) == (
        f"{dataset} lacks 1 of 1 shards of split 'train': "
        "mine-train.array_record-00000-of-00001. Copy them there."
    )


def test_a_damaged_shard_is_named_with_the_document(damaged):
    directory, dataset = damaged
    (dataset / "mine-train.array_record-00000-of-00001").write_bytes(b"junk")
    iterator = small_input().instantiate(data_dir=directory).iterator()
    with pytest.raises(
        DataError, match=r"Document \d+ of mine/small:1\.2\.3 train in .* its shard"
    ):
        next(iterator)


def test_a_damaged_description_is_an_error(damaged):
    directory, dataset = damaged
    (dataset / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match=r"TFDS cannot read its description .* Prepare the dataset"):
        small_input().instantiate(data_dir=directory)
