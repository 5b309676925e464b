"""What each process of test_distributed.py does: learn from its share of some batches, and write down what came of it.

python together.py OUT_FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synthkit._catalog import Catalog
from synthkit._run.processes import Processes, join
from synthkit.dsp import log_mel
from synthkit.interfaces import Batch, Objective
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec
from synthkit.training.engine import Engine, Numerics, Terms, seeded

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "band_gaussian.py"
SPEC: FeatureSpec = PRESETS["melgan"].spec
BATCH = 16
STEPS = 6

Found = dict[str, Any]


def batch_of(step: int, rows: range) -> Batch:
    """Some rows of a batch of noise whose colour and level differ from row to row."""
    with seeded(step):
        audio = torch.rand(BATCH, SPEC.samples(8)).mul_(2).sub_(1).cumsum(1)
        audio = audio / audio.abs().amax(1, keepdim=True) * torch.linspace(0.1, 0.9, BATCH)[:, None]
    labels = torch.arange(BATCH) % 3
    whole = Batch(audio=audio, features=log_mel(audio, SPEC), labels=labels, rows=range(BATCH))
    return whole.piece(rows.start, rows.stop)


def train(
    processes: Processes, build: Callable[[Engine], Objective], numerics: Numerics, *, steps: int = STEPS
) -> Found:
    """The terms of every step, their means over all processes, and the weights at the end."""
    engine = processes.engine("cpu", numerics, BATCH)
    with seeded(7 + processes.index):  # other weights in each process: those of the first must win
        objective = build(engine)
    terms = []
    for step in range(steps):
        engine.begin(step)
        made = objective.step(batch_of(step, processes.rows(BATCH)))
        terms.append({name: float(engine.mean(term)) for name, term in made.items()})
    networks = {**objective.component.networks, **objective.networks}
    return {
        "terms": terms,
        "weights": {f"{name}.{key}": it for name, net in networks.items() for key, it in net.state_dict().items()},
    }


def melgan(processes: Processes, numerics: Numerics) -> Found:
    """MelGAN's game, small, with all its losses."""
    catalog = Catalog.discover()
    offered, config = catalog.configure("vocoder", "melgan", {"channels": 4})
    critic = {"channels": 4, "layers": 3, "scales": 2}
    weights = {"mel_weight": 1.0, "multi_stft_weight": 1.0, "learning_rate": 1e-4}
    how, how_config = catalog.configure("objective", "melgan", {**weights, "critic": critic})

    def build(engine: Engine) -> Objective:
        objective = catalog.build(how, how_config, catalog.build(offered, config, SPEC), engine)
        assert isinstance(objective, Objective)
        return objective

    return train(processes, build, numerics)


def likelihood(processes: Processes) -> Found:
    """The example's maximum likelihood; with unequal shares some processes lack a label's rows now and then."""
    catalog = Catalog.discover([EXAMPLE])
    offered, config = catalog.configure("model", "band-gaussian", {})
    how, how_config = catalog.configure("objective", "band-likelihood", {})

    def build(engine: Engine) -> Objective:
        component = catalog.build(offered, config, SPEC, ("a", "b", "c"))
        objective = catalog.build(how, how_config, component, engine)
        assert isinstance(objective, Objective)
        return objective

    return train(processes, build, Numerics(clip_norm=0.5))


class Rooms(nn.Module):
    """A layer that only the whole batch's last row goes through, one that nothing goes through, and batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.all, self.last, self.none = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("code", torch.randn(4))

    def forward(self, rows: Tensor, has_last: bool) -> Tensor:
        through = self.all(rows)
        return torch.cat([through[:-1], self.last(through[-1:])]) if has_last else through


def rooms(processes: Processes) -> Found:
    """Parameters whose gradient is missing in some processes or in all, buffers, statistics, accumulation, noise."""
    engine = processes.engine("cpu", Numerics(accumulate=3), BATCH)
    with seeded(processes.index):
        network = engine.prepare(Rooms())
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)
    begun = {key: value.clone() for key, value in network.state_dict().items()}
    for step in range(3):
        engine.begin(step)
        batch = batch_of(step, processes.rows(BATCH))

        def loss(piece: Batch) -> tuple[Tensor, Terms]:
            assert piece.rows is not None
            made = network(engine.randn(piece, 4), has_last=piece.rows.stop == BATCH)
            return made.square().mean(), {"square": made.square().mean()}

        with torch.no_grad():
            network.norm(engine.randn(batch, 4))
        terms = engine.learn(optimiser, engine.pieces(batch), loss)
    return {
        "begun": begun,
        "ended": network.state_dict(),
        "square": engine.mean(terms["square"]),
        "none": network.none.weight.grad,
        "rows": engine.mean(torch.tensor([float(len(batch)), 1.0])),
    }


def turns(processes: Processes) -> Found:
    """A generator with batch normalisation that learns after its critic, from what it made before."""
    engine = processes.engine("cpu", Numerics(), BATCH)
    with seeded(7):
        generator = engine.prepare(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
        critic = engine.prepare(nn.Linear(4, 1))
    learners = [torch.optim.SGD(network.parameters(), lr=0.1) for network in (critic, generator)]
    begun = generator[0].weight.detach().clone()
    batch = batch_of(0, processes.rows(BATCH))
    engine.begin(0)
    made = generator(engine.randn(batch, 4))
    for learner, heard in zip(learners, (made.detach(), made), strict=True):
        engine.backward(critic(heard).square().mean(), learner)
        engine.update(learner)
    return {"begun": begun, "ended": generator[0].weight.detach(), "statistics": generator[1].running_mean}


def words(processes: Processes) -> Found:
    """What processes say to each other."""
    return {
        "shared": [processes.share({"from": processes.index}), processes.share([None, "b"])],
        "any": [processes.any(False), processes.any(processes.index == processes.count - 1), processes.any(False)],
    }


def main(out: Path) -> None:
    with join() as processes:
        found = {
            "melgan": melgan(processes, Numerics()),
            "likelihood": likelihood(processes),
            "rooms": rooms(processes),
            "turns": turns(processes),
            "words": words(processes),
        }
        if processes.count == 2:
            found["melgan in pieces"] = melgan(processes, Numerics(accumulate=3))
        torch.save(found, out / f"{processes.index}-of-{processes.count}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
