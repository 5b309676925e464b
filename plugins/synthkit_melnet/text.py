"""What is said, for tier 1 (MelNet, arXiv 1906.01083 v1, section 5): characters, and attention that only moves forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Text:
    """Texts of a batch as numbers."""

    characters: Tensor
    """`[B, U]` places in the alphabet; beyond an item's end any."""
    lengths: Tensor
    """`[B]` characters of each item, at least 1."""

    def to(self, device: torch.device | str) -> Text:
        """The same on another device."""
        return Text(characters=self.characters.to(device), lengths=self.lengths.to(device))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How far a text has been read: the state between two frames."""

    hidden: Tensor
    """`[B, H]` of the attention's LSTM."""
    cell: Tensor
    """`[B, H]` of the attention's LSTM."""
    place: Tensor
    """`[B, A]`: where each of the A logistics stands, in characters; it never falls."""
    context: Tensor
    """`[B, H]`: what was read at the last frame."""
    ended: Tensor
    """`[B]`: the share of the attention that is beyond the end of the text, 0 to 1."""


class TextReader(nn.Module):
    """Attention over the characters, joined to the middle of the centralised stack.

    At each frame an LSTM cell takes the stack's state and what was read last, and says by how much each of A logistics moves
    forward, how wide it is and how much it counts. Character `u` (from 1) is heard as much as they have between `u - 1/2` and
    `u + 1/2`: `sum_a alpha_a [S((u + 1/2 - kappa_a) / beta_a) - S((u - 1/2 - kappa_a) / beta_a)]`, `S` the logistic function.
    """

    def __init__(self, alphabet: int, hidden: int, logistics: int) -> None:
        """`hidden`, the size of the stack, is even: half for each way of the LSTM over the characters."""
        super().__init__()
        self.embedding = nn.Embedding(alphabet, hidden)
        self.encoder = nn.LSTM(hidden, hidden // 2, batch_first=True, bidirectional=True)
        self.cell = nn.LSTMCell(2 * hidden, hidden)
        self.window = nn.Linear(hidden, 3 * logistics)
        self.logistics = logistics

    def forward(self, h: Tensor, text: Text) -> Tensor:
        """States `[B, N, H]` of the stack, joined by what is read at each frame."""
        memory, reading = self.memory(text), self.start(text)
        read = []
        for state in h.unbind(1):
            reading = self.step(state, memory, text.lengths, reading)
            read.append(reading.context)
        return h + torch.stack(read, dim=1)

    def memory(self, text: Text) -> Tensor:
        """`[B, U, H]`: each character with what surrounds it; an item's does not depend on the others' lengths."""
        lengths = text.lengths.cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(text.characters), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(
            self.encoder(packed)[0], batch_first=True, total_length=text.characters.shape[1]
        )
        return states

    def start(self, text: Text) -> Reading:
        """Before the first frame."""
        weight = self.window.weight
        empty = weight.new_zeros(len(text.lengths), weight.shape[1])
        places = weight.new_zeros(len(empty), self.logistics)
        return Reading(hidden=empty, cell=empty, place=places, context=empty, ended=empty[:, 0])

    def step(self, h: Tensor, memory: Tensor, lengths: Tensor, reading: Reading) -> Reading:
        """One frame further: the stack's state `[B, H]`, `memory [B, U, H]`, `lengths [B]`."""
        hidden, cell = self.cell(torch.cat([h, reading.context], dim=-1), (reading.hidden, reading.cell))
        move, width, count = self.window(hidden).float().chunk(3, dim=-1)
        place, beta, alpha = reading.place + move.exp(), width.exp(), count.softmax(-1)
        heard = self.heard(place, beta, alpha, lengths, memory.shape[1])
        end = lengths[:, None] + 0.5
        ended = 1 - (alpha * torch.sigmoid((end - place) / beta)).sum(-1)
        context = torch.einsum("bu,buh->bh", heard.to(memory.dtype), memory)
        return Reading(hidden=hidden, cell=cell, place=place, context=context, ended=ended)

    @staticmethod
    def heard(place: Tensor, beta: Tensor, alpha: Tensor, lengths: Tensor, characters: int) -> Tensor:
        """How much each of `characters` is heard, `[B, U]`, from logistics `[B, A]`; 0 beyond an item's length."""
        edges = torch.arange(characters + 1, device=place.device) + 0.5
        reached = torch.sigmoid((edges - place[..., None]) / beta[..., None])
        share = (alpha[..., None] * reached.diff(dim=-1)).sum(1)
        within = torch.arange(characters, device=place.device) < lengths[:, None]
        return share * within


def encoded(texts: Sequence[str], alphabet: str, device: torch.device | str = "cpu") -> Text:
    """Texts as places in `alphabet`.

    Raises:
        ConfigError: for a text without a character, and for a character that is not in the alphabet.

    >>> encoded(["Ba", "b"], "ab").characters.tolist()
    [[1, 0], [1, 0]]
    >>> encoded(["b!"], "ab")
    Traceback (most recent call last):
    synthkit.errors.ConfigError: the text 'b!' has '!', which is not among the characters that the model reads: 'ab'
    """
    rows = [[_place(character, text, alphabet) for character in text] for text in texts]
    if not all(rows):
        raise ConfigError("a text has no characters; the model needs something to say for each item")
    lengths = torch.tensor([len(row) for row in rows], device=device)
    characters = nn.utils.rnn.pad_sequence([torch.tensor(row, device=device) for row in rows], batch_first=True)
    return Text(characters=characters, lengths=lengths)


def _place(character: str, text: str, alphabet: str) -> int:
    for known in (character, character.lower()):
        if known in alphabet:
            return alphabet.index(known)
    raise ConfigError(
        f"the text {text!r:.60} has {character!r}, which is not among the characters that the model reads: {alphabet!r}"
    )
