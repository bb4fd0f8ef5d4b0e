"""Wires, the schedule and kernels: against times that can be written down."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest

from axl_exp.dryrun.compiled.costs import Costs
from axl_exp.dryrun.compiled.execution import executions
from axl_exp.dryrun.compiled.hlo import parse_program
from axl_exp.dryrun.compiled.network import Network
from axl_exp.dryrun.compiled.owners import Owners
from axl_exp.dryrun.compiled.schedule import Schedule, host_copy_bytes
from axl_exp.dryrun.compiled.traffic import sum_traffic, traffic_of
from axl_exp.mesh import CHIPS
from tests.dryrun.compiled.programs import LOOP

(V5E,) = (chip for chip in CHIPS if chip.name == "v5e")
(H100,) = (chip for chip in CHIPS if chip.name == "h100")
_LINK = 0.9 * 50e9  # What is reached of a v5e's link.
_HOP = 1e-6


def _grid(*sizes: int, num_slices: int = 1) -> Network:
    coords = list(itertools.product(*map(range, sizes))) * num_slices
    parts = [i // math.prod(sizes) for i in range(len(coords))]
    return Network(V5E, coords=coords, parts=parts)


def _everyone(count: int) -> tuple[tuple[int, ...], ...]:
    return (tuple(range(count)),)


def test_a_whole_pod_gathers_over_four_links_of_every_chip():
    transfer = _grid(16, 16).transfer("all-gather", _everyone(256), num_bytes=2**30)
    expected = 2**30 * 255 / 256 / (4 * _LINK) + 16 * _HOP
    assert (transfer.link, transfer.seconds) == ("ici", pytest.approx(expected))


def test_a_corner_of_an_open_grid_has_two_links():
    transfer = _grid(2, 4).transfer("all-gather", _everyone(8), num_bytes=2**30)
    assert transfer.seconds == pytest.approx(2**30 * 7 / 8 / (2 * _LINK) + 4 * _HOP)


def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather():
    network = _grid(16, 16)
    one, two, both = (
        network.transfer(kind, _everyone(256), num_bytes=2**28).seconds
        for kind in ("reduce-scatter", "all-gather", "all-reduce")
    )
    assert both == pytest.approx(one + two)


def test_a_ring_along_one_dim_uses_the_links_of_that_dim():
    rows = tuple(tuple(range(16 * i, 16 * i + 16)) for i in range(16))
    transfer = _grid(16, 16).transfer("all-gather", rows, num_bytes=2**30)
    assert transfer.seconds == pytest.approx(2**30 * 15 / 16 / (2 * _LINK) + 8 * _HOP)


def test_groups_that_interleave_along_a_dim_share_its_links():
    every_other = tuple(
        tuple(16 * row + start + 2 * i for i in range(8)) for row in range(16) for start in (0, 1)
    )
    interleaved = _grid(16, 16).transfer("all-gather", every_other, num_bytes=2**30).seconds
    halves = tuple(
        tuple(16 * row + start + i for i in range(8)) for row in range(16) for start in (0, 8)
    )
    neighbours = _grid(16, 16).transfer("all-gather", halves, num_bytes=2**30).seconds
    # Half of a ring's two links, and the one link of a line.
    assert interleaved == pytest.approx(neighbours, rel=1e-3)


def test_a_shift_by_three_loads_every_wire_three_times():
    network = _grid(16, 16)

    def shift(by: int) -> float:
        pairs = tuple((16 * r + c, 16 * r + (c + by) % 16) for r in range(16) for c in range(16))
        return network.transfer("collective-permute", pairs, num_bytes=2**26).seconds

    assert shift(1) == pytest.approx(2**26 / _LINK + _HOP)
    assert shift(3) == pytest.approx(3 * (2**26 / _LINK + _HOP))
    assert shift(15) == pytest.approx(shift(1))  # The other way around the ring.


def test_slices_meet_on_the_network_with_what_one_chip_of_each_holds():
    transfer = _grid(16, 16, num_slices=2).transfer("all-reduce", _everyone(512), num_bytes=2**30)
    inner = 2 * (2**30 * 255 / 256 / (4 * _LINK) + 16 * _HOP)
    outer = 2 * 2**30 / 256 / 2 / (0.9 * V5E.network_bytes_per_second)
    assert (transfer.link, transfer.seconds) == ("dcn", pytest.approx(inner + outer))


def test_gpus_of_a_node_meet_on_nvlink_and_nodes_on_their_network():
    network = Network(H100, coords=[()] * 16, parts=[0] * 8 + [1] * 8)
    inside = network.transfer("all-gather", ((*range(8),), (*range(8, 16),)), num_bytes=2**30)
    assert inside.link == "nvlink"
    assert inside.seconds == pytest.approx(2**30 * 7 / 8 / (0.9 * 450e9))
    over = network.transfer("all-gather", _everyone(16), num_bytes=2**30)
    assert over.link == "network"
    assert over.seconds == pytest.approx(inside.seconds + 2**30 / 8 / 2 / (0.9 * 50e9))


def test_collectives_of_a_loop_are_counted_and_weighed_by_hand():
    program = parse_program(LOOP)
    gather, scatter = sorted(
        sum_traffic(
            traffic_of(program, executions(program)),
            network=_grid(2, 4),
            owners=Owners.of_text(LOOP),
            axis_sizes={"data": 1, "fsdp": 8},
        ),
        key=lambda c: c.kind,
    )
    assert (gather.kind, gather.count, gather.num_bytes) == ("all-gather", 3, 3 * 256 * 512 * 2)
    assert gather.owner == "loss, forward"
    # An all-reduce of which a slice is used.
    assert (scatter.kind, scatter.count, scatter.num_bytes) == (
        *("reduce-scatter", 3),
        3 * 64 * 512 * 2,
    )
    assert gather.mesh_axes == scatter.mesh_axes == ("fsdp",)


# As libtpu writes the gradients of a layer's weights, summed in one go.
_TOGETHER = """HloModule m, is_scheduled=true, num_partitions=8

%scatter (p: bf16[64,512], q: bf16[32]) -> (bf16[8,512], bf16[4]) {
  %p = bf16[64,512]{1,0} parameter(0)
  %q = bf16[32]{0} parameter(1)
  %at = s32[] constant(0)
  %whole = (bf16[64,512]{1,0}, bf16[32]{0}) all-reduce(%p, %q), channel_id=3, replica_groups={}
  %first = bf16[64,512]{1,0} get-tuple-element(%whole), index=0
  %second = bf16[32]{0} get-tuple-element(%whole), index=1
  %part = bf16[8,512]{1,0} dynamic-slice(%first, %at, %at), dynamic_slice_sizes={8,512}
  %other = bf16[4]{0} dynamic-slice(%second, %at), dynamic_slice_sizes={4}
  ROOT %parts = (bf16[8,512]{1,0}, bf16[4]{0}) tuple(%part, %other)
}

ENTRY %e (x: bf16[64,512], y: bf16[32]) -> (bf16[8,512], bf16[4]) {
  %x = bf16[64,512]{1,0} parameter(0)
  %y = bf16[32]{0} parameter(1)
  ROOT %f = (bf16[8,512]{1,0}, bf16[4]{0}) fusion(%x, %y), kind=kCustom, calls=%scatter
}
"""


def _traffic(text: str) -> list[tuple[str, int]]:
    program = parse_program(text)
    moved = [each.communication for each in traffic_of(program, executions(program))]
    return [(each.kind, each.num_bytes) for each in moved]


def test_sums_of_which_each_device_keeps_slices_alone_are_scattered():
    num_bytes = (64 * 512 + 32) * 2
    assert _traffic(_TOGETHER) == [("reduce-scatter", num_bytes)]
    one_is_whole = _TOGETHER.replace("tuple(%part, %other)", "tuple(%part, %second)")
    assert _traffic(one_is_whole) == [("all-reduce", num_bytes)]


def _by_cycles(where, instruction):
    """As if the compiler's estimates were all that there is."""
    return (instruction.estimated_cycles or 0) / 1.5e9


@pytest.mark.parametrize("cycles", [1500, 1500_000])
def test_computing_hides_a_transfer_until_it_is_awaited(cycles):
    program = parse_program(LOOP.replace('"1500"', f'"{cycles}"'))
    network = _grid(2, 4)
    gather = network.transfer("all-gather", _everyone(8), num_bytes=256 * 512 * 2).seconds
    scatter = network.transfer("reduce-scatter", _everyone(8), num_bytes=64 * 512 * 2).seconds
    times = Schedule(program, network, _by_cycles, 1.0).step_times()
    early, late = cycles / 1.5e9, 3000 / 1.5e9
    assert times.compute == pytest.approx(3 * (early + late))
    assert times.transfers == pytest.approx(3 * (gather + scatter))
    assert times.total == pytest.approx(3 * (max(early, gather) + late + scatter))
    exposed = 3 * (max(0.0, gather - early) + scatter)
    assert times.exposed == {"ici": pytest.approx(exposed)}


def test_transfers_on_the_same_wires_queue_and_on_others_do_not():
    head = "HloModule m, is_scheduled=true, num_partitions=16\n\nENTRY %e () -> f32[] {\n"
    shape = "(f32[1000000]{0}, f32[1000000]{0}, u32[], u32[])"
    ahead = ",".join(f"{{{i},{(i + 1) % 16}}}" for i in range(16))
    back = ",".join(f"{{{(i + 1) % 16},{i}}}" for i in range(16))

    def seconds(second: str) -> float:
        text = head + "  %p = f32[1000000]{0} parameter(0)\n"
        for name, pairs in (("a", ahead), ("b", second)):
            text += (
                f"  %{name} = {shape} collective-permute-start(%p), "
                f"source_target_pairs={{{pairs}}}\n"
            )
        for name in "ab":
            text += f"  %{name}.done = f32[1000000]{{0}} collective-permute-done(%{name})\n"
        program = parse_program(text + "  ROOT %r = f32[] constant(0)\n}\n")
        return Schedule(program, _grid(16), Costs(program, V5E).seconds, 1.0).step_times().total

    alone = 4e6 / _LINK + _HOP
    assert seconds(back) == pytest.approx(alone)
    assert seconds(ahead) == pytest.approx(2 * alone)


def test_a_chain_of_fusions_is_one_communication_hidden_by_those_in_a_loop_between():
    p = "%p = f32[100]{0} parameter(0)"
    fusion = "= f32[800]{0} fusion(%p), kind=kCustom, backend_config={"
    fusion += '"estimated_cycles":"5000"}, calls='
    text = "HloModule m, is_scheduled=true, num_partitions=8\n"
    for name in ("Start", "Step", "Done"):
        text += f"""
%{name} (p: f32[100]) -> f32[800] {{
  {p}
  %g = f32[800]{{0}} all-gather(%p), channel_id=5, replica_groups={{{{0,1,2,3,4,5,6,7}}}}, \
dimensions={{0}}, frontend_attributes={{chain_id="1"}}
  ROOT %r = f32[800]{{0}} custom-call(%g), custom_call_target="AsyncCollective{name}"
}}
"""
    text += f"""
%body (p: f32[100]) -> f32[100] {{
  {p}
  %step {fusion}%Step
  ROOT %again = f32[100]{{0}} slice(%step), slice={{[0:100]}}
}}

ENTRY %e () -> f32[800] {{
  {p}
  %start {fusion}%Start
  %l = f32[100]{{0}} while(%p), condition=%body, body=%body, \
backend_config={{"known_trip_count":{{"n":"3"}}}}
  ROOT %done {fusion}%Done
}}
"""
    program, network = parse_program(text), _grid(2, 4)
    (only,) = traffic_of(program, executions(program))
    assert (only.times, only.communication.num_bytes) == (1, 3200)
    times = Schedule(program, network, _by_cycles, 1.0).step_times()
    alone = network.transfer("all-gather", _everyone(8), num_bytes=3200).seconds
    assert times.transfers == pytest.approx(alone)
    assert times.total == pytest.approx(5 * 5000 / 1.5e9)


def test_a_transfer_between_slices_is_over_where_it_is_received():
    said = (
        'is_host_transfer=true, frontend_attributes={_xla_host_transfer_rendezvous="r1",'
        '_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}'
    )
    program = parse_program(f"""HloModule m, is_scheduled=true, num_partitions=4

ENTRY %e () -> f32[1000] {{
  %p = f32[1000]{{0}} parameter(0)
  %t = token[] after-all()
  %send = (f32[1000]{{0}}, u32[], token[]) send(%p, %t), channel_id=1, {said}
  %recv = (f32[1000]{{0}}, u32[], token[]) recv(%t), channel_id=2, {said}
  %gone = token[] send-done(%send), channel_id=1, is_host_transfer=true
  %here = (f32[1000]{{0}}, token[]) recv-done(%recv), channel_id=2, is_host_transfer=true
  ROOT %sum = f32[1000]{{0}} get-tuple-element(%here), index=0
}}
""")
    network = _grid(2, 2, num_slices=2)
    (only,) = sum_traffic(
        traffic_of(program, executions(program)),
        network=network,
        owners=Owners({}),
        axis_sizes={"data": 2, "fsdp": 4},
    )
    assert (only.kind, only.mesh_axes, only.link) == ("all-reduce", ("data",), "dcn")
    assert (only.count, only.num_bytes) == (1, 4000)
    times = Schedule(program, network, Costs(program, V5E).seconds, 1.0).step_times()
    # Half is sent and half comes back: twice (s - 1) / s of it.
    alone = 4000 / (0.9 * V5E.network_bytes_per_second)
    assert times.exposed == {"dcn": pytest.approx(alone)}


def test_copies_to_the_host_take_its_link():
    text = """HloModule m, is_scheduled=true

ENTRY %e (p: f32[1000]) -> f32[1000] {
  %p = f32[1000]{0} parameter(0)
  %near = (f32[1000]{0:S(1)}, f32[1000]{0}, u32[]) copy-start(%p)
  %away = (f32[1000]{0:S(5)}, f32[1000]{0}, u32[]) copy-start(%p)
  %there = f32[1000]{0:S(5)} copy-done(%away)
  ROOT %r = f32[1000]{0} copy-done(%near)
}
"""
    program = parse_program(text)
    times = Schedule(program, _grid(1), Costs(program, V5E).seconds, 1e6).step_times()
    assert times.exposed == {"host": pytest.approx(4000 / 1e6)}


def test_a_part_of_an_array_on_the_host_counts_as_the_part():
    whole, part = "f32[32,1000]{1,0:S(5)}", "f32[1,1000]{1,0}"
    text = f"""HloModule m

ENTRY %e () -> f32[] {{
  %in = (({whole}, s32[]), {part}, u32[]) dynamic-slice-start(), dynamic_slice_sizes={{1,1000}}
  %out = (({whole}, {part}, s32[]), {whole}, u32[]) dynamic-update-slice-start()
  %near = (({part}, s32[]), f32[1,10]{{1,0:S(1)}}, u32[]) dynamic-slice-start()
  ROOT %r = f32[] constant(0)
}}
"""
    instructions = parse_program(text).entry.instructions
    assert [host_copy_bytes(i) for i in instructions] == [4000, 4000, 0, 0]


def test_a_gpus_instruction_takes_as_long_as_its_slower_part():
    square = "bf16[4096,4096]{1,0}"
    program = parse_program(
        f"HloModule m, is_scheduled=true\n\nENTRY %e () -> f32[] {{\n  %a = {square} parameter(0)\n"
        f'  %gemm = {square} custom-call(%a, %a), custom_call_target="__cublas$gemm", '
        'backend_config={"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}\n'
        f"  ROOT %sum = {square} add(%gemm, %a)\n}}\n"
    )
    seconds = Costs(program, H100).seconds
    entry = program.entry
    assert seconds(entry, entry.by_name["gemm"]) == pytest.approx(2 * 4096**3 / (0.75 * 989e12))
    assert seconds(entry, entry.root) == pytest.approx(3 * 2 * 4096**2 / (0.9 * 3352e9))


_CYCLES = 'backend_config={{"estimated_cycles":"{}"}}'


@pytest.mark.parametrize(
    ("operation", "layout", "cycles", "expected"),
    [
        # Two read and one written: 4096^2 elements of 2 bytes each.
        ("add(%a, %a)", "", 10**9, 3 * 2 * 4096**2 / (0.9 * V5E.hbm_bytes_per_second)),
        ("add(%a, %a)", ":S(1)", 10**9, 3 * 2 * 4096**2 / 22 / (0.9 * V5E.hbm_bytes_per_second)),
        ("add(%a, %a)", "", 1000, 1000 / 1.5e9),
        # The compiler knows how long its products take.
        ("dot(%a, %a), lhs_contracting_dims={1}", "", 10**9, 10**9 / 1.5e9),
    ],
    ids=["main-memory", "on-the-chip", "estimated-less", "product"],
)
def test_a_pass_of_a_tpu_takes_no_longer_than_its_bytes(operation, layout, cycles, expected):
    square = f"bf16[4096,4096]{{1,0{layout}}}"
    program = parse_program(
        f"HloModule m\n\nENTRY %e () -> f32[] {{\n  %a = {square} parameter(0)\n"
        f"  ROOT %r = {square} {operation}, {_CYCLES.format(cycles)}\n}}\n"
    )
    seconds = Costs(program, V5E).seconds(program.entry, program.entry.root)
    assert seconds == pytest.approx(expected)


@pytest.mark.parametrize(("dtype", "pace"), [("bf16", 1), ("f8e4m3fn", 2)])
def test_a_product_of_small_numbers_takes_half_the_time(dtype, pace):
    program = parse_program(
        f"HloModule m\n\nENTRY %e () -> f32[] {{\n  %a = {dtype}[8192,8192]{{1,0}} parameter(0)\n"
        "  ROOT %dot = bf16[8192,8192]{1,0} dot(%a, %a), "
        "lhs_contracting_dims={1}, rhs_contracting_dims={0}\n}\n"
    )
    seconds = Costs(program, H100).seconds(program.entry, program.entry.root)
    assert seconds == pytest.approx(2 * 8192**3 / (0.75 * 989e12) / pace)


def test_the_links_of_a_chip_are_all_that_the_network_takes_from_the_table():
    slower = dataclasses.replace(V5E, peak_flops_per_second=1.0, hbm_bytes=1)
    coords = [(i,) for i in range(4)]
    one, two = (Network(c, coords=coords, parts=[0] * 4) for c in (V5E, slower))
    arguments = ("all-to-all", _everyone(4))
    assert one.transfer(*arguments, num_bytes=9) == two.transfer(*arguments, num_bytes=9)
