from __future__ import annotations

from axl_exp.dryrun.compiled.execution import executions
from axl_exp.dryrun.compiled.hlo import parse_program
from axl_exp.dryrun.compiled.memory import MemoryAnalysis, largest_buffers, memory_of, verdict_of
from axl_exp.dryrun.compiled.owners import Owners
from axl_exp.dryrun.compiled.traffic import traffic_of
from axl_exp.dryrun.compiled.warnings import Expected, find_warnings
from tests.dryrun.compiled.programs import LOOP

_REFUSAL = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "(80.63G) exceeds available HBM (15.75G)."
)
_OLD_REFUSAL = (
    "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 25.93G of 15.75G hbm. "
    "Exceeded hbm capacity by 10.18G."
)
_GIB = 2**30

_ASSIGNMENT = """BufferAssignment:
allocation 0: size 512, thread-local:
 value: <1 x @0> (size=512,offset=0): f32[]{:T(128)}
allocation 1: size 32768, parameter 0, shape |bf16[64,256]| at ShapeIndex {}:
 value: <2 state @0> (size=32768,offset=0): bf16[64,256]{1,0:T(8,128)(2,1)}
allocation 2: size 900000, color 1, preallocated-temp:
 value: <3 early @1> (size=900000,offset=0): bf16[64,256]{1,0:T(8,128)S(1)}
allocation 3: size 600000, preallocated-temp:
 value: <4 weight @0> (size=300000,offset=0): bf16[256,512]{1,0:T(8,128)(2,1)}
 value: <5 out @0> (size=200000,offset=100000): bf16[64,512]{1,0:T(8,128)(2,1)}
 value: <6 gather{1} @0> (size=250000,offset=300000): bf16[256,512]{1,0}
 value: <7 loop @0> (size=400000,offset=0): (s32[], bf16[64,256])

 Total bytes used: 1
"""


def test_a_refusal_names_what_is_needed_and_what_there_is():
    memory, old = verdict_of(_REFUSAL), verdict_of(_OLD_REFUSAL)
    assert memory is not None and old is not None
    assert memory.needed_bytes == int(80.63 * _GIB)
    assert memory.available_bytes == int(15.75 * _GIB)
    assert not memory.fits and memory.headroom_bytes == int(15.75 * _GIB) - int(80.63 * _GIB)
    assert memory.verdict.startswith("Ran out of memory on HBM")
    assert (old.needed_bytes, old.available_bytes) == (int(25.93 * _GIB), int(15.75 * _GIB))


def test_what_a_program_needs_is_what_its_buffer_assignment_holds_in_main_memory():
    analysis = MemoryAnalysis(
        argument_size_in_bytes=32768,
        output_size_in_bytes=2048,
        alias_size_in_bytes=1024,
        temp_size_in_bytes=900_000,  # As libtpu tells it of a program with loops: too much.
        generated_code_size_in_bytes=0,
        host_argument_size_in_bytes=0,
        host_output_size_in_bytes=0,
        host_temp_size_in_bytes=0,
        host_alias_size_in_bytes=0,
    )
    memory = memory_of(analysis, assignment=_ASSIGNMENT, available_bytes=None)
    assert memory.temp_bytes == 600_000
    assert memory.needed_bytes == 32768 + 2048 - 1024 + 600_000
    assert memory_of(analysis, assignment="", available_bytes=None).temp_bytes == 900_000


def test_another_refusal_is_no_verdict_about_memory():
    assert verdict_of("INTERNAL: Mosaic failed to compile") is None
    assert verdict_of("RESOURCE_EXHAUSTED: scoped vmem limit exceeded") is None


def test_the_largest_buffers_share_no_address_and_name_their_owners():
    program, owners = parse_program(LOOP), Owners.of_text(LOOP)
    buffers = largest_buffers(_ASSIGNMENT, program=program, owners=owners)
    assert [(b.num_bytes, b.shape, b.owner) for b in buffers] == [
        (300000, "bf16[256,512]", ""),
        (250000, "bf16[256,512]", "loss, forward"),
        (32768, "bf16[64,256]", "params/decoder/head"),
    ]
    assert largest_buffers("", program=program, owners=owners) == ()


def _warnings(text: str, **expected) -> list[str]:
    program = parse_program(text)
    fields = {"param_sizes": (), "sharded_sizes": (), "replicated": (), **expected}
    run = list(traffic_of(program, executions(program)))
    return find_warnings(program, run, owners=Owners.of_text(text), expected=Expected(**fields))


_LARGE = LOOP.replace("32,512", "3200,512").replace("256,512", "25600,512")


def test_gathering_anything_but_a_parameter_is_told():
    (line,) = _warnings(_LARGE)
    assert line == (
        "bf16[25600,512] of loss, forward is gathered whole on every device (all-gather, "
        "75.0 MiB a step)"
    )
    assert not _warnings(_LARGE, param_sizes=frozenset({25600 * 512}))
    assert not _warnings(LOOP)  # Too small to matter.


def test_a_gradient_that_is_summed_whole_is_told_where_its_parameter_is_sharded():
    whole = _LARGE.replace("64,512", "6400,512").replace("64,256", "6400,256")
    scattered = _warnings(whole, param_sizes=(25600 * 512,), sharded_sizes=(6400 * 512,))
    assert not scattered  # Of the sum a slice is used.
    summed = whole.replace("ROOT %part", "%some").replace(
        "%some =", "ROOT %other = bf16[8,512]{1,0} negate(%p)\n  %some ="
    )
    (line,) = _warnings(summed, param_sizes=(25600 * 512,), sharded_sizes=(6400 * 512,))
    assert line.startswith("bf16[6400,512] of an unnamed operation is summed whole on every device")


def test_an_activation_of_the_size_of_a_parameter_may_be_summed_whole():
    whole = _LARGE.replace("64,512", "6400,512").replace("64,256", "6400,256")
    summed = whole.replace("ROOT %part", "%some").replace(
        "%some =", "ROOT %other = bf16[8,512]{1,0} negate(%p)\n  %some ="
    )
    sizes = {"param_sizes": (25600 * 512,), "sharded_sizes": (6400 * 512,)}
    # The next turn of the loop multiplies it.
    assert not _warnings(summed.replace("tuple(%next, %rows,", "tuple(%next, %grad,"), **sizes)
    assert _warnings(summed, **sizes)


def test_a_parameter_that_no_axis_splits_is_told():
    large, small = ("params/emb", 2**30), ("params/norm", 2**10)
    (line,) = _warnings(LOOP, replicated=(large, small))
    assert line == "params/emb (1.00 GiB) is whole on every device: no mesh axis splits it"


def test_state_that_is_mostly_padding_is_told():
    text = LOOP.replace(
        "%state = bf16[64,256]{1,0}", "%state = bf16[4096,256,2]{2,1,0:T(8,128)(2,1)}"
    )
    (line,) = _warnings(text)
    # Two of 128 columns are filled.
    assert "256.0 MiB" in line or "252" in line
    assert "params/decoder/head bf16[4096,256,2]" in line
