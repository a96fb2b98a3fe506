"""Operations that Numba lacks, for the text of programs: vectors of 64 bytes, and flat views. This file needs Numba.

`kernels.lanes` describes the functions, and computes them in NumPy.
"""

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.codegen import get_host_cpu_features
from numba.core.config import CPU_FEATURES
from numba.core.imputils import impl_ret_borrowed
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np.arrayobj import populate_array

# mypy: ignore-errors
# Numba has no types.

BYTES = 64
FAST = ("reassoc", "contract", "nsz", "arcp")
"""What the compiler may do with sums, as in a kernel."""


def available() -> bool:
    """Return whether the processor has vectors of 64 bytes, and Numba may use them."""
    return "+avx512f" in (get_host_cpu_features() if CPU_FEATURES is None else CPU_FEATURES)


class Lanes(types.Type):
    """The type of a vector: as many numbers of a dtype as fit into 64 bytes."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.count = BYTES * 8 // dtype.bitwidth
        self.vector = ir.VectorType(ir.DoubleType() if dtype.bitwidth == 64 else ir.FloatType(), self.count)
        super().__init__(f"Lanes({dtype})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """How the type is stored: as a vector of LLVM."""

    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, lanes.vector)


def _operator(function, name):
    """Let an operator work on two vectors."""

    @infer_global(function)
    class Typed(AbstractTemplate):
        def generic(self, arguments, keywords):
            if isinstance(arguments[0], Lanes) and arguments[0] == arguments[-1]:
                return signature(arguments[0], *arguments)
            return None

    lower_builtin(function, Lanes, Lanes)(
        lambda context, builder, signature, arguments: getattr(builder, name)(*arguments, flags=FAST)
    )


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")


def _pointer(context, builder, signature, arguments, lanes):
    """Return the address of ``array[place]`` as that of a vector."""
    array, place = signature.args[:2]
    places = cgutils.unpack_tuple(builder, arguments[1]) if isinstance(place, types.BaseTuple) else [arguments[1]]
    return _address(context, builder, array, arguments[0], places, lanes)


def _address(context, builder, kind, array, places, lanes):
    """Return the address of a number of an array as that of a vector."""
    given = context.make_array(kind)(context, builder, array)
    return builder.bitcast(cgutils.get_item_pointer(context, builder, kind, given, places), lanes.vector.as_pointer())


@intrinsic
def load(typing, array, place):
    """See `kernels.lanes.load`."""
    lanes = Lanes(array.dtype)

    def write(context, builder, signature, arguments):
        address = _pointer(context, builder, signature, arguments, lanes)
        return builder.load(address, align=lanes.dtype.bitwidth // 8, typ=lanes.vector)

    return lanes(array, place), write


@intrinsic
def store(typing, array, place, numbers):
    """See `kernels.lanes.store`."""

    def write(context, builder, signature, arguments):
        address = _pointer(context, builder, signature, arguments, numbers)
        builder.store(arguments[2], address, align=numbers.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, place, numbers), write


@intrinsic
def splat(typing, number):
    """See `kernels.lanes.splat`."""
    lanes = Lanes(number)

    def write(context, builder, signature, arguments):
        vector = ir.Constant(lanes.vector, ir.Undefined)
        first = builder.insert_element(vector, arguments[0], ir.Constant(ir.IntType(32), 0))
        return _shuffled(builder, first, vector, [0] * lanes.count)

    return lanes(number), write


@intrinsic
def fma(typing, a, b, c):
    """See `kernels.lanes.fma`."""
    return a(a, a, a), lambda context, builder, signature, arguments: _fma(builder, a, arguments)


def _fma(builder, lanes, arguments):
    kind = ir.FunctionType(lanes.vector, [lanes.vector] * 3)
    name = f"llvm.fma.v{lanes.count}f{lanes.dtype.bitwidth}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic
def sums(typing, vectors):
    """See `kernels.lanes.sums`."""
    lanes = vectors[0]

    def write(context, builder, signature, arguments):
        return _sums(builder, lanes, cgutils.unpack_tuple(builder, arguments[0]))

    return lanes(vectors), write


def _sums(builder, lanes, rows):
    """Return the sums of vectors: neighbours are added in pairs, then pairs of sums, and so on."""
    width = 1
    while len(rows) > 1:
        first = [k if k // width % 2 == 0 else lanes.count + k - width for k in range(lanes.count)]
        second = [k + width for k in first]
        rows = [
            builder.fadd(_shuffled(builder, a, b, first), _shuffled(builder, a, b, second), flags=FAST)
            for a, b in zip(rows[::2], rows[1::2], strict=True)
        ]
        width *= 2
    return rows[0]


@intrinsic
def dots(typing, weight, i, grad, r):
    """See `kernels.lanes.dots`."""
    lanes = Lanes(weight.dtype)

    def write(context, builder, signature, arguments):
        size = ir.Constant(arguments[1].type, lanes.count)
        width = cgutils.unpack_tuple(builder, context.make_array(grad)(context, builder, arguments[2]).shape)[1]
        totals = [cgutils.alloca_once_value(builder, ir.Constant(lanes.vector, [0.0] * lanes.count)) for _ in
                  range(lanes.count)]
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, size) as (j, _):
            g = builder.load(_address(context, builder, grad, arguments[2], [arguments[3], j], lanes))
            for k, total in enumerate(totals):
                row = builder.add(arguments[1], ir.Constant(arguments[1].type, k))
                w = builder.load(_address(context, builder, weight, arguments[0], [row, j], lanes))
                builder.store(_fma(builder, lanes, [w, g, builder.load(total)]), total)
        return _sums(builder, lanes, [builder.load(total) for total in totals])

    return lanes(weight, types.intp, grad, types.intp), write


def _shuffled(builder, a, b, places):
    """Choose numbers of two vectors by their places in both."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))


@intrinsic
def flat(typing, array):
    """Return all numbers of a contiguous array in one dimension: ``array.reshape(-1)``, which takes long to compile."""

    def write(context, builder, signature, arguments):
        given = context.make_array(signature.args[0])(context, builder, arguments[0])
        found = context.make_array(signature.return_type)(context, builder)
        populate_array(found, data=given.data, shape=[given.nitems], strides=[given.itemsize],
                       itemsize=given.itemsize, meminfo=given.meminfo, parent=given.parent)
        return impl_ret_borrowed(context, builder, signature.return_type, found._getvalue())

    return types.Array(array.dtype, 1, "C")(array), write


@intrinsic
def pointer(typing, address):
    """Return a pointer to an address; Numba makes an array of a pointer, but no pointer of an address."""

    def write(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), write
