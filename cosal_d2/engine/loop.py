"""One iteration: forward and backward, in parts where memory is short, and the step."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cosal_d2.utils.files import write_bytes


class TrainingLoop(SimpleTrainer):
    """Detectron2's SimpleTrainer with accumulated gradients, float16's scaled losses, and the
    pictures of a batch whose loss or gradient is not finite.

    Autocast is the network's.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Any,
        optimizer: torch.optim.Optimizer,
        *,
        parts: int = 1,
        scaler: torch.amp.GradScaler | None = None,
        folder: str = ".",
    ) -> None:
        """
        Args:
            model: gives its losses in training.
            loader: of this process's share of each batch.
            optimizer: of the model.
            parts: the share is computed in that many, one after another; their gradients and
                losses are averaged.
            scaler: of the losses, for float16.
            folder: where a batch that is not finite is saved.
        """
        super().__init__(model, loader, optimizer)
        self.parts = parts
        self.scaler = scaler
        self.folder = folder

    def run_step(self) -> None:
        """One iteration.

        Raises:
            FloatingPointError: a loss or a gradient is nan or infinite; it names the pictures, and
                the file in which the batch is saved.
        """
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self.optimizer.zero_grad()
        size = len(batch) // self.parts
        losses: list[dict[str, torch.Tensor]] = []
        for i in range(self.parts):
            part = batch[i * size : (i + 1) * size]
            last = i + 1 == self.parts
            with contextlib.nullcontext() if last else self._unsynchronized():
                found = self.model(part)
                total = sum(found.values()) / self.parts
                if not total.isfinite():
                    self._refuse(part, [n for n, loss in found.items() if not loss.isfinite()])
                (total if self.scaler is None else self.scaler.scale(total)).backward()
            losses.append(found)
        self._check_gradients(batch)
        self.after_backward()
        means = {n: torch.stack([x[n].detach() for x in losses]).mean() for n in losses[0]}
        self._write_metrics(means, data_time)
        if self.scaler is None:
            self.optimizer.step()
        else:  # skips a step whose gradients are not finite
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def end_workers(self) -> None:
        """End the loader's processes."""
        self._data_loader_iter_obj = None

    def state_dict(self) -> dict:
        """Detectron2's state, with the scaler's."""
        state = super().state_dict()
        if self.scaler is not None:
            state["grad_scaler"] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from a state."""
        super().load_state_dict(state_dict)
        if self.scaler is not None:
            self.scaler.load_state_dict(state_dict["grad_scaler"])

    def _unsynchronized(self) -> contextlib.AbstractContextManager:
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return contextlib.nullcontext()

    def _check_gradients(self, batch: Sequence[dict]) -> None:
        if self.scaler is not None:
            return
        named = [(n, p.grad) for n, p in self.model.named_parameters() if p.grad is not None]
        norms = torch._foreach_norm([gradient for _, gradient in named])
        finite = torch.stack(norms).isfinite()
        if not finite.all():
            lost = [f"the gradient of {named[i][0]}" for i in (~finite).nonzero().flatten()]
            self._refuse(batch, lost)

    def _refuse(self, batch: Sequence[dict], lost: list[str]) -> None:
        """Save a batch and end the training."""
        names = ", ".join(str(x.get("file_name", "a picture")) for x in batch)
        path = Path(self.folder, f"not_finite_{self.iter:07d}_{comm.get_rank()}.pth")
        content = io.BytesIO()
        torch.save({"iteration": self.iter, "batch": [_plain(x) for x in batch]}, content)
        write_bytes(path, content.getbuffer())
        weights = all(p.isfinite().all() for p in self.model.parameters())
        reason = (
            "the weights are finite: look at these pictures, or lower SOLVER.BASE_LR"
            if weights
            else "weights are not finite either: lower SOLVER.BASE_LR, or clip the gradients"
        )
        raise FloatingPointError(
            f"{(lost or ['total_loss'])[0]} became infinite or NaN at iteration {self.iter} on "
            f"{names}; {reason} (the batch is saved in {path})"
        )


def _plain(sample: dict) -> dict:
    """A sample of a loader as tensors and plain types, which ``torch.load`` reads safely."""
    plain = {k: v for k, v in sample.items() if isinstance(v, (str, int, float, torch.Tensor))}
    instances = sample.get("instances")
    if instances is not None:
        for name, value in instances.get_fields().items():
            plain[name] = getattr(value, "tensor", value)
    return plain
