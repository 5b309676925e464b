"""Vectors of 16 numbers in numba: arithmetic that is written once for one number and done for 16 at a time.

For plugins whose inner loops torch has no good word for; importing this file imports numba.

Numba leaves it to LLVM to find out which loops may be vectorised, and LLVM gives up where it cannot prove that rows of one array
do not overlap, which is everywhere in an FFT or a recurrent network. Here a function of `Lanes`, `Rows` and `Index` values is
turned into instructions on vectors directly. LLVM maps them to what the processor has: one AVX-512 register, two of AVX2, four of
NEON.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16
"""Numbers in a vector."""

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_FUSED = ("contract",)  # a product and a sum may be one instruction
_ROUGH = ("fast",)  # an estimate and a Newton step, exact to a few units in the last place, at a fifth of the time

_ROUNDER = 1.5 * 2.0**23  # added to a number and taken away again, it leaves the nearest whole one
_LN_2 = (0.693359375, -2.12194440e-4)  # in two parts, of which the first has so few bits that its product is exact
_DEGREE = 7


class Lanes:
    """16 float32 numbers, one per lane."""

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder, self.value = builder, value

    def __add__(self, other: Lanes | float) -> Lanes:
        return Lanes(self._builder, self._builder.fadd(self.value, _operand(other), flags=_FUSED))

    def __sub__(self, other: Lanes | float) -> Lanes:
        return Lanes(self._builder, self._builder.fsub(self.value, _operand(other), flags=_FUSED))

    def __mul__(self, other: Lanes | float) -> Lanes:
        return Lanes(self._builder, self._builder.fmul(self.value, _operand(other), flags=_FUSED))

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return Lanes(self._builder, self._builder.fdiv(self.value, _operand(other), flags=_ROUGH))

    def clip(self, low: float, high: float) -> Lanes:
        """`low` in place of what is below it, `high` in place of what is above."""
        value = self.value
        for order, bound in ((">", low), ("<", high)):
            inside = self._builder.fcmp_ordered(order, value, _operand(bound))
            value = self._builder.select(inside, value, _operand(bound))
        return Lanes(self._builder, value)

    def fma(self, factor: Lanes | float, addend: Lanes | float) -> Lanes:
        """`self * factor + addend` as one instruction, rounded once.

        Of `a * b + c` the compiler may make that or not, here so and there so. Results that must have the same bits wherever they
        are computed are written with this.
        """
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = cgutils.get_or_insert_function(self._builder.module, kind, f"llvm.fma.v{LANES}f32")
        return Lanes(self._builder, self._builder.call(function, [self.value, _operand(factor), _operand(addend)]))

    def exp(self) -> Lanes:
        """The exponentials, to 2 units in the last place, of numbers that are first clipped to -87..88.

        `exp(x) = 2 ** n * exp(r)`: `n` is the whole number nearest to `x / ln 2`, and a polynomial gives `exp(r)`.
        """
        x = self.clip(-87.0, 88.0)
        shifted = x.fma(1 / math.log(2), _ROUNDER)
        whole = Lanes(self._builder, self._builder.fsub(shifted.value, _operand(_ROUNDER)))
        rest = whole.fma(-_LN_2[1], whole.fma(-_LN_2[0], x))
        result = Lanes(self._builder, _operand(1 / math.factorial(_DEGREE)))
        for power in range(_DEGREE - 1, -1, -1):
            result = result.fma(rest, 1 / math.factorial(power))
        kind = ir.VectorType(ir.IntType(32), LANES)
        exponent = self._builder.add(self._builder.fptosi(whole.value, kind), ir.Constant(kind, [127] * LANES))
        bits = self._builder.shl(exponent, ir.Constant(kind, [23] * LANES))
        return Lanes(self._builder, self._builder.fmul(result.value, self._builder.bitcast(bits, _VECTOR)))

    def sigmoid(self) -> Lanes:
        """`1 / (1 + exp(-x))`."""
        below = self._builder.fadd((self * -1.0).exp().value, _operand(1.0))
        return Lanes(self._builder, self._builder.fdiv(_operand(1.0), below, flags=("arcp",)))

    def tanh(self) -> Lanes:
        """The hyperbolic tangents, to 2 units in the last place of 1."""
        return (self * 2.0).sigmoid().fma(2.0, -1.0)

    def sqrt(self) -> Lanes:
        """The square roots."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        function = cgutils.get_or_insert_function(self._builder.module, kind, f"llvm.sqrt.v{LANES}f32")
        return Lanes(self._builder, self._builder.call(function, [self.value], fastmath=_ROUGH))

    def shuffle(self, other: Lanes, places: Sequence[int]) -> Lanes:
        """16 of the 32 numbers of both, by their places: 0 to 15 are this one's, 16 to 31 the other's."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(places))
        return Lanes(self._builder, self._builder.shuffle_vector(self.value, other.value, mask))


class Index:
    """A place in an array, counted in numbers."""

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder, self.value = builder, value

    def __add__(self, other: Index | int) -> Index:
        return Index(self._builder, self._builder.add(self.value, self._operand(other)))

    def __mul__(self, other: Index | int) -> Index:
        return Index(self._builder, self._builder.mul(self.value, self._operand(other)))

    def __floordiv__(self, other: int) -> Index:
        """For places that are not negative."""
        return Index(self._builder, self._builder.sdiv(self.value, self._operand(other)))

    def __mod__(self, other: int) -> Index:
        """For places that are not negative."""
        return Index(self._builder, self._builder.srem(self.value, self._operand(other)))

    def repeat(
        self, carried: Sequence[Lanes], turn: Callable[[Index, Sequence[Lanes]], Sequence[Lanes]]
    ) -> list[Lanes]:
        """A loop of the compiled code: `carried = turn(number, carried)` for each number below this one.

        What is carried from turn to turn stays in registers, where an array would be read and written each time.
        """
        builder, before = self._builder, self._builder.block
        head, body, end = (builder.append_basic_block(f"repeat.{name}") for name in ("head", "turn", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        number, kept = builder.phi(self.value.type), [builder.phi(_VECTOR) for _ in carried]
        builder.cbranch(builder.icmp_signed("<", number, self.value), body, end)
        builder.position_at_end(body)
        made = turn(Index(builder, number), [Lanes(builder, value) for value in kept])
        following = builder.add(number, ir.Constant(number.type, 1))
        for source, first, lanes in ((before, ir.Constant(number.type, 0), carried), (builder.block, following, made)):
            number.add_incoming(first, source)
            for value, given in zip(kept, lanes, strict=True):
                value.add_incoming(given.value, source)
        builder.branch(head)
        builder.position_at_end(end)
        return [Lanes(builder, value) for value in kept]

    def _operand(self, other: Index | int) -> Any:
        return other.value if isinstance(other, Index) else ir.Constant(self.value.type, other)


class Rows:
    """A contiguous float32 array, read and written 16 numbers at a time from any place in it."""

    def __init__(self, builder: Any, pointer: Any) -> None:
        self._builder, self._pointer = builder, pointer

    def load(self, place: Index) -> Lanes:
        """The 16 numbers from `place` on."""
        return Lanes(self._builder, self._builder.load(self._at(place), align=4))

    def store(self, place: Index, lanes: Lanes) -> None:
        """Write 16 numbers from `place` on."""
        self._builder.store(lanes.value, self._at(place), align=4)

    def spread(self, place: Index) -> Lanes:
        """The number at `place` in every lane."""
        number = self._builder.load(self._builder.gep(self._pointer, [place.value]))
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        first = self._builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
        return Lanes(self._builder, first).shuffle(Lanes(self._builder, nothing), [0] * LANES)

    def _at(self, place: Index) -> Any:
        return self._builder.bitcast(self._builder.gep(self._pointer, [place.value]), _VECTOR.as_pointer())


def vectorised(function: Callable[..., None]) -> Any:
    """Make `function` callable from numba's compiled code.

    It is called once, while numba compiles, with `Rows` for each argument that is an array of float32 and an `Index` for each that
    is a whole number; what it then does to them is what the compiled code does each time.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Sequence[Any]) -> Any:
        arguments: list[Rows | Index] = []
        for kind, value in zip(signature.args, values, strict=True):
            if isinstance(kind, types.Array):
                arguments.append(Rows(builder, context.make_array(kind)(context, builder, value).data))
            else:
                arguments.append(Index(builder, context.cast(builder, value, kind, types.intp)))
        function(*arguments)
        return context.get_dummy_value()

    def define(typing: Any, *kinds: Any) -> tuple[Any, Callable[..., Any]]:
        return types.void(*kinds), generate

    # Numba reads the number of arguments from the signature.
    typing = inspect.Parameter("typing", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    define.__signature__ = inspect.Signature([typing, *inspect.signature(function).parameters.values()])  # type: ignore[attr-defined]
    define.__name__ = function.__name__
    return intrinsic(define)


def transposed(rows: Sequence[Lanes]) -> list[Lanes]:
    """16 vectors as the columns of a square, given as its rows: 4 rounds of shuffles instead of 256 single reads."""
    square = list(rows)
    for width in (8, 4, 2, 1):
        for number in (number for number in range(LANES) if not number & width):
            above, below = square[number], square[number + width]
            square[number] = above.shuffle(below, _merge(width, upper=False))
            square[number + width] = above.shuffle(below, _merge(width, upper=True))
    return square


def _merge(width: int, *, upper: bool) -> list[int]:
    """Places that exchange the off-diagonal blocks of `width` numbers of two rows.

    >>> _merge(8, upper=False)
    [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
    """
    places = []
    for lane in range(LANES):
        block, mine = lane & ~width, bool(lane & width)
        source = block + (width if upper else 0)
        places.append(source + (LANES if mine else 0))
    return places


def _operand(other: Lanes | float) -> Any:
    return other.value if isinstance(other, Lanes) else ir.Constant(_VECTOR, [float(other)] * LANES)
