"""From mel values back to STFT magnitudes: a non-negative solve that uses the banded shape of the filterbank.

Of all spectra x >= 0 whose mel values W x are the wanted m, the one nearest to the spectral envelope p that m itself draws is
taken (least sum of x^2 / p). Where no such x exists (features that a model made), the errors of the bands, each squared and
divided by its band's level, are smallest:

    minimise over x >= 0:   sum(x^2 / p) / 2  +  sum((W x - m)^2 / d) / (2 eps),       d = W^2 p

Its dual is smooth, convex and has only M unknowns per frame: x = p max(0, W' z), W x + eps d z = m. As a bin belongs to at most
two neighbouring bands, the Jacobian of that is tridiagonal. A semi-smooth Newton iteration (Qi and Sun, "A nonsmooth version of
Newton's method", 1993) with a backtracking line search ends at a residual of about `eps` after 4 to 8 steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = 1e-6  # the residual that is left, relative to each band's level
_ENOUGH = 5e-6  # the residual of a frame, relative to it, at which it is solved: a step more would bring it to `_EPS`
_QUIET = 1e-10  # least level of the envelope, relative to the frame's loudest band
_BLOCK = 256  # frames solved at a time: memory stays bounded and within the processor's cache
_BACKTRACKS = 12


class MelInversion:
    """Mel values `[M, N]` to non-negative magnitudes (or powers) `[F, N]`, each frame by itself.

    Args:
        bank: The filterbank W, `[M, F]`, in which a bin has at most two neighbouring bands.
        iterations: Newton steps at most.

    >>> bank = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.0, 0.5, 1.0, 0.0]])
    >>> mel = bank @ torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [9.0, 0.0]])
    >>> spectrum = MelInversion(bank)(mel)
    >>> spectrum.shape, bool(torch.allclose(bank.double() @ spectrum, mel.double(), rtol=1e-5)), spectrum[:, 1].sum().item()
    (torch.Size([4, 2]), True, 0.0)
    """

    def __init__(self, bank: Tensor, *, iterations: int = 25) -> None:
        self.iterations = iterations
        self.bins = bank.shape[1]
        bank = bank.double()
        self._bands = bank.sum(1).nonzero()[:, 0]
        self._reached = bank.sum(0).nonzero()[:, 0]
        bank = bank[self._bands][:, self._reached]
        self._scale = bank.sum(1, keepdim=True)
        bank = bank / self._scale
        self._to_mel = _Sparse(bank)
        self._to_bins = _Sparse(bank.T)
        self._envelope = _Sparse((bank / bank.sum(0)).T)
        self._squares = _Sparse(bank * bank)
        self._neighbours = _Sparse(bank[:-1] * bank[1:])

    def __call__(self, mel: Tensor) -> Tensor:
        """Solve for `[M, N]` values >= 0. The result is float64, 0 in bins that no band reaches."""
        wanted = mel.double()[self._bands] / self._scale
        out = wanted.new_zeros(self.bins, mel.shape[1])
        for start in range(0, mel.shape[1], _BLOCK):
            block = slice(start, start + _BLOCK)
            out[self._reached, block] = self._solve(wanted[:, block])
        return out

    def _solve(self, wanted: Tensor) -> Tensor:
        loudest = wanted.amax(0).clamp(min=torch.finfo(wanted.dtype).tiny)
        wanted = wanted / loudest
        envelope = self._envelope(wanted.clamp(min=_QUIET))
        level = self._squares(envelope)
        slack = _EPS * level

        def dual(z: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            x = envelope * u.clamp(min=0)
            made = self._to_mel(x) + slack * z
            return x, made - wanted, (z * (made / 2 - wanted)).sum(0)  # as x' u = (W x)' z

        z = wanted / (2 * level)
        u = self._to_bins(z)
        x, gradient, value = dual(z, u)
        for _ in range(self.iterations):
            unsolved = gradient.norm(dim=0) > _ENOUGH * wanted.norm(dim=0)
            if not unsolved.any():
                break
            active = torch.where(u > 0, envelope, 0.0)
            step = _solve_tridiagonal(self._squares(active) + slack, self._neighbours(active), -gradient) * unsolved
            step_u = self._to_bins(step)
            enough = 1e-4 * (gradient * step).sum(0)
            length = torch.ones_like(value)
            for _ in range(_BACKTRACKS):
                next_z, next_u = z + length * step, u + length * step_u
                x, gradient, next_value = dual(next_z, next_u)
                too_far = next_value > value + length * enough + 1e-12 * value.abs()
                if not too_far.any():
                    break
                length = torch.where(too_far, length / 4, length)
            z, u, value = next_z, next_u, next_value
        return x * loudest


class _Sparse:
    """A sparse matrix `[R, C]` whose product with `[C, N]` reads each row once."""

    def __init__(self, matrix: Tensor) -> None:
        rows, self._columns = matrix.nonzero(as_tuple=True)
        self._weights = matrix[rows, self._columns]
        self._offsets = torch.searchsorted(rows, torch.arange(matrix.shape[0], device=matrix.device))

    def __call__(self, values: Tensor) -> Tensor:
        return torch.nn.functional.embedding_bag(
            self._columns, values, self._offsets, mode="sum", per_sample_weights=self._weights
        )


def _solve_tridiagonal(diagonal: Tensor, beside: Tensor, right: Tensor) -> Tensor:
    """Solve symmetric positive definite tridiagonal systems, one per column: `[M, N]`, `[M - 1, N]`, `[M, N]` to `[M, N]`."""
    if diagonal.device.type == "cpu":
        from synthkit_griffin_lim.kernel import solve_tridiagonal

        diagonal, solution = diagonal.clone(), right.clone()
        solve_tridiagonal(diagonal.numpy(), beside.contiguous().numpy(), solution.numpy())
        return solution
    return _solve_band_by_band(diagonal, beside, right)


def _solve_band_by_band(diagonal: Tensor, beside: Tensor, right: Tensor) -> Tensor:
    pivots, values, off = list(diagonal.unbind()), list(right.unbind()), beside.unbind()
    for k in range(1, len(pivots)):
        ratio = off[k - 1] / pivots[k - 1]
        pivots[k] = torch.addcmul(pivots[k], ratio, off[k - 1], value=-1)
        values[k] = torch.addcmul(values[k], ratio, values[k - 1], value=-1)
    values[-1] = values[-1] / pivots[-1]
    for k in range(len(pivots) - 2, -1, -1):
        values[k] = torch.addcmul(values[k], off[k], values[k + 1], value=-1) / pivots[k]
    return torch.stack(values)
