"""SpmdTrainer: from a resolved config to a trained model in a run directory.

`SpmdTrainer(cfg)` builds everything that needs no memory: the model as pure functions, the mesh,
the shardings, the plan. `open_inputs` reads the data. `compile` compiles the step, and `run`
trains. Each stage fails on its own kind of mistake, before the next costs anything.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from axl_exp.config import (
    REQUIRED,
    Configurable,
    Required,
    config_class,
)
from axl_exp.data import Input
from axl_exp.errors import UserError
from axl_exp.mesh import AnyMeshShape, MeshShape
from axl_exp.mesh.hardware import chip_of_device_kind
from axl_exp.model import CausalLM, flops_per_token
from axl_exp.model.attention_backend import Backend
from axl_exp.model.sharding import axis_rules, check_divides, partition_spec
from axl_exp.optim import Learner
from axl_exp.train.batch_layout import BatchLayout
from axl_exp.train.checkpointer import Checkpointer, saves
from axl_exp.train.compiler_options import naming_refused_options
from axl_exp.train.devices import Devices, make_mesh
from axl_exp.train.evaler import Evaler
from axl_exp.train.initial_params import InitialParams, open_initial_params
from axl_exp.train.memory import (
    StepMemory,
    available_bytes,
    bytes_per_device,
    check_fits,
    host_bytes_per_device,
)
from axl_exp.train.plan import Plan, count_params
from axl_exp.train.state import (
    PureModel,
    TrainState,
    abstract_train_state,
    init_train_state,
    state_of_params,
)
from axl_exp.train.step import lower_train_step, make_train_step
from axl_exp.train.summary_writer import SummaryWriter
from axl_exp.train.trace import Tracer

BATCH_KEYS = ("inputs", "targets", "target_bytes", "segment_ids", "positions")


class VocabularyError(UserError):
    """The data has tokens that mean another thing to the model, or nothing."""


class SpmdTrainer(Configurable):
    """Trains one model on one mesh, by one jitted program (single program, multiple data)."""

    @config_class
    class Config(Configurable.Config):
        # The model.
        model: CausalLM.Config = CausalLM.default_config()
        # What turns gradients into new parameters.
        learner: Learner.Config = Learner.default_config()
        # Training data.
        input: Input.Config = Input.default_config().set(is_training=True)
        # Evaluations by name.
        evalers: dict[str, Evaler.Config] = {}
        checkpointer: Checkpointer.Config = Checkpointer.default_config()
        summary_writer: SummaryWriter.Config = SummaryWriter.default_config()
        tracer: Tracer.Config = Tracer.default_config()
        # The last step.
        max_step: Required[int] = REQUIRED
        # Draws the parameters; the order of the data has its own seed.
        seed: int = 0
        # A step takes its batch in so many parts, one after the other, and sums their gradients in
        # float32: the same numbers from less memory. Divides the rows of every device.
        accumulation_steps: int = 1
        # Parameters are cast to it in the forward pass; the master copy stays float32.
        train_dtype: jnp.dtype = jnp.bfloat16
        # Where the first parameters are: a directory of a Llama in Hugging Face's layout, or of a
        # run, whose newest checkpoint is taken; None draws them. Resuming does not look at it.
        init_from: str | None = None
        # Devices along each axis.
        mesh_shape: AnyMeshShape = MeshShape(data=-1)
        # What the compiler of the hardware is told about the step, by name of the option: a rule of
        # that hardware sets it. Values as the option wants them; TPU options take text too.
        compiler_options: dict[str, bool | int | float | str] = {}
        # A line in the log, and off a terminal on the screen, every so many steps.
        log_every_n_steps: int = 10
        # Stop with an error where the loss is NaN or infinite.
        stop_on_nonfinite_loss: bool = True
        # A step that takes longer dumps the stack of every thread and ends the process.
        watchdog_timeout_seconds: float | None = None

    def __init__(self, cfg: Config, *, devices: Devices | None = None):
        """Build what needs no memory.

        Raises:
            MeshShapeError: The mesh does not multiply to the devices.
            ShardingError: A parameter or the batch does not divide over the mesh.
        """
        super().__init__(cfg)
        self.devices = jax.devices() if devices is None else devices
        self.mesh = make_mesh(cfg.mesh_shape, self.devices)
        self.model = PureModel(cfg.model)
        self.learner: Learner = cfg.learner.instantiate(logical_axes=self.model.logical_axes)
        self.abstract_state = abstract_train_state(self.model, self.learner, self.mesh)
        self.batch_sharding = self._make_batch_sharding(cfg.input)
        # By the shape of what this process reads.
        self._layouts = {
            (len(layout.rows), each.max_sequence_length): layout
            for each in (cfg.input, *self._eval_inputs().values())
            for layout in [self._layout_of(each)]
        }
        self.step = make_train_step(
            self.model,
            self.learner,
            train_dtype=cfg.train_dtype,
            seed=cfg.seed,
            accumulation_steps=cfg.accumulation_steps,
        )
        self.evalers: dict[str, Evaler] = {}
        self.input: Input | None = None

    def _make_batch_sharding(self, cfg: Input.Config) -> NamedSharding:
        spec = partition_spec(("batch", "sequence"), self.model.axis_rules)
        for name, each in {"input": cfg, **self._eval_inputs()}.items():
            shape = (each.global_batch_size, each.max_sequence_length)
            check_divides(f"{name} batch", shape, spec, self.mesh.shape)
        self._check_accumulation(spec)
        return NamedSharding(self.mesh, spec)

    def _layout_of(self, cfg: Input.Config) -> BatchLayout:
        shape = (cfg.global_batch_size, cfg.max_sequence_length)
        return BatchLayout(self.batch_sharding, shape=shape)

    def _check_accumulation(self, spec: PartitionSpec) -> None:
        cfg, num_parts = self._config.input, self._config.accumulation_steps
        if num_parts < 1 or cfg.global_batch_size % num_parts:
            raise UserError(
                f"accumulation_steps {num_parts} does not divide input.global_batch_size "
                f"{cfg.global_batch_size}; change one."
            )
        shape = (cfg.global_batch_size // num_parts, cfg.max_sequence_length)
        check_divides(f"one of {num_parts} parts of the batch", shape, spec, self.mesh.shape)

    def _eval_inputs(self) -> dict[str, Any]:
        return {f"evalers[{name!r}].input": e.input for name, e in self._config.evalers.items()}

    # -- before memory ------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Return the facts of the run, counted without a program."""
        cfg = self._config
        params = self.abstract_state.params
        batch = (cfg.input.global_batch_size, cfg.input.max_sequence_length)
        params_bytes = bytes_per_device(params)
        opt_state_bytes = bytes_per_device(self.abstract_state.opt_state)
        is_cpu = self.devices[0].platform == "cpu"
        host_bytes = 0 if is_cpu else host_bytes_per_device(self.abstract_state.opt_state)
        copies = saves(cfg.checkpointer) and is_cpu
        sizes = [f"{axis}={size}" for axis, size in self.mesh.shape.items() if size > 1]
        return Plan(
            num_params=count_params(params),
            num_embedding_params=count_params(params["decoder"]["emb"]),
            tokens_per_step=batch[0] * batch[1],
            max_step=cfg.max_step,
            flops_per_token=flops_per_token(cfg.model, sequence_length=batch[1]),
            mesh=", ".join(sizes) or "1 device",
            num_devices=len(self.devices),
            batch=batch,
            memory=StepMemory(
                params_bytes=params_bytes,
                opt_state_bytes=opt_state_bytes - host_bytes,
                host_bytes=host_bytes,
                gradients_bytes=params_bytes,
                # A host device's checkpoint is copied within the memory that it trains in.
                checkpoint_copy_bytes=params_bytes + opt_state_bytes if copies else 0,
            ),
            available_bytes=available_bytes(self.devices),
            attention=self._attention_backend(),
        )

    def _attention_backend(self) -> Backend:
        """Return what computes attention in training; in evaluations it can be computed too."""
        decoder = self.model.abstract.decoder
        attention = decoder.transformer.layer.self_attention.attention
        with jax.set_mesh(self.mesh), axis_rules(self.model.axis_rules):
            of_training, *_ = (
                attention.choose_backend(
                    dtype=self._config.train_dtype, sequence_length=each.max_sequence_length
                )
                for each in (self._config.input, *self._eval_inputs().values())
            )
        return of_training

    def check_fits(self, plan: Plan, *, config_name: str) -> None:
        """Raise DoesNotFitError unless the plan's memory is there."""
        check_fits(
            plan.memory,
            available=plan.available_bytes,
            config=config_name,
            num_devices=plan.num_devices,
            platform=self.devices[0].platform,
        )

    @property
    def peak_flops_per_second(self) -> float | None:
        """The peak of one device, None where it is not in the hardware table (a CPU)."""
        chip = chip_of_device_kind(self.devices[0].device_kind)
        return None if chip is None else chip.peak_flops_per_second

    def open_inputs(self, *, data_dir: str | None) -> None:
        """Open the data of training and of every evaluation.

        Raises:
            DataError: Something is missing; the message names it.
            VocabularyError: The vocabulary is larger than the model's; or what the model takes for
                padding is text in it.
        """
        cfg = self._config
        opened = cfg.input.instantiate(data_dir=data_dir, rows=self._layout_of(cfg.input).rows)
        self._check_vocabulary("input", opened)
        self.input = opened
        for name, evaler_cfg in cfg.evalers.items():
            rows = self._layout_of(evaler_cfg.input).rows
            opened = evaler_cfg.input.instantiate(data_dir=data_dir, rows=rows)
            self._check_vocabulary(f"evalers[{name!r}].input", opened)
            self.evalers[name] = evaler_cfg.instantiate(
                name=name, model=self.model, input=opened, train_dtype=cfg.train_dtype
            )

    def _check_vocabulary(self, where: str, opened: Input) -> None:
        size = self._config.model.decoder.vocab_size
        if opened.vocabulary.size > size:
            raise VocabularyError(
                f"{where}.vocabulary has {opened.vocabulary.size} tokens, the model only {size}; "
                f"set --config.model.decoder.vocab_size={opened.vocabulary.size}, or name another "
                "vocabulary."
            )
        pad_id = self._config.model.decoder.pad_token_id
        if 0 <= pad_id < opened.vocabulary.size and opened.vocabulary.num_bytes[pad_id]:
            raise VocabularyError(
                f"model.decoder.pad_token_id is {pad_id}, which is text in {where}.vocabulary "
                f"({opened.vocabulary.decode([pad_id])!r}) and would never be learned; set "
                "--config.model.decoder.pad_token_id=-1: rows mark their padding themselves."
            )

    def lower(self) -> jax.stages.Lowered:
        """Return the train step as a compiler gets it. Nothing is allocated."""
        cfg = self._config.input
        shape = (cfg.global_batch_size, cfg.max_sequence_length)
        leaf = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=self.batch_sharding)
        batch = dict.fromkeys(BATCH_KEYS, leaf)
        return lower_train_step(
            self.step,
            abstract_state=self.abstract_state,
            abstract_batch=batch,
            mesh=self.mesh,
            compiler_options=self._config.compiler_options,
        )

    def compile(self) -> jax.stages.Compiled:
        """Return the compiled train step. Nothing is allocated.

        Raises:
            CompilerOptionError: The compiler refuses one of `compiler_options`.
        """
        lowered = self.lower()
        with naming_refused_options():
            return lowered.compile()

    def open_init(self) -> InitialParams | None:
        """Return the parameters that `init_from` names, looked at but not read; None without it.

        Raises:
            UserError: They are not there, or are of another model.
        """
        cfg = self._config
        return cfg.init_from and open_initial_params(Path(cfg.init_from), cfg.model)

    # -- memory -------------------------------------------------------------------------------

    def init_state(self) -> TrainState:
        """Return the state before the first step, on the devices.

        Raises:
            UserError: What `init_from` names is not there, or is of another model.
        """
        with jax.set_mesh(self.mesh):
            initial = self.open_init()
            if initial is not None:
                params = initial.read(self.model.param_shapes)
                return state_of_params(self.learner, params, abstract=self.abstract_state)
            return init_train_state(
                self.model, self.learner, abstract=self.abstract_state, seed=self._config.seed
            )

    def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Lay this process's rows of a batch on its devices; does not wait for the copy."""
        layout = self._layouts[batch["inputs"].shape]
        return layout.put({key: batch[key] for key in BATCH_KEYS})
