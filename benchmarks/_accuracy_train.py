"""One training run: epochs, checkpoints, and going on from them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _accuracy_data import Split
from _accuracy_networks import normalise
from torch import Tensor, nn
from torch.nn import functional as F

from abc_tvm.files import write_atomically
from abc_tvm.nn import shift_penalty

EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Settings:
    """How one network is trained: Adam, one cycle of cosine from ``rate`` to 0.

    Attributes:
        epochs: passes over the training set.
        rate: learning rate at the start.
        batch: images per step.
        flip: mirror half of the images.
        shift: move each batch by up to so many pixels.
        penalty: weight of ``shift_penalty``.
    """

    epochs: int
    rate: float
    batch: int = 128
    flip: bool = False
    shift: int = 0
    penalty: float = 1e-4


@dataclass(frozen=True)
class TrainingOutcome:
    """Test accuracy in per cent after each epoch, and the seconds that training took."""

    accuracies: list[float]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Of the last epoch: no epoch is chosen by its test accuracy."""
        return self.accuracies[-1]


def train(
    network: nn.Module,
    data: dict[str, Split],
    settings: Settings,
    seed: int,
    checkpoint: Path,
    tell: Callable[[int, int, str], None],
    device: str = "cpu",
) -> TrainingOutcome:
    """Train ``network`` in place; goes on after the last whole epoch of ``checkpoint``.

    ``tell`` gets steps done, steps in all and a word on how it goes.
    """
    import time

    torch.manual_seed(seed)
    network.to(device)
    images = torch.as_tensor(data["train"].images.copy()).to(device)
    labels = torch.as_tensor(data["train"].labels.copy()).long().to(device)
    steps = len(images) // settings.batch
    optimizer = torch.optim.Adam(network.parameters(), settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * steps)
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    accuracies, before = _restore(checkpoint, parts, settings)
    for epoch in range(len(accuracies), settings.epochs):
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(images), generator=generator).to(device)
        network.train()
        for step in range(steps):
            chosen = order[step * settings.batch : (step + 1) * settings.batch]
            x = _augment(normalise(images[chosen]), settings, generator)
            loss = F.cross_entropy(network(x), labels[chosen])
            total = loss + settings.penalty * shift_penalty(network)
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            optimizer.step()
            schedule.step()
            if step % 20 == 0:
                tell(epoch * steps + step, settings.epochs * steps, f"loss {loss.item():.3f}")
        accuracies.append(accuracy(predict(network, data["test"], device), data["test"]))
        before += time.perf_counter() - start
        tell((epoch + 1) * steps, settings.epochs * steps, f"test {accuracies[-1]:.2f} %")
        _save(checkpoint, parts, settings, accuracies, before)
    network.eval()
    return TrainingOutcome(accuracies, before)


@torch.no_grad()
def predict(network: nn.Module, split: Split, device: str = "cpu") -> Tensor:
    """The class of every image, int64 ``[count]``."""
    network.eval()
    images = torch.as_tensor(split.images.copy())
    found = [
        network(normalise(part.to(device))).argmax(1) for part in images.split(EVALUATION_BATCH)
    ]
    return torch.cat(found).cpu()


def accuracy(classes: Tensor, split: Split) -> float:
    """Share of right classes in per cent."""
    return 100 * float((classes == torch.as_tensor(split.labels.copy()).long()).double().mean())


def is_finished(checkpoint: Path, settings: Settings) -> bool:
    """Whether the checkpoint holds the last epoch of a training with these settings."""
    if not checkpoint.is_file():
        return False
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    return state["settings"] == repr(settings) and len(state["accuracies"]) == settings.epochs


def _augment(x: Tensor, settings: Settings, generator: torch.Generator) -> Tensor:
    if settings.flip:
        mirror = (torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5).to(x.device)
        x = torch.where(mirror, x.flip(3), x)
    if settings.shift:
        reach = settings.shift
        dy, dx = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        height, width = x.shape[2:]
        padded = F.pad(x, [reach] * 4, value=-1.0)
        x = padded[:, :, reach + dy : reach + dy + height, reach + dx : reach + dx + width]
    return x


def _restore(
    checkpoint: Path, parts: dict[str, Any], settings: Settings
) -> tuple[list[float], float]:
    if not checkpoint.is_file():
        return [], 0.0
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    if state["settings"] != repr(settings):
        return [], 0.0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return list(state["accuracies"]), float(state["seconds"])


def _save(
    checkpoint: Path,
    parts: dict[str, Any],
    settings: Settings,
    accuracies: list[float],
    seconds: float,
) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"settings": repr(settings), "accuracies": accuracies, "seconds": seconds}
    stream = io.BytesIO()
    torch.save(state, stream)
    write_atomically(checkpoint, stream.getvalue())
