"""A model on eight devices says what it says on one, and no device holds all of it."""

import json
import os
import subprocess
import sys

import pytest

from axl_exp.generate.__main__ import main
from tests.trained_runs import make_run, small_config

PROMPTS = ["The standard library has", "x", "def f(x):"]
FLAGS = [*(f"--prompt={prompt}" for prompt in PROMPTS), "--max_tokens=9", "--json"]

# What one device holds of the parameters and of the cache, beside the answers.
_SCRIPT = """
import math, sys
import jax
from axl_exp.generate import decoding
from axl_exp.generate.__main__ import main

start = decoding.Decoder.start

def tell(self, params, prompts, limits):
    rows = start(self, params, prompts, limits)
    for tree in (params, rows.cache):
        leaves = jax.tree.leaves(tree)
        held = sum(leaf.addressable_shards[0].data.size for leaf in leaves)
        print(held / sum(leaf.size for leaf in leaves), file=sys.stderr)
    return rows

decoding.Decoder.start = tell
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("flags", [[], ["--temperature=1", "--top_k=50"]])
def test_eight_devices_say_what_one_says_and_share_parameters_and_cache(tmp_path, capsys, flags):
    cfg = small_config()
    cfg.input.max_sequence_length = 64
    make_run(tmp_path / "run", cfg)
    command = [f"--run_dir={tmp_path / 'run'}", *FLAGS, *flags]
    assert main(command) == 0
    alone = json.loads(capsys.readouterr().out)["continuations"]
    environment = {**os.environ, "AXL_EXP_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *command, "--mesh=cpu-8"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["continuations"] == alone
    where, params_share, cache_share, *_ = done.stderr.splitlines()
    assert where.endswith("fsdp=4, model=2")  # Two key/value heads.
    assert float(params_share) < 1.1 / 8 and float(cache_share) == 1 / 8
