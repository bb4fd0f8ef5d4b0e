"""What differs between two environments has a place of its own, in every output."""

from __future__ import annotations

from pathlib import Path

import pytest

from axl_exp.compare.__main__ import main
from axl_exp.compare.environment import Difference, Group, Kind, group_of, grouped
from axl_exp.run.environment import launch_facts
from tests.compare.test_page import Text


@pytest.mark.parametrize(
    "fact,group",
    [
        ("versions.jax", Group.PACKAGES),
        ("versions.python", Group.PYTHON),
        ("xla_flags", Group.FLAGS),
        ("jax_flags.LIBTPU_INIT_ARGS", Group.FLAGS),
        ("hardware.device_kind", Group.HARDWARE),
        ("hardware.host.num_cpus", Group.HOST),
        ("host.process_index", Group.HOST),
        ("git.diff_sha256", Group.CODE),
        ("data.fingerprint", Group.DATA),
        ("tokens_per_step", Group.RUN),
    ],
)
def test_a_fact_stands_in_its_group(fact, group):
    assert group_of(fact) is group


def test_every_fact_that_a_launch_writes_down_has_a_group_but_its_time_and_command():
    facts = launch_facts(hardware={"platform": "cpu"})
    names = [f"{k}.x" if isinstance(v, dict) else k for k, v in facts.items()]
    of_run = {name for name in names if group_of(name) is Group.RUN}
    assert of_run == {"started_unix_seconds", "command_line"}


def test_groups_stand_in_one_order_and_empty_ones_are_left_out():
    facts = ("git.commit", "versions.jax", "hardware.host.name", "versions.flax")
    found = [Difference(fact, "1", "2", Kind.CONFOUNDER, group_of(fact)) for fact in facts]
    told = [(str(group), [d.what for d in same]) for group, same in grouped(found)]
    assert told == [
        ("packages", ["versions.jax", "versions.flax"]),
        ("host", ["hardware.host.name"]),
        ("git", ["git.commit"]),
    ]


@pytest.fixture
def outputs(make_run, tmp_path, capsys) -> dict[str, str]:
    """Terminal, Markdown and page of two runs that differ in JAX, XLA's flags and branch."""
    a = make_run("a")
    b = make_run(
        "b",
        versions={"python": "3.11.7", "jax": "0.11.0"},
        xla_flags="--xla_x=1",
        git={"root": "/src", "commit": "a" * 40, "branch": "feat/x", "dirty": False},
    )
    files = {name: tmp_path / f"out.{name}" for name in ("md", "html")}
    main([str(a.path), str(b.path), *(f"--{name}={file}" for name, file in files.items())])
    return {
        "terminal": capsys.readouterr().out,
        **{n: Path(f).read_text() for n, f in files.items()},
    }


def test_the_environment_is_a_section_of_every_output_and_holds_differences_alone(outputs):
    for name, text in outputs.items():
        section = text[text.index("Environment") :]
        for told in ("versions.jax", "0.10.2", "0.11.0", "xla_flags", "xla_x=1", "git.branch"):
            assert told in section.replace("&#95;", "_"), (name, told)
        assert "versions.python" not in text


def test_validity_names_confounders_and_leads_to_their_rows(outputs):
    terminal = outputs["terminal"]
    assert "confounded by  versions.jax, xla_flags" in terminal
    assert "harmless       git.branch" in terminal
    page = Text(outputs["html"])
    validity = outputs["html"].split('id="c1-validity"')[1].split("</section>")[0]
    targets = [link.removeprefix("#") for link in Text(validity).links]
    assert len(targets) == 3 and set(targets) <= set(page.ids)


def test_every_output_says_the_same_words_of_metrics_losses_and_noise(outputs):
    page = str(Text(outputs["html"]))
    told = (
        "identical to the bit at all 60 paired steps",
        "How many more runs would detect 1 % is not known before 3 per side ran.",
        "14.8 s in 59",
    )
    for words in told:
        assert words in page and words in outputs["md"]
        assert words in " ".join(outputs["terminal"].split())
