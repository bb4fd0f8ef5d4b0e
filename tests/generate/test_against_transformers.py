"""Greedy generation of our Llamas: the tokens that transformers generates."""

import jax
import pytest

from axl_exp.generate.decoding import Decoder
from axl_exp.generate.placement import place
from axl_exp.generate.sampling import Sampling
from axl_exp.train.state import PureModel
from tests.hugging_face.llama_cases import CASES, tokens, weights
from tests.hugging_face.ours import case_config, case_params
from tests.hugging_face.test_against_transformers import RECORDED


@pytest.mark.parametrize("name", list(CASES))
def test_greedy_tokens_are_those_that_transformers_recorded(name):
    cfg = case_config(CASES[name], pairs="interleaved")
    params = case_params(cfg, weights(CASES[name]))
    expected = RECORDED[name]["generated"]
    prompts = tokens(CASES[name])[:, :12].tolist()
    limits = [12 + len(row) for row in expected]
    model = PureModel(cfg)
    mesh = place(model, jax.devices()[:1])
    decoder = Decoder(model, mesh=mesh, sampling=Sampling(), eos_id=-1)
    rows = decoder.go_on(params, decoder.start(params, prompts, limits), limits, num_steps=99)
    assert [row[12:28].tolist() for row in rows.tokens] == expected
