"""`python -m axl_exp.generate` on a run directory, as a user meets it."""

import io
import json

import pytest

from axl_exp.generate.__main__ import main
from axl_exp.generate.prompt_text import PromptText
from axl_exp.generate.show import Shower
from axl_exp.run.layout import RunDir
from axl_exp.trained_run import TrainedRun
from tests.trained_runs import make_run, small_config

PROMPT = "The standard library has"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run at steps 2 and 3 whose rows are 64 tokens long."""
    cfg = small_config()
    cfg.input.max_sequence_length = 64
    path = tmp_path_factory.mktemp("generate") / "run"
    make_run(path, cfg, steps=(2, 3))
    return path


def generate(run, *flags):
    return main([f"--run_dir={run}", *flags])


def test_alone_and_in_a_batch_a_prompt_goes_on_alike(run, tmp_path, capsys):
    prompts = [PROMPT, "x", "def f(x):"]
    alone = []
    for prompt in prompts:
        assert generate(run, f"--prompt={prompt}", "--max_tokens=9", "--json") == 0
        alone += json.loads(capsys.readouterr().out)["continuations"]
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(prompts[1:]) + "\n")
    flags = (f"--prompt={prompts[0]}", f"--prompt_file={file}", "--max_tokens=9", "--json")
    assert generate(run, *flags) == 0
    together = json.loads(capsys.readouterr().out)
    assert together["step"] == 3 and together["continuations"] == alone
    assert [c["prompt"] for c in alone] == prompts
    assert {c["stop"] for c in alone} <= {"max_tokens", "eos"}


def test_in_a_pipe_there_is_the_text_alone_and_facts_are_elsewhere(run, capsys):
    assert generate(run, f"--prompt={PROMPT}", "--max_tokens=9", "--json") == 0
    [expected] = json.loads(capsys.readouterr().out)["continuations"]
    assert generate(run, f"--prompt={PROMPT}", "--max_tokens=9") == 0
    out, err = capsys.readouterr()
    assert out == f"{PROMPT}{expected['text']}\n"
    assert "step 3 of" in err and "9 new tokens, ended by max_tokens" in err


def test_another_step_and_a_seed_say_something_else(run, capsys):
    said = set()
    for flags in ((), ("--step=2",), *(("--temperature=1", f"--seed={i}") for i in (1, 1))):
        assert generate(run, f"--prompt={PROMPT}", "--max_tokens=4", *flags) == 0
        said.add(capsys.readouterr().out)
    assert len(said) == 3


def test_a_row_stops_where_the_context_ends(run, capsys):
    assert generate(run, f"--prompt={PROMPT}", "--max_tokens=500", "--json") == 0
    [said] = json.loads(capsys.readouterr().out)["continuations"]
    num_prompt_tokens = 1 + len(TrainedRun(RunDir(run)).open_vocabulary().encode(PROMPT))
    assert said["stop"] == "context" and num_prompt_tokens + len(said["tokens"]) == 64


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_model_s_control_characters_are_spelled_out():
    out = Terminal()
    shower = Shower(out, ["go\x1b[31m"])
    shower.on_text(0, " on\x1b]0;title\x07\n")
    shower.end([""])
    said = out.getvalue()
    assert said.startswith("\x1b[1mgo") and said.count("\x1b") == 2  # Bold and plain are ours.
    assert said.endswith("\n") and "title" in said


class Letters:
    """A vocabulary whose ids are bytes, so that a character takes several."""

    eos_id, bos_id = 0, 300

    def encode(self, text):
        return list(text.encode())

    def decode(self, ids):
        return bytes(i for i in ids if 0 < i < 256).decode(errors="replace")


def text_of(newline):
    cfg = small_config().input
    cfg.source.replace_newlines_with = newline
    return PromptText(cfg, Letters())


def test_a_character_comes_when_all_its_bytes_are_there():
    text = text_of(None)
    prompt, new = text.encode("a"), list("é!".encode())
    said = [text.after(prompt, new[:i], is_whole=False) for i in range(4)]
    assert said == ["", "", "é", "é!"]
    assert text.after(prompt, new[:1], is_whole=True) == "\ufffd"


def test_newlines_are_what_they_were_in_training():
    text = text_of("<n>")
    assert text.encode("a\nb") == list(b"a<n>b")
    assert text.after(text.encode("a\n"), list(b"b<n>c"), is_whole=True) == "b\nc"


def test_a_document_begins_as_in_training():
    assert text_of(None).first_token(is_imported=False) == 0
    assert text_of(None).first_token(is_imported=True) == 300


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--prompt="], "prompt 1 is empty"),
        (["--prompt=" + "word " * 80], "which leaves none for an answer. Shorten it"),
        (["--prompt=x", "--step=9"], "no checkpoint of step 9; it has 2, 3"),
        (["--prompt=x", "--ema"], "holds no running mean"),
        (["--prompt_file=nowhere"], "cannot read --prompt_file=nowhere"),
        (["--prompt=x", "--temperature=-1"], "--temperature=-1.0 must be 0 or more"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(run, tmp_path, monkeypatch, capsys, flags, words):
    monkeypatch.chdir(tmp_path)
    assert generate(run, *flags) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_what_is_no_run_is_named(tmp_path, capsys):
    assert generate(tmp_path / "nowhere", "--prompt=x") == 2
    assert "nowhere is no directory: name the directory of a run" in capsys.readouterr().err
    assert generate(tmp_path, "--prompt=x") == 2
    assert "has no config.txt" in capsys.readouterr().err
    make_run(tmp_path / "young", small_config(), steps=())
    assert generate(tmp_path / "young", "--prompt=x") == 2
    assert "has no checkpoint; it has one once its run has saved" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_passed_over_or_named(run, tmp_path, capsys):
    make_run(tmp_path / "run", small_config(), steps=(2, 3))
    newest = tmp_path / "run" / "checkpoints" / "3"
    victim = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:10])
    assert generate(tmp_path / "run", "--prompt=x", "--max_tokens=1") == 0
    assert "step 2 of" in capsys.readouterr().err
    assert generate(tmp_path / "run", "--prompt=x", "--step=3") == 2
    assert "checkpoint 3 is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--run_dir=x"], "there is no prompt: give --prompt or --prompt_file"),
        (["--prompt=x"], "--run_dir"),
        (["--run_dir=x", "--prompt=x", "--top_k=5"], "--top_k is for draws: add --temperature=1"),
        (["--run_dir=x", "--prompt=x", "--max_tokens=0"], "--max_tokens=0 must be 1 or more"),
    ],
)
def test_flags_that_do_not_go_together_are_said(flags, words, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(flags)
    assert exit_.value.code == 2 and words in capsys.readouterr().err
