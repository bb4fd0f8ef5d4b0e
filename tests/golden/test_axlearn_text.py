import pytest

from axl_exp.config.diff import diff
from axl_exp.golden.axlearn_text import AxlearnTextError, is_axlearn_text, read_axlearn_text

TEXT = """\
evalers['openwebtext_2'].input.batcher.prefetch_buffer_size: -1
learner.ema.fn: 'axlearn.common.optimizers.param_ema'
learner.optimizer.eps: 1e-08
learner.optimizer.scale_by_path[0][0]: '.*/emb/token_emb/weight'
mesh_rules[0][0]: 'tpu-v4-256'
mesh_rules[0][1][3]: -1
model.decoder.attention_mask: None
model.layer.klass: 'axlearn.common.layers.Outer.Inner'
model.mapping["it's"]: 'don\\'t "quote"'
model.object: <object at nowhere>
name: 'gpt_trainer'
train_dtype: 'jax.numpy.bfloat16'
"""


def test_every_line_becomes_a_line_of_flat_text():
    assert read_axlearn_text(TEXT, source="golden") == {
        'evalers["openwebtext_2"].input.batcher.prefetch_buffer_size': "-1",
        "learner.ema.fn": "@axlearn.common.optimizers:param_ema",
        "learner.optimizer.eps": "1e-08",
        "learner.optimizer.scale_by_path[0][0]": '".*/emb/token_emb/weight"',
        "mesh_rules[0][0]": '"tpu-v4-256"',
        "mesh_rules[0][1][3]": "-1",
        "model.decoder.attention_mask": "None",
        "model.layer.klass": "@axlearn.common.layers:Outer.Inner",
        'model.mapping["it\'s"]': '"don\'t \\"quote\\""',
        "model.object": '"<object at nowhere>"',
        "name": '"gpt_trainer"',
        "train_dtype": 'dtype("bfloat16")',
    }


def test_the_two_texts_are_told_apart_by_their_quotes():
    assert is_axlearn_text(TEXT)
    assert is_axlearn_text("seed: 0\nname: 'x'\n")
    assert is_axlearn_text("seed: 0\nevalers['x'].n: 1\n")
    assert not is_axlearn_text("seed: 0\nname: \"it's: 'x' and ['y']\"\n")
    assert not is_axlearn_text("evalers[\"it's: '\"].n: 1\nseed: 0\n")


def test_what_was_read_can_be_compared():
    after = TEXT.replace("1e-08", "1e-06")
    changes = diff(read_axlearn_text(TEXT, source="a"), read_axlearn_text(after, source="b"))
    assert [(c.path, c.before, c.after) for c in changes] == [  # pyright: ignore
        ("learner.optimizer.eps", "1e-08", "1e-06")
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no value", "golden:2: expected `path: value`: no value"),
        (": 1", "golden:2: expected `path: value`: : 1"),
        ("seed: 1", "golden:2: seed stands twice"),
    ],
)
def test_a_line_of_another_syntax_is_named(line, message):
    with pytest.raises(AxlearnTextError) as error:
        read_axlearn_text(f"seed: 0\n{line}\n", source="golden")
    assert str(error.value) == message
