"""Laws of objectives: what a step may change, that a stopped training goes on, and that it does not matter how a batch is shared."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch, Objective
from synthkit.sampling import evaluating
from synthkit.testing.check import BrokenLaw, changed, copy_of, distance, expect, transplant
from synthkit.testing.sharing import Build, in_half_precision, in_pieces, shared_by_two
from synthkit.testing.sounds import CLOSE, sounds
from synthkit.training.engine import Engine, seeded

FRAMES = 32


def learning(build: Build, seed: int = 1) -> Objective:
    """A new objective on an engine of its own, its component's initial weights drawn from `seed`."""
    with seeded(seed):
        return build(Engine())


def batch_for(objective: Objective, items: int = 2) -> Batch:
    """Crops of 32 frames with their features, and with labels where the component has any."""
    from synthkit import dsp

    spec = objective.component.spec
    audio = sounds(spec.sample_rate, spec.samples(FRAMES), items)
    labels = torch.arange(items) % len(names) if (names := getattr(objective.component, "labels", ())) else None
    return Batch(audio=audio, features=dsp.log_mel(audio, spec), labels=labels, clips=tuple("abc"[:items]))


def networks_of(objective: Objective) -> dict[str, nn.Module]:
    """All networks that a checkpoint holds, by the names of their files."""
    own = {f"objective.{name}": network for name, network in objective.networks.items()}
    return {**objective.component.networks, **own}


def step(objective: Objective, batch: Batch, number: int) -> dict[str, Tensor]:
    """A step as the core's loop makes it: what it draws at random follows from its number."""
    with seeded(number):
        return objective.step(batch)


def terms_of_a_step(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """A step returns its terms: finite, detached scalars by name."""
    objective = learning(build)
    _check_terms("step", step(objective, batch or batch_for(objective), 1))


def terms_of_an_evaluation(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """An evaluation returns finite scalars by name, and the same ones if it is repeated."""
    objective = learning(build)
    data = batch or batch_for(objective)
    with torch.no_grad(), seeded(3):
        first = objective.evaluate(data)
    _check_terms("evaluate", first)
    with torch.no_grad(), seeded(3):
        second = objective.evaluate(data)
    expect(set(first) == set(second), f"the terms are {set(first)} and then {set(second)}")
    for name, value in first.items():
        expect(torch.equal(value, second[name]), f"{name!r} is {float(value):.6g} and then {float(second[name]):.6g}")


def everything_is_saved(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """Every parameter that an optimiser holds belongs to a network of the component or of the objective."""
    objective = learning(build)
    known = {id(value) for network in networks_of(objective).values() for value in network.parameters()}
    held = _held(objective)
    expect(bool(held), "no optimiser holds a parameter")
    lost = sum(1 for key in held if key not in known)
    expect(not lost, f"{lost} of {len(held)} parameters belong to none: a checkpoint would lose them")
    own = {id(value) for network in objective.component.networks.values() for value in network.parameters()}
    expect(bool(own & set(held)), "no optimiser holds a parameter of the component: it would never learn")


def a_step_changes(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """A step changes every parameter that an optimiser holds, and no other."""
    objective = learning(build)
    data = batch or batch_for(objective)
    networks = networks_of(objective)
    parameters = {f"{name}.{key}": value for name, it in networks.items() for key, value in it.named_parameters()}
    held = _held(objective)
    before = {name: value.detach().clone() for name, value in parameters.items()}
    step(objective, data, 1)
    moved = set(changed(before, parameters))
    for name, value in parameters.items():
        if id(value) not in held:
            expect(name not in moved, f"{name} changes, which no optimiser holds")
        elif not any(fnmatchcase(name, pattern) for pattern in still):
            expect(name in moved, f"{name} does not change")


def a_step_leaves(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """A step leaves the batch as it was, and which parameters take a gradient."""
    objective = learning(build)
    data = batch or batch_for(objective)
    copies, flags = (data.audio.clone(), data.features.clone()), _flags(objective)
    step(objective, data, 1)
    expect(torch.equal(data.audio, copies[0]), "it writes into the batch's audio")
    expect(torch.equal(data.features, copies[1]), "it writes into the batch's features")
    expect(
        _flags(objective) == flags, "requires_grad of some parameter, or the mode of a network, is another afterwards"
    )


def an_evaluation_changes_nothing(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """An evaluation changes no parameter, no buffer, no state of an optimiser, and nothing of the batch."""
    objective = learning(build)
    data = batch or batch_for(objective)
    step(objective, data, 1)
    networks = networks_of(objective)
    before, flags = copy_of(networks), _flags(objective)
    state = _through_file(objective.state_dict())
    copies = (data.audio.clone(), data.features.clone())
    with torch.no_grad(), seeded(3):
        objective.evaluate(data)
    names = changed(before, copy_of(networks))
    expect(not names, f"it changes {', '.join(names[:3])}")
    expect(_same(state, objective.state_dict()), "it changes the objective's state")
    expect(
        _flags(objective) == flags, "requires_grad of some parameter, or the mode of a network, is another afterwards"
    )
    expect(torch.equal(data.audio, copies[0]) and torch.equal(data.features, copies[1]), "it writes into the batch")


def repeatability(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """Two trainings from the same seed are the same training."""
    one, other = learning(build), learning(build)
    for number in (1, 2):
        step(one, batch or batch_for(one), number)
        step(other, batch or batch_for(other), number)
    _expect_same_networks(one, other, "after two steps")


def resumption(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """A training that was saved after two steps and loaded into new objects goes on as the straight one does."""
    straight, stopped, resumed = learning(build), learning(build), learning(build, seed=2)
    data = batch or batch_for(straight)
    for number in (1, 2, 3, 4):
        step(straight, data, number)
    for number in (1, 2):
        step(stopped, data, number)
    transplant(networks_of(stopped), networks_of(resumed))
    resumed.load_state_dict(_through_file(stopped.state_dict()))
    for number in (3, 4):
        step(resumed, data, number)
    _expect_same_networks(straight, resumed, "after resuming at step 2 and going on to step 4")


def a_batch_in_pieces(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """A batch learned in two pieces gives the gradients and terms of the whole, or it is refused with a `ConfigError`."""
    in_pieces(build, batch or batch_for(learning(build), items=3))


def a_batch_shared(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """Two processes that share a batch give together the gradients and terms of one that has all of it.

    For that a loss is a mean over the items, an item does not depend on its neighbours, and noise is drawn with `Engine.randn`.
    """
    shared_by_two(build, batch or batch_for(learning(build), items=3))


def half_precision(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """With bf16, terms and gradients are finite, and gradients are float32 all the same."""
    in_half_precision(build, batch or batch_for(learning(build)))


def hearing(build: Build, batch: Batch | None = None, still: Sequence[str] = ()) -> None:
    """What a critic hears as `hears` says comes back as layers `[B, C, ...]`, each item's its own, with a gradient to the sound.

    An objective that says that it hears nothing refuses with a `ConfigError`.
    """
    objective = learning(build)
    data = batch or batch_for(objective)
    if objective.hears is None:
        try:
            objective.hear(data.features)
        except ConfigError:
            return
        raise BrokenLaw("it hears, but `hears` is None")
    heard = (data.audio if objective.hears == "samples" else data.features).clone().requires_grad_()
    with evaluating(*objective.component.networks.values(), *objective.networks.values()):
        layers = objective.hear(heard)
        alone = objective.hear(heard[:1])
    expect(bool(layers), "there is no layer")
    for number, (layer, single) in enumerate(zip(layers, alone, strict=True)):
        expect(layer.ndim > 2 and len(layer) == len(heard), f"layer {number} is of the shape {list(layer.shape)}")
        apart = distance(layer[:1].detach(), single.detach())
        expect(apart <= CLOSE, f"its neighbours move what layer {number} makes of an item by {apart:.2g}")
    (gradient,) = torch.autograd.grad(torch.stack([layer.square().mean() for layer in layers]).sum(), heard)
    expect(bool(gradient.abs().amax(dim=tuple(range(1, heard.ndim))).gt(0).all()), "no gradient reaches the sound")


def _check_terms(what: str, terms: Mapping[str, Tensor]) -> None:
    expect(bool(terms), f"{what} returns no term")
    for name, value in terms.items():
        expect(isinstance(value, Tensor) and value.ndim == 0, f"the term {name!r} of {what} is not a scalar tensor")
        expect(not value.requires_grad, f"the term {name!r} of {what} carries a gradient")
        expect(bool(value.isfinite()), f"the term {name!r} of {what} is {float(value)}")


def _held(objective: Objective) -> dict[int, Tensor]:
    groups = [group for optimiser in objective.optimisers.values() for group in optimiser.param_groups]
    return {id(value): value for group in groups for value in group["params"]}


def _flags(objective: Objective) -> dict[str, bool]:
    flags: dict[str, bool] = {}
    for name, network in networks_of(objective).items():
        flags |= {f"{name}.{key}": value.requires_grad for key, value in network.named_parameters()}
        flags |= {f"{name}.{key} trains": module.training for key, module in network.named_modules()}
    return flags


def _expect_same_networks(one: Objective, other: Objective, when: str) -> None:
    mine, theirs = copy_of(networks_of(one)), copy_of(networks_of(other))
    apart = max((distance(mine[name], theirs[name]), name) for name in mine)
    expect(apart[0] == 0, f"{apart[1]} differs by {apart[0]:.2g} {when}")


def _through_file(state: Mapping[str, Any]) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True)
    except Exception as error:
        raise BrokenLaw(
            f"state_dict() holds more than tensors, numbers, strings and plain containers: {error}"
        ) from error


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


LAWS = (
    terms_of_a_step,
    terms_of_an_evaluation,
    everything_is_saved,
    a_step_changes,
    a_step_leaves,
    an_evaluation_changes_nothing,
    repeatability,
    resumption,
    a_batch_in_pieces,
    a_batch_shared,
    half_precision,
    hearing,
)
