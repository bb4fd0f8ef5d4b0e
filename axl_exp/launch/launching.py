"""What a launch does, in order; each stage fails before the next costs anything."""

import contextlib
import dataclasses
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axl_exp.cli import run_command
from axl_exp.config.delta import change_text
from axl_exp.config.explain import leaf_writers
from axl_exp.config.override import Override
from axl_exp.config.text import config_text
from axl_exp.data import EMBEDDED_DATASET, dataset_text, use_embedded_corpus
from axl_exp.launch.narrate import Narrator, plan_facts
from axl_exp.launch.prediction import predict
from axl_exp.report.terminal import make_console
from axl_exp.report.text import format_seconds
from axl_exp.resolve import Resolved, resolve
from axl_exp.run.claim import check_claim, claim
from axl_exp.run.environment import code_state
from axl_exp.run.layout import RunDir
from axl_exp.run.naming import new_run_dir
from axl_exp.train.agree import check_same, failing_together, from_first, leave
from axl_exp.train.compilation_cache import keep_compiled_programs
from axl_exp.train.devices import describe_devices, select_devices
from axl_exp.train.processes import ProcessesError, is_first, join_processes, process_index
from axl_exp.train.session import Display, run_session
from axl_exp.train.stop import StopRequest
from axl_exp.train.trainer import SpmdTrainer

_RUNS = Path("runs")


@dataclasses.dataclass(frozen=True)
class LaunchRequest:
    """The flags of a launch, as parsed.

    Attributes:
        overrides: (path, text) of every `--config.<path>=<text>`, in order.
        debug: Whether errors show their tracebacks.
        started: `time.perf_counter()` when the process began.
        stop: Set by signals since then.
    """

    config: str
    mesh: str
    run_dir: Path | None
    data_dir: str | None
    module: str | None
    overrides: tuple[tuple[str, str], ...]
    debug: bool
    started: float
    stop: StopRequest


def launch_together(request: LaunchRequest) -> int:
    """Launch as one of the processes of the run, if there are several; returns the exit code."""

    def body() -> int:
        join_processes()
        with failing_together():
            return launch(request)

    code = run_command(body, debug=request.debug)
    leave(code)
    return code


def launch(request: LaunchRequest) -> int:
    """Train what the request asks for; returns the exit code.

    Raises:
        UserError: Whatever is wrong with the request, the data, the memory or the run directory.
    """
    keep_compiled_programs()
    hardware = select_devices(request.mesh)
    resolved = resolve(
        request.config,
        selector=hardware,
        overrides=[Override(path, text) for path, text in request.overrides],
        module=request.module,
        adapt=_use_embedded_corpus if request.data_dir is None else None,
    )
    text = config_text(resolved.config)
    check_same("config", text)
    if request.run_dir is not None and is_first():
        check_claim(RunDir(request.run_dir), config_text=text)
    trainer: SpmdTrainer = resolved.config.instantiate()  # pyright: ignore
    with contextlib.ExitStack() as stack:
        narrator = stack.enter_context(_narrator(request))
        _introduce(narrator, resolved, trainer, request)
        plan = trainer.plan()
        trainer.check_fits(plan, config_name=resolved.name)
        trainer.open_inputs(data_dir=request.data_dir)
        _check_same_data(trainer)
        if request.run_dir is None or not RunDir(request.run_dir).checkpoints.is_dir():
            trainer.open_init()  # What is not there is known before compiling.
        compile_started = time.perf_counter()
        compiled = trainer.compile()
        compile_seconds = time.perf_counter() - compile_started
        plan = plan.with_compiled(compiled)
        trainer.check_fits(plan, config_name=resolved.name)
        run_dir = stack.enter_context(_claimed(request, resolved, text))
        narrator.log_to(run_dir.log_of_process(process_index()))
        narrator.show_plan(
            [
                *plan_facts(plan, config=resolved.name, hardware=_hardware_text(resolved, trainer)),
                ("compiled", f"in {format_seconds(compile_seconds)}"),
                ("run directory", str(run_dir.path)),
            ]
        )
        cfg = trainer.config
        narrator.start_steps(max_step=cfg.max_step, log_every_n_steps=cfg.log_every_n_steps)
        result = run_session(
            trainer,
            compiled=compiled,
            plan=plan,
            run_dir=run_dir,
            env=_env_facts(request, resolved, trainer),
            display=Display(say=narrator.say, on_step=narrator.on_step),
            stop=request.stop,
            compile_seconds=compile_seconds,
            started=request.started,
            dry_run=predict(resolved) if is_first() else {},
        )
        narrator.show_summary(result.summary, run_dir=run_dir.path)
        _say_what_next(narrator, request, run_dir, status=result.summary["status"])
    return result.exit_code


def _use_embedded_corpus(cfg: Any) -> Any:
    """Return `cfg` reading the embedded corpus wherever it names data that must be prepared."""
    cfg = cfg.clone()
    cfg.input = use_embedded_corpus(cfg.input)
    evalers = {name: evaler.clone() for name, evaler in cfg.evalers.items()}
    for evaler in evalers.values():
        evaler.input = use_embedded_corpus(evaler.input)
    cfg.evalers = evalers
    return cfg


def _introduce(
    narrator: Narrator, resolved: Resolved, trainer: SpmdTrainer, request: LaunchRequest
) -> None:
    narrator.say(f"{resolved.name} on {_hardware_text(resolved, trainer)}", style="bold")
    if resolved.rule is not None:
        if resolved.rule.note:
            narrator.say(resolved.rule.note, style="bold yellow")
        narrator.say(f"The mesh rule at {resolved.rule.defined_at} changed:")
        for change in resolved.mesh_changes:
            narrator.say(f"  {change_text(change)}")
    for override in resolved.overrides:
        narrator.say(f"override {override.flag}")
    for warning in resolved.warnings:
        narrator.say(f"warning: {warning}", style="yellow")
    dataset = dataset_text(trainer.config.input.source)
    if request.data_dir is not None:
        narrator.say(f"Data: {dataset} under {request.data_dir}", style="bold")
    elif dataset == EMBEDDED_DATASET:
        narrator.say(
            "Data: the embedded corpus, the text that ships with this Python. "
            "Train on your own with --data_dir.",
            style="bold yellow",
        )
    else:
        narrator.say(f"Data: {dataset}", style="bold")


def _hardware_text(resolved: Resolved, trainer: SpmdTrainer) -> str:
    return f"{resolved.hardware} ({describe_devices(trainer.devices)})"


def _narrator(request: LaunchRequest) -> Narrator:
    console = make_console()
    console.quiet = not is_first()
    return Narrator(console, on_lost_reader=lambda: request.stop.ask(signal.SIGPIPE))


def _check_same_data(trainer: SpmdTrainer) -> None:
    """Raise ProcessesError unless every process reads the same data, wherever that is for it."""
    inputs = {"input": trainer.input, **{n: e.input for n, e in trainer.evalers.items()}}
    facts = {
        f"{name}.{key}": value
        for name, each in inputs.items()
        for key, value in each.fingerprint().items()  # pyright: ignore  (inputs are open)
        if key != "source"
    }
    check_same("data", "\n".join(f"{key}: {value!r}" for key, value in facts.items()))


@contextlib.contextmanager
def _claimed(request: LaunchRequest, resolved: Resolved, text: str) -> Iterator[RunDir]:
    """Yield the run directory, which the first process has claimed for all."""
    run_dir = RunDir(from_first("run directory", str(_run_dir(request, resolved).path)))
    with contextlib.ExitStack() as stack:
        if is_first():
            writers = leaf_writers(resolved.config)
            stack.enter_context(claim(run_dir, config_text=text, writers=writers))
        from_first("claim", None)
        if not run_dir.path.is_dir():
            raise ProcessesError(
                f"process {process_index()} does not see {run_dir.path}, which process 0 made: "
                "--run_dir must be on a file system that all processes share."
            )
        yield run_dir


def _run_dir(request: LaunchRequest, resolved: Resolved) -> RunDir:
    if request.run_dir is not None:
        return RunDir(request.run_dir)
    commit = (code_state() or {}).get("commit")
    return new_run_dir(_RUNS, config=resolved.name, commit=commit, started_unix_seconds=time.time())


def _env_facts(request: LaunchRequest, resolved: Resolved, trainer: SpmdTrainer) -> dict[str, Any]:
    cfg = trainer.config
    return {
        "config": resolved.name,
        "module": request.module,
        "mesh": str(resolved.hardware),
        "mesh_shape": dict(trainer.mesh.shape),
        "mesh_rule": resolved.rule.defined_at if resolved.rule is not None else None,
        "overrides": [override.flag for override in resolved.overrides],
        "data": trainer.input.fingerprint(),  # pyright: ignore  (inputs are open)
        "embedded_data": request.data_dir is None,
        "seed": cfg.seed,
    }


def _say_what_next(
    narrator: Narrator, request: LaunchRequest, run_dir: RunDir, *, status: str
) -> None:
    narrator.say("")
    narrator.say(f"run directory: {run_dir.path}")
    if status == "stopped":
        narrator.say(
            "Stopped on request. Launch again with the same flags and --run_dir to resume."
        )
    path = shlex.quote(str(run_dir.path))
    narrator.say(f"compare it:    python -m axl_exp.compare {path} OTHER_RUN_OR_BRANCH")
