"""Typed settings that every recipe shares: how it is trained, and the shape of its LSTM.

They stand below the recipes, which contain them, and below the loop, which reads them. Defaults live here and nowhere
else; a preset's YAML names only what differs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from seqkit.config import Config


class LSTMConfig(Config):
    """The stacked LSTM; the fields are the arguments of `seqkit.lstm.StackedLSTM`."""

    hidden_size: int = Field(default=256, ge=1)
    """Units of one direction of one layer."""
    num_layers: int = Field(default=1, ge=1)
    """Layers, each reading the output of the one below."""
    bidirectional: bool = True
    """Read the sequence in both directions; the output is twice as wide."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout between layers, drawn anew for each value."""
    locked_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Variational dropout on each layer's input: one mask per sequence, kept over time (Gal and Ghahramani 2016)."""
    weight_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """DropConnect on the recurrent weights (Merity et al. 2017)."""
    residual: bool = False
    """Add a layer's input to its output where the sizes agree."""
    forget_bias: float = 1.0
    """Initial bias of the forget gate; a positive one keeps memory open early in training (Jozefowicz et al. 2015)."""
    init: Literal["glorot", "he", "orthogonal", "uniform"] = "glorot"
    """Initialisation of the weight matrices; `uniform` is torch.nn.LSTM's own."""
    cell: Literal["lstm", "rnn"] = "lstm"
    """The recurrent cell; `rnn` is a plain tanh cell, there to compare with."""
    kernel: Literal["auto", "eager", "native", "torch"] = "auto"
    """How the layer is computed: auto, eager, native or torch. One that cannot serve here is an error."""


class TrainingConfig(Config):
    """The training loop: optimizer, schedule, clipping, batches, checkpoints."""

    epochs: int = Field(default=10, ge=1)
    """Passes over the training split."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after so many optimizer steps, whatever `epochs` says."""
    batch_tokens: int = Field(default=4096, ge=1)
    """Real steps (tokens, frames) in a batch; batches are bucketed by length."""
    batch_examples: int = Field(default=128, ge=1)
    """Examples in a batch, at most."""
    bucket: bool = True
    """Fill a batch with examples of like length; off, lengths mix freely (which costs nothing where texts are read in
    pieces)."""
    bptt_steps: int | None = Field(default=None, ge=1)
    """Steps that the gradient goes back through, where a recipe reads one long text in windows and carries the LSTM's
    state from one to the next (truncated backpropagation through time); null for all of them."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are summed before one optimizer step."""
    normalize: Literal["batch", "mean_batch"] = "batch"
    """What the summed gradient of a step is divided by: `batch`, its own count of examples or tokens; `mean_batch`, the
    mean count of all steps so far. Batches of one budget of tokens hold few long or many short examples; with `batch`
    a long one weighs more than a short one, with `mean_batch` all weigh alike."""
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adamw"
    """The optimizer."""
    learning_rate: float = Field(default=1e-3, gt=0.0)
    """Peak learning rate."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """Weight decay; decoupled in adamw, an L2 penalty elsewhere. Biases and embeddings are spared."""
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Momentum of sgd and rmsprop."""
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Decay of Adam's first moment."""
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    """Decay of Adam's second moment."""
    clip_norm: float = Field(default=5.0, ge=0.0)
    """Gradients are scaled down to this global norm (Pascanu et al. 2013); 0 switches clipping off."""
    schedule: Literal["constant", "linear", "cosine", "plateau"] = "constant"
    """After warm-up: keep the learning rate, let it fall to `final_learning_rate`, or cut it when validation stalls."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises from zero."""
    final_learning_rate: float = Field(default=0.0, ge=0.0)
    """What linear and cosine end at, as a fraction of `learning_rate`; plateau never cuts below it."""
    plateau_factor: float = Field(default=0.5, gt=0.0, lt=1.0)
    """What plateau multiplies the learning rate by."""
    plateau_patience: int = Field(default=2, ge=0)
    """Evaluations without a better metric that plateau waits for."""
    evaluate_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps between two evaluations (and checkpoints); by default one evaluation an epoch."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps between two checkpoints, besides those that evaluations make; what a crash loses at most."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after so many evaluations in a row without a better metric."""
    metric: str | None = None
    """Validation metric that chooses the best checkpoint; by default the recipe's own."""
    choose: Literal["best", "last"] = "best"
    """Which weights are the run's: those that were best on validation, or those after the last step, whatever
    validation says. With `last` a run needs no validation part (data.validation_fraction=0): all examples train."""
    keep_best: int = Field(default=1, ge=1)
    """How many best checkpoints are kept; the final weights are their average."""
    ema_decay: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Decay of an exponential moving average of the weights, which evaluation then uses; 0 switches it off."""
    average_patience: int | None = Field(default=None, ge=0)
    """Begin to average the weights of all steps, for evaluation to use, once more than so many evaluations in a row
    have not been better (NT-ASGD, Merity et al. 2017: with sgd, momentum 0); null never does."""
    precision: Literal["float32", "bf16"] = "float32"
    """`bf16` runs matrix products in bfloat16 (autocast); weights, the LSTM and the loss stay float32."""
    max_skipped: int = Field(default=20, ge=0)
    """Batches with a non-finite loss or gradient that are skipped before training stops."""
    workers: int = Field(default=0, ge=0)
    """Processes that prepare batches; 0 prepares them in the training process."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of a training process; by default all cores."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    tensorboard: bool = False
    """Write TensorBoard event files beside the JSONL log (needs the extra `tensorboard`)."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random choice of the run."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> TrainingConfig:
        if self.max_steps is not None and self.warmup_steps > self.max_steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) is more than max_steps ({self.max_steps})")
        if self.ema_decay and self.average_patience is not None:
            raise ValueError("ema_decay and average_patience are two ways to average weights; set one of them")
        return self

    @model_validator(mode="after")
    def _chosen_once(self) -> TrainingConfig:
        if self.choose == "best":
            return self
        going_by_best = {
            "early_stopping": self.early_stopping is not None,
            "average_patience": self.average_patience is not None,
            "keep_best above 1": self.keep_best > 1,
            "schedule=plateau": self.schedule == "plateau",
        }
        for name, chosen in going_by_best.items():
            if chosen:
                raise ValueError(f"{name} goes by what was best on validation; it does not go with choose=last")
        return self
