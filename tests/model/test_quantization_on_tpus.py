"""What libtpu makes of quantized products: that they multiply small numbers, not wider copies."""

import collections
import re

import jax
import jax.numpy as jnp
import pytest

from axl_exp.dryrun.compiled.topology import Topology, devices_of, prepare_environment
from axl_exp.model.quantization import QuantizedDotGeneral

_PRODUCT = re.compile(r" convolution\(%([^,]+), %([^,)]+)\)")
_INT8 = (("int8", "int8"), {("s8", "s8"): 5})
# The gradients are in e5m2, what they are multiplied with in e4m3fn.
_FP8 = (("float8_e4m3fn", "float8_e5m2"), {("f8e4m3fn", "f8e4m3fn"): 2, ("f8e4m3fn", "f8e5m2"): 3})


def operands_of_products(program: str) -> collections.Counter[tuple[str, ...]]:
    """The dtypes of both operands of every product, in alphabetical order."""
    found: collections.Counter[tuple[str, ...]] = collections.Counter()
    for computation in re.split(r"\n(?=\S)", program):
        dtypes = dict(re.findall(r"%(\S+) = (\w+)\[", computation))
        for operands in _PRODUCT.findall(computation):
            found[tuple(sorted(dtypes[name] for name in operands))] += 1
    return found


@pytest.mark.parametrize("chip", ["v5e:1x1", "v6e:1x1"])
@pytest.mark.parametrize(("dtypes", "expected"), [_INT8, _FP8], ids=["int8", "fp8"])
def test_every_product_forward_and_backward_has_small_operands(chip, dtypes, expected):
    pytest.importorskip("libtpu")
    prepare_environment()
    sharding = jax.sharding.SingleDeviceSharding(devices_of(Topology("tpu", chip))[0])
    multiply = QuantizedDotGeneral(*dtypes, is_per_channel=True)
    product = (((1,), (0,)), ((), ()))

    def loss(weights, x):
        hidden = jnp.tanh(multiply(x, weights[0], product))
        return jnp.sum(multiply(hidden, weights[1], product).astype(jnp.float32) ** 2)

    def array(*shape):
        return jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=sharding)

    weights = array(512, 1024), array(1024, 512)
    compiled = jax.jit(jax.value_and_grad(loss)).lower(weights, array(256, 512)).compile()
    # Two products forward; backward the gradients of both weights and of what is between them.
    assert operands_of_products(compiled.as_text() or "") == expected
