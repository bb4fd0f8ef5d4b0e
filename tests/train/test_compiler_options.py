"""`compiler_options` of a trainer config."""

from __future__ import annotations

import pytest

from axl_exp.config import Override
from axl_exp.resolve import resolve
from axl_exp.train.compiler_options import CompilerOptionError


def _trainer(options: str):
    overrides = [Override("compiler_options", options), Override("evalers", "{}")]
    return resolve("fuji-test-v2", selector="cpu-1", overrides=overrides).config.instantiate()


def test_the_step_is_compiled_with_them(tmp_path):
    _trainer(f"{{'xla_dump_to': '{tmp_path}', 'xla_dump_hlo_as_text': True}}").compile()
    assert list(tmp_path.glob("*jit_step*after_optimizations*.txt"))


# What XLA itself says was seen of a CPU's compiler and of libtpu.
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{'xla_tpu_scoped_vmem_limit_kib': 98304}", "no option 'xla_tpu_scoped_vmem_limit_kib'"),
        ("{'xla_cpu_enable_fast_math': 'perhaps'}", "['xla_cpu_enable_fast_math']"),
        ("{'xla_backend_optimization_level': 1.5}", "does not take '1.5'"),
    ],
)
def test_an_option_that_the_compiler_refuses_is_named_with_the_field(options, said):
    with pytest.raises(CompilerOptionError, match="compiler_options") as raised:
        _trainer(options).compile()
    assert said in str(raised.value) and "\n" not in str(raised.value)
