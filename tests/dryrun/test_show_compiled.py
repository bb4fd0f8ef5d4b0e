import io
import re

from rich.console import Console

from axl_exp.dryrun.compiled.facts import CompiledCollective, CompiledFacts, CompiledMemory
from axl_exp.dryrun.section import print_sections
from axl_exp.dryrun.show_compiled import compiled_sections

OWNERS = (
    "GroupedQueryAttention/MultiheadOutputLinear, forward",
    "TransformerFeedForwardLayer/Linear, backward",
)


def printed(width: int) -> str:
    collectives = [
        CompiledCollective(
            kind=kind,
            mesh_axes=("data", "fsdp"),
            link="network",
            owner=owner,
            count=24,
            num_bytes=720 * 2**20,
            seconds=0.00366,
        )
        for kind in ("all-gather", "reduce-scatter")
        for owner in OWNERS
    ]
    memory = CompiledMemory(
        argument_bytes=1,
        output_bytes=1,
        alias_bytes=1,
        temp_bytes=1,
        code_bytes=1,
        host_bytes=0,
        needed_bytes=2,
        available_bytes=4,
    )
    facts = CompiledFacts(
        compiler="",
        topology="",
        num_devices=8,
        memory=memory,
        largest=(),
        collectives=tuple(collectives),
        model_flops=1,
        executed_flops=1,
        kernel_flops=0,
        offload_bytes=0,
        prediction=None,
        warnings=(),
        compile_seconds=1,
    )
    out = io.StringIO()
    print_sections(compiled_sections(facts), Console(file=out, width=width, force_terminal=True))
    return re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())


def test_at_80_columns_who_communicates_is_told_without_a_word_broken():
    text = printed(80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("in the program: ") == 2
    words = [word for owner in OWNERS for word in owner.split()]
    assert all(text.count(word) == 2 for word in words if word not in ("forward", "backward"))


def test_where_there_is_room_all_communication_is_one_table():
    (line,) = (line for line in printed(140).splitlines() if line.startswith("in the program"))
    assert line.split()[:5] == ["in", "the", "program", "along", "over"]
