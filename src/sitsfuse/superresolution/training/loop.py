"""The training of a CARN: L1 loss, Adam, cosine restarts; checkpoints from which it goes on as if never stopped."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ...core.grid import Axis
from ...errors import InputError
from ...operators.matrices import up_matrix
from ...runtime.claims import check_same
from ...runtime.files import writing
from ...runtime.progress import Progress
from ...runtime.threads import all_cores
from ..card import Architecture
from ..model import finer
from ..network import CARN
from .checkpoint import CHECKPOINT, progress_of
from .config import TrainingConfig
from .pairs import Batch, Pairs

CHECKS = 28
"""Times that the validation patches are looked at."""
HELD = 4
"""Batches of validation patches."""
LARGEST_GRADIENT = 1.0
"""Norm at which gradients are cut: a patch with a missed cloud must not throw the network off."""
ANEW = "give `overwrite=True` to start anew"


@dataclass(frozen=True)
class Trained:
    """A trained network."""

    weights: dict[str, torch.Tensor]
    """Those that were best on the validation patches."""
    history: list[dict[str, float]]
    """Per check: step, rate, mean loss on training patches since the last one, loss and gain (dB) on those held out."""
    stopped: str
    """Why it ended."""


def train_network(
    shape: Architecture,
    pairs: Pairs,
    held: Pairs,
    how: TrainingConfig,
    record: Mapping[str, Any],
    folder: Path,
    report: Progress,
) -> Trained:
    """Train a CARN, or go on with a training that was interrupted.

    Parameters
    ----------
    shape
        What the network is.
    pairs, held
        What to learn from; what to choose the best weights by.
    how
        The options.
    record
        All that the result depends on, as JSON can hold it: a training with another one is not taken up.
    folder
        Where the checkpoint lies.
    report
        Called with a stage's name, the steps done and in all.

    Raises
    ------
    InputError
        If the folder cannot be written, its checkpoint is damaged or of another training, or the training diverges.
    """
    with writing(folder):
        # Before the work, not after it.
        folder.mkdir(parents=True, exist_ok=True)
    with all_cores(), _precision(how.device):
        run = _Run(shape, pairs, held, how, record, folder)
        run.resume()
        while run.step < how.steps and not run.stopped:
            report("training", run.step, how.steps)
            run.advance()
        report("training", how.steps, how.steps)
    return Trained(run.best, run.history, run.stopped or f"after {how.steps} steps")


class _Run:
    """A training under way."""

    def __init__(
        self,
        shape: Architecture,
        pairs: Pairs,
        held: Pairs,
        how: TrainingConfig,
        record: Mapping[str, Any],
        folder: Path,
    ) -> None:
        self.pairs, self.how, self.record, self.path = pairs, how, record, folder / CHECKPOINT
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(how.seed)
            network = CARN(shape)
        self.network = network.to(how.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=how.rate)
        self.loss = Loss(pairs, shape.grid, how)
        self.held = [held.draw(range(i * how.batch, (i + 1) * how.batch)) for i in range(HELD)]
        self.step, self.sum, self.stopped = 0, 0.0, ""
        self.history: list[dict[str, float]] = []
        self.best = self._weights()
        self.every = max(1, how.steps // CHECKS)

    def advance(self) -> None:
        """One mini-batch, and what is due after it."""
        how = self.how
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = how.rate_at(self.step)
        batch = self.pairs.draw(range(self.step * how.batch, (self.step + 1) * how.batch))
        loss = self.loss(self.network, batch).total
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimiser.step()
        self.sum += float(loss.detach())
        self.step += 1
        if self.step % self.every == 0 or self.step == how.steps:
            self.check()
            self.save()

    def check(self) -> None:
        """Look at the validation patches; keep the weights if they are the best so far; see whether to stop."""
        loss, gain = self.judge()
        before = [h["validation_loss"] for h in self.history]
        if loss < min(before, default=math.inf):
            self.best = self._weights()
        since = self.step - (int(self.history[-1]["step"]) if self.history else 0)
        self.history.append(
            {
                "step": self.step,
                "rate": self.how.rate_at(self.step - 1),
                "loss": self.sum / since,
                "validation_loss": loss,
                "validation_gain_db": gain,
            }
        )
        self.sum = 0.0
        if self._idle():
            self.stopped = f"after {self.step} steps: the last cycle brought nothing on the validation patches"

    def _idle(self) -> bool:
        """Whether a cycle has just ended that brought nothing on the validation patches.

        Its last weights are its best: one that brought nothing will be followed by others like it.
        """
        ended = [e for e in self.how.restarts[1:-1] if e <= self.step]
        if len(ended) < 2 or self.step - ended[-1] >= self.every:
            return False
        earlier = [h["validation_loss"] for h in self.history if h["step"] <= ended[-2]]
        later = [h["validation_loss"] for h in self.history if h["step"] > ended[-2]]
        # So short a training may have had no check before.
        return min(later) >= min(earlier, default=math.inf)

    @torch.inference_mode()
    def judge(self) -> tuple[float, float]:
        """Loss on the validation patches, and the gain over bicubic interpolation in dB."""
        self.network.eval()
        found = [self.loss(self.network, b) for b in self.held]
        loss = float(np.mean([float(f.total) for f in found]))
        ours, bicubic = sum(float(f.squared) for f in found), sum(float(f.bicubic) for f in found)
        if not (math.isfinite(loss) and math.isfinite(ours)):
            raise InputError(
                "training",
                f"diverged: after {self.step} steps the loss is not a number",
                "give a smaller rate, e.g. `rate=1e-4`, and `overwrite=True`",
            )
        return loss, 10 * math.log10((bicubic + 1e-30) / (ours + 1e-30))

    def save(self) -> None:
        """Keep all that the next step depends on, in one file that is there whole or not at all."""
        state = {f"network/{k}": v for k, v in self._weights().items()} | {f"best/{k}": v for k, v in self.best.items()}
        for i, one in self.optimiser.state_dict()["state"].items():
            state |= {f"adam/{i}/{k}": v.detach().cpu().contiguous() for k, v in one.items()}
        progress = {"record": self.record, "step": self.step, "history": self.history, "stopped": self.stopped}
        draft = self.path.with_name(self.path.name + ".part")
        with writing(self.path):
            save_file(state, draft, {"progress": json.dumps(progress)})
            draft.replace(self.path)

    def resume(self) -> None:
        """Take up what an interrupted training with the same options and images left."""
        if not self.path.exists():
            return
        try:
            progress = progress_of(self.path)
            check_same(self.path.parent.parent, progress["record"], self.record, ("device",))
            with safe_open(self.path, "pt") as file:
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.network.load_state_dict(_under("network/", state))
            adam = self.optimiser.state_dict()
            parts = _under("adam/", state)
            adam["state"] = {i: _under(f"{i}/", parts) for i in {int(k.split("/")[0]) for k in parts}}
            self.optimiser.load_state_dict(adam)
            self.best = _under("best/", state)
            self.step, self.history, self.stopped = progress["step"], progress["history"], progress["stopped"]
        except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError, OSError) as error:
            reason = (str(error).splitlines() or ["?"])[0][:120]
            raise InputError(self.path, f"is damaged ({reason})", ANEW) from error

    def _weights(self) -> dict[str, torch.Tensor]:
        return {k: v.detach().cpu().clone().contiguous() for k, v in self.network.state_dict().items()}


@dataclass(frozen=True)
class Judged:
    """A batch, judged."""

    total: torch.Tensor
    """The loss."""
    squared: torch.Tensor
    """Sum of the squared errors, in units of the bands' standard deviations."""
    bicubic: torch.Tensor
    """The same of bicubic interpolation."""


class Loss:
    """Mean absolute error of the valid HR pixels, in standard deviations of the bands.

    With a weight w for consistency: ``|HR - P| + w · |LR - P↓|``, the second term over all LR pixels.
    """

    def __init__(self, pairs: Pairs, grid: int, how: TrainingConfig) -> None:
        self.how = how
        self.scale = torch.tensor(pairs.norm.scale, device=how.device)[:, None, None]
        operator = _to_hr(pairs.axis, grid)
        self.to_hr = None if operator is None else operator.to(how.device)

    def __call__(self, network: CARN, batch: Batch) -> Judged:
        """Judge a network on a batch."""
        seen, bicubic, hr = (self._tensor(a) for a in (batch.seen, batch.bicubic, batch.hr))
        ok = self._tensor(batch.valid)[:, None]
        seen = seen.contiguous(memory_format=torch.channels_last)
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=seen.device.type == "cuda"):
            fine = network(seen)
        details = fine.float()
        if self.to_hr is not None:
            details = self.to_hr @ details @ self.to_hr.T
        details = details * self.scale
        left, before = ((bicubic + details - hr) / self.scale * ok), ((bicubic - hr) / self.scale * ok)
        total = left.abs().sum() / (ok.sum() * hr.shape[1] + 1e-9)
        if self.how.consistency:
            lr, down = self._tensor(batch.lr), self._tensor(batch.down)[:, None]
            again = down @ (bicubic + details) @ down.transpose(-1, -2)
            total = total + self.how.consistency * ((again - lr) / self.scale).abs().mean()
        return Judged(total, left.detach().square().sum(), before.square().sum())

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.asarray(array, np.float32)).to(self.how.device)


def _to_hr(axis: Axis, grid: int) -> torch.Tensor | None:
    """(P, p · grid) from the network's grid to the HR grid of a patch; None where they are the same."""
    if axis.ratio == grid:
        return None
    return torch.from_numpy(up_matrix(finer(axis, grid)).toarray())


def _under(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@contextlib.contextmanager
def _precision(device: str) -> Iterator[None]:
    """TF32 products and sums in a fixed order on a GPU; on the CPU nothing changes."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.deterministic
    if device != "cpu":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.deterministic = before[1]
