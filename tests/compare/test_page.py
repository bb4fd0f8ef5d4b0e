"""`compare --html`: one file that tells what the terminal tells, and never runs what it shows."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import pytest

from axl_exp.compare.__main__ import main
from axl_exp.run.params import write_params

SEEDS = Path(__file__).resolve().parents[3] / "shared" / "seeds"


class Text(html.parser.HTMLParser):
    """The text of a page, its elements' ids and its links."""

    def __init__(self, page: str):
        super().__init__()
        self.parts: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._hidden += tag in ("script", "style")
        told = {name: value or "" for name, value in attrs}
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if tag == "a" else []

    def handle_endtag(self, tag):
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._hidden:
            self.parts.append(data)

    def __str__(self):
        return re.sub(r"\s+", " ", " ".join(self.parts))


def page_of(*sides, tmp_path: Path) -> str:
    file = tmp_path / "report.html"
    assert main([*map(str, sides), f"--html={file}"]) in (0, 1, 3)
    return file.read_text(encoding="utf-8")


def test_the_page_tells_verdict_validity_numbers_and_config(make_run, tmp_path):
    a = make_run("a", noise=0.002, noise_seed=1)
    b = make_run("b", noise=0.002, noise_seed=2, step_seconds=0.35, versions={"jax": "0.11.0"})
    config = b.config.read_text().replace("learning_rate: 0.001", "learning_rate: 0.003")
    b.config.write_text(config)
    told = str(Text(page_of(a.path, b.path, tmp_path=tmp_path)))
    for expected in (
        "▼ worse",
        "step time, median (s)",
        "+40",
        "versions.jax",
        "confounder",
        "learner.learning_rate",
        "0.003",
        "Where the time went",
    ):
        assert expected in told
    # The verdict stands before what it rests on.
    assert told.index("worse") < told.index("Validity") < told.index("Metrics")


def test_every_link_within_the_page_has_its_target_and_ids_are_unique(make_run, tmp_path):
    a, b = make_run("a"), make_run("b", losses={3: 9.0})
    for run in (a, b):
        run.log.write_text("first line\nsecond line\n")
    text = Text(page_of(a.path, b.path, tmp_path=tmp_path))
    assert len(set(text.ids)) == len(text.ids)
    assert {link[1:] for link in text.links if link.startswith("#")} <= set(text.ids)
    assert "c1-log-A-2" in text.ids


def test_what_explains_a_change_is_linked_both_ways_and_parameters_have_a_section(
    make_run, tmp_path
):
    worse = {step: 1.1 * (9 - step / 20) for step in range(1, 61)}
    a, b = make_run("a"), make_run("b", losses=worse)
    b.config.write_text(b.config.read_text().replace("learning_rate: 0.001", "learning_rate: 0.1"))
    for run, sharding in ((a, "(fsdp, None)"), (b, "(None, fsdp)")):
        told = {"shape": "float32[4, 8]", "logical": "(embed, mlp)", "physical": sharding}
        write_params(run.params, {"decoder/w": told})
    text = Text(page_of(a.path, b.path, tmp_path=tmp_path))
    assert text.links.count("#c1-leaf-0") == 2  # Of the metric, and of where the losses part.
    assert "#c1-metric-0" in text.links and "c1-metric-0" in text.ids
    assert text.links.count("#c1-losses") == 2  # Of the contents, and of the leaf.
    told = str(text)
    assert (
        "1 of 1 and 1 are on both sides; 1 differences" in told
        and "physical decoder/w (fsdp, None)" in told
    )


def test_markdown_folds_its_details_and_stays_small_enough_for_a_comment(
    make_run, tmp_path, capsys
):
    a, b = make_run("a"), make_run("b", step_seconds=0.3)
    many = "".join(f'tag_{k:03}: "|x` <b> {"y" * 3000}"\n' for k in range(200))
    b.config.write_text(b.config.read_text() + many)
    file = tmp_path / "comment.md"
    assert main([str(a.path), str(b.path), f"--md={file}"]) == 1
    assert f"report: {file}" in capsys.readouterr().err
    told = file.read_text()
    assert told.startswith("### ▼ worse: step time, median (s) +20.00 %")
    assert "| step time, median (s) | 0.2500 | 0.3000 | +20.00 % | ▼ worse |" in told
    assert told.count("<details>") == told.count("</details>") > 1
    assert "… and 160 more" in told and "<b>" not in told
    assert len(told.encode()) < 65_536


def test_what_config_and_log_say_is_shown_and_is_no_markup(make_run, tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"
    a, b = make_run("a"), make_run("b")
    b.config.write_text(b.config.read_text() + f"tag: {json.dumps(evil)}\n")
    b.log.write_text(f"{evil}\x1b[31m\n")
    page = page_of(a.path, b.path, tmp_path=tmp_path)
    assert "<img" not in page
    assert "\x1b" not in page
    assert str(Text(page)).count(evil) >= 2


def test_a_long_log_shows_its_ends_and_says_so(make_run, tmp_path):
    a, b = make_run("a"), make_run("b")
    a.log.write_text("".join(f"line {k}\n" for k in range(1, 10_001)))
    text = Text(page_of(a.path, b.path, tmp_path=tmp_path))
    assert "the first 1,000 and last 1,000 of 10,000 lines" in str(text)
    assert "c1-log-A-10000" in text.ids and "c1-log-A-5000" not in text.ids


def test_a_hundred_thousand_steps_are_thinned_for_drawing_and_not_for_figures(make_run, tmp_path):
    steps = 100_000
    runs = [make_run(name, num_steps=0) for name in "ab"]
    for run in runs:
        with run.metrics.open("a") as file:
            for k in range(1, steps + 1):
                loss = 9 - 6 * k / steps + (5.0 if k == 77_777 else 0.0)
                file.write(f'{{"step":{k},"train/loss":{loss}}}\n')
    page = page_of(*(run.path for run in runs), tmp_path=tmp_path)
    assert len(page) < 3_000_000
    data = [json.loads(t) for t in re.findall(r'class="data">(.*?)</script>', page, re.DOTALL)]
    loss = next(d for d in data if {line["name"] for line in d["lines"]} == {"A", "B"})
    line = loss["lines"][0]
    assert len(line["steps"]) <= 4000
    assert 77_777 in line["steps"]  # The one spike is there.
    assert "100,000 paired steps" in str(Text(page))


def test_the_page_is_written_whole_or_not_at_all(make_run, tmp_path, capsys):
    a, b = make_run("a"), make_run("b")
    assert main([str(a.path), str(b.path), f"--html={tmp_path / 'no' / 'such' / 'x.html'}"]) == 2
    assert "no/such" in capsys.readouterr().err


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the logs of MaxView and Megatron are not here")
def test_the_megatron_log_has_a_chart_of_its_schedule(tmp_path):
    log = SEEDS / "megatron_pipeline.txt"
    text = str(Text(page_of(f"A={log}", f"B={log}", tmp_path=tmp_path)))
    assert "388 events of 2 ranks" in text
    # p = 4, v = 4, m = 16 / 2 = 8: 3 / 35.
    assert f"bubble {100 * 3 / 35:.1f} %" in text


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the logs of MaxView and Megatron are not here")
def test_the_page_of_maxviews_logs_shows_its_figures_as_theirs(tmp_path):
    log = SEEDS / "maxview_checkpoint_async.txt"
    page = page_of(f"A={log}", f"B={log}", tmp_path=tmp_path)
    told = str(Text(page))
    assert "theirs, not ours" in told
    assert "impossible: 2055.2 at step 2" in told and "2170.8 at step 7" in told
    assert all(word in told for word in ("Final loss", "Avg s/step", "Memory %"))
