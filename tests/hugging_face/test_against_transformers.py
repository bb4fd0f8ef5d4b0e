"""Our Llama against transformers': recorded always, live where it is installed.

`python -m tools.oracles` makes the record.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from axl_exp.train.state import PureModel
from tests.hugging_face.llama_cases import CASES, projections, weights
from tests.hugging_face.ours import case_batch, case_config, case_params, their_tensors

try:
    from tools.oracles.llama import compute
except ImportError:
    compute = None

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())["cases"]

GROUPED = "grouped, separate head, Llama 3.1 positions"

# Of the largest logit, of the loss, and of a gradient's norm.
TOLERANCE = 1e-5


def ours(name, *, pairs, compiled):
    """Return logits, loss and gradients in their layout."""
    cfg = case_config(CASES[name], pairs=pairs)
    params, batch = case_params(cfg, weights(CASES[name])), case_batch(CASES[name])
    model = PureModel(cfg)

    def all_of_it(params, batch):
        logits = model.bind(params)(batch)
        value_and_grad = jax.value_and_grad(lambda p: model.bind(p).loss(batch), has_aux=True)
        (loss, _), gradients = value_and_grad(params)
        return logits, loss, gradients

    logits, loss, gradients = compiled(all_of_it)(params, batch)
    return np.asarray(logits), float(loss), dict(their_tensors(cfg, gradients))


@pytest.mark.parametrize(
    ("name", "pairs"), [*((name, "interleaved") for name in CASES), (GROUPED, "half_split")]
)
def test_logits_loss_and_gradients_are_those_that_transformers_recorded(name, pairs, compiled):
    logits, loss, gradients = ours(name, pairs=pairs, compiled=compiled)
    expected = RECORDED[name]
    their_logits = np.asarray(expected["logits"])
    scale = np.abs(their_logits).max()
    np.testing.assert_allclose(logits[:, [0, 20, 39]], their_logits, rtol=0, atol=TOLERANCE * scale)
    assert loss == pytest.approx(expected["loss"], rel=TOLERANCE)
    assert gradients.keys() == expected["gradients"].keys()
    for tensor, gradient in gradients.items():
        recorded = expected["gradients"][tensor]
        norm = np.linalg.norm(gradient.astype(np.float64))
        assert norm == pytest.approx(recorded["norm"], rel=TOLERANCE), tensor
        np.testing.assert_allclose(
            projections(tensor, gradient),
            recorded["projections"],
            rtol=0,
            atol=TOLERANCE * recorded["norm"],
            err_msg=tensor,
        )


@pytest.mark.skipif(compute is None, reason="torch and transformers are not installed")
@pytest.mark.parametrize("name", list(CASES))
def test_logits_loss_and_every_gradient_are_those_of_transformers(name, compiled):
    assert compute is not None
    expected = compute(CASES[name])
    logits, loss, gradients = ours(name, pairs="interleaved", compiled=compiled)
    scale = np.abs(expected["logits"]).max()
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=TOLERANCE * scale)
    assert loss == pytest.approx(expected["loss"], rel=TOLERANCE)
    assert gradients.keys() == expected["gradients"].keys()
    for tensor, theirs in expected["gradients"].items():
        distance = np.linalg.norm(gradients[tensor].astype(np.float64) - theirs)
        assert distance <= TOLERANCE * np.linalg.norm(theirs.astype(np.float64)), tensor
