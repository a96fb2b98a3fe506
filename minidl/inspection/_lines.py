"""Lines of code with their numbers: what each line of a layer's own methods read, and what it made."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import CodeType, FrameType, MemberDescriptorType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from .._core.parameter import Buffer, Parameter
from ..layers._parts import ByClass
from ..optimizers import Optimizer

WHOLE = 1_000
"""Numbers of the largest array that a line keeps whole."""

CORNER = 8
"""Numbers along each axis that a line keeps of a larger array."""

MOST = 400
"""Most lines of one step; of a longer loop the lines in the middle are left out."""

HIDDEN = {Optimizer.step.__code__, Optimizer.current_rate.__code__, Optimizer.slots.__code__}
"""Methods that only call `update`."""


class Value(NamedTuple):
    """An array or a number that a line read or made.

    Attributes:
        shape: Its shape; ``()`` for a single number.
        numbers: The array; of one with more than 1,000 numbers the first 8 along each axis.

    Example:
        >>> from minidl.inspection import trace
        >>> t = trace(mlp([2, 1], rng=0), MeanSquaredError(), np.ones((1, 2)), np.zeros((1, 1)))
        >>> line = t.parts["0"].forward.lines[-1]
        >>> {name: value.shape for name, value in line.read.items()}
        {'y': (1, 1), 'self.bias.value': (1,)}
    """

    shape: tuple[int, ...]
    numbers: npt.NDArray[Any]


@dataclass
class Line:
    """One line of a layer's code as it ran.

    Attributes:
        function: The method, such as ``"Dense.compute"``.
        number: Number of the line in its file.
        text: The statement, on one line.
        read: Maps each name in it to its number or array, from before the line.
        made: Maps each name that the line assigned or changed to what it made; ``"return"`` is what it returned.

    Example:
        >>> from minidl.inspection import trace
        >>> t = trace(mlp([2, 1], rng=0), MeanSquaredError(), np.ones((1, 2)), np.zeros((1, 1)))
        >>> [line.function for line in t.parts["0"].forward.lines]
        ['Dense.compute', 'Dense.compute']
    """

    function: str
    number: int
    text: str
    read: dict[str, Value]
    made: dict[str, Value] = field(default_factory=dict)


Keep: TypeAlias = Callable[[npt.NDArray[Any]], Any]
"""Makes of an array what a line keeps of it."""

Before: TypeAlias = Mapping[int, npt.NDArray[Any]]
"""Maps the id of a parameter to the gradient that it had before the step; a line shows what was added to it."""


def kept_value(array: npt.NDArray[Any]) -> Value:
    """Keep an array whole, or the first numbers along each axis."""
    part = array if array.size <= WHOLE else array[(slice(CORNER),) * array.ndim]
    return Value(array.shape, part.copy())


@contextmanager
def noted(part: object, into: list[Line], before: Before, keep: Keep = kept_value) -> Iterator[None]:
    """Within this context, note the lines of the methods of one object, as they run in this thread.

    Debuggers and coverage do not see these lines. An earlier trace function is put back at the end.
    """
    earlier = sys.gettrace()
    sys.settrace(_Noter(part, into, before, keep).enter)
    try:
        yield
    finally:
        sys.settrace(earlier)


def added(parameter: Parameter, before: Before) -> npt.NDArray[Any]:
    """Return what a step added to a gradient, zeros for nothing; unlike ``parameter.grad``, leave no mark."""
    if not parameter.has_grad:
        return np.zeros_like(parameter.value)
    found = parameter._memory()
    return found - before[id(parameter)] if id(parameter) in before else found.copy()


class _Noter:
    """The trace function of `noted`."""

    def __init__(self, part: object, into: list[Line], before: Before, keep: Keep) -> None:
        self.part, self.into, self.before, self.keep = part, into, before, keep
        self.code = code_of[type(part)]
        self.running: dict[FrameType, tuple[_Statement, Line]] = {}
        self.returning: dict[FrameType, tuple[_Statement, Line]] = {}
        """Lines with ``return`` inside of ``with`` or ``try``, which runs on after them."""
        self.last: Any = None
        """What the last line made."""

    def enter(self, frame: FrameType, event: str, _: Any) -> Any:
        """Follow a call of a method of the object, and no other."""
        method, names = self.code.get(frame.f_code), frame.f_code.co_varnames
        own = method is not None and (method.nested or (names and frame.f_locals.get(names[0]) is self.part))
        return self.follow if own else None

    def follow(self, frame: FrameType, event: str, returned: Any) -> Any:
        """Finish the line that ran, and begin the next."""
        if event in ("line", "return"):
            statement = self.code[frame.f_code].statements.get(frame.f_lineno) if event == "line" else None
            running = self.running.get(frame)
            if running is not None and running[0] is not statement:
                del self.running[frame]
                if running[0].returns:
                    self.returning[frame] = running
                else:
                    self.finish(frame, *running)
            if event == "return" and frame in self.returning:
                self.finish(frame, *self.returning.pop(frame), returned)
            if statement is not None and frame not in self.running:
                read = dict(self.values(statement.reads, frame))
                line = Line(statement.function, statement.number, statement.text, read)
                self.running[frame] = statement, line
        return self.follow

    def finish(self, frame: FrameType, statement: _Statement, line: Line, returned: Any = None) -> None:
        """Note what a line made, unless it only gives another name to a number or hands it on."""
        if statement.returns:
            line.made = dict(self.flat("return", returned))
        else:
            now = dict(self.values(statement.reads, frame))
            # What was written to in place; functions that do so name it first.
            line.made = {name: now[name] for name in reversed(now) if _bits(now[name]) != _bits(line.read.get(name))}
            for name, value in self.values(statement.targets, frame):
                line.made.pop(name, None)
                line.made[name] = value
        last = next(reversed(line.made.values()), None)
        known = [self.last] if statement.returns else [self.last, *line.read.values()]
        if last is not None and not (statement.hands_on and _bits(last) in map(_bits, known)):
            self.into.append(line)
            self.last = last
            if len(self.into) > MOST:
                del self.into[MOST // 2]

    def values(self, names: Mapping[str, ast.expr], frame: FrameType) -> Iterator[tuple[str, Any]]:
        """Yield name and value of each name that stands for numbers."""
        variables = ChainMap(frame.f_locals, frame.f_globals)
        for name, node in names.items():
            value = self.look_up(node, variables)
            if isinstance(node, ast.Subscript) and isinstance(self.look_up(node.value, variables), np.ndarray):
                name = ast.unparse(node.value)  # p[chosen] = … is shown as all of p.
            yield from self.flat(name, value)

    def flat(self, name: str, value: Any) -> Iterator[tuple[str, Any]]:
        """Yield name and value of a number, an array, or of each in a tuple or list of arrays."""
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "fiub":
                yield name, self.keep(value)
        elif isinstance(value, (float, np.number)) or (type(value) is int and abs(value) < 1 << 63):
            yield name, self.keep(np.asarray(value))
        elif isinstance(value, (tuple, list)) and all(isinstance(item, np.ndarray) for item in value):
            for place, item in enumerate(value):
                yield from self.flat(f"{name}[{place}]", item)

    def look_up(self, node: ast.expr, variables: Mapping[str, Any]) -> Any:
        """Return what a name stands for, and call nothing: a property of the user's might change something."""
        if isinstance(node, ast.Name):
            return variables.get(node.id)
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Attribute):
            return self.attribute(self.look_up(node.value, variables), node.attr)
        if isinstance(node, ast.Subscript):
            owner = self.look_up(node.value, variables)
            if isinstance(owner, (dict, list)):
                key = self.look_up(node.slice, variables)
                with suppress(KeyError, IndexError, TypeError):
                    return owner[key]
                return None
            return owner
        return None

    def attribute(self, owner: Any, name: str) -> Any:
        """Return an attribute that is stored; of an array and of a parameter also what is computed at no cost."""
        if isinstance(owner, np.ndarray):
            return getattr(owner, name) if name in ("T", "real", "imag") else None
        if isinstance(owner, (Parameter, Buffer)) and name == "value":
            return owner.value
        if isinstance(owner, Parameter) and name == "grad":
            return added(owner, self.before)
        own = getattr(owner, "__dict__", {})
        found = own[name] if name in own else inspect.getattr_static(type(owner), name, None)
        return getattr(owner, name, None) if isinstance(found, MemberDescriptorType) else found  # One in __slots__.


def _bits(value: Any) -> Any:
    """Return what tells two values apart, NaN included."""
    return (value.shape, value.numbers.tobytes()) if isinstance(value, Value) else value and [*map(_bits, value)]


@dataclass(eq=False)
class _Statement:
    """A statement of a method: its text, the names that it reads and those that it assigns."""

    function: str
    number: int
    text: str
    reads: dict[str, ast.expr]
    targets: dict[str, ast.expr]
    returns: bool
    hands_on: bool


class _Method(NamedTuple):
    """The statements of a method by line, or those of a function that is defined in one."""

    statements: dict[int, _Statement]
    nested: bool


@ByClass
def code_of(kind: type[Any]) -> dict[CodeType, _Method]:
    """Map the code of each method of a class to its statements; methods without source are left out."""
    found: dict[CodeType, _Method] = {}
    for base in kind.__mro__:
        for name, value in vars(base).items():
            code = getattr(inspect.unwrap(value), "__code__", None) if inspect.isfunction(value) else None
            if code is not None and code not in HIDDEN and not name.startswith(("__", "check", "_check")):
                with suppress(OSError, TypeError, SyntaxError, IndexError):  # No source: made by exec.
                    source, first = inspect.getsourcelines(code)
                    tree = ast.increment_lineno(ast.parse(textwrap.dedent("".join(source))), first - 1)
                    if isinstance(tree.body[0], ast.FunctionDef):
                        _add_method(found, code, tree.body[0], code.co_qualname.rpartition("<locals>.")[2])
    return found


def _add_method(found: dict[CodeType, _Method], code: CodeType, function: ast.FunctionDef, name: str) -> None:
    """Add the statements of a function, and those of functions in it."""
    if code.co_name != function.name:  # The file is another than the one that was imported.
        return
    statements: dict[int, _Statement] = {}
    found[code] = _Method(statements, nested=code.co_name != name.rpartition(".")[2])
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef):
            for inner in code.co_consts:
                if isinstance(inner, CodeType) and inner.co_firstlineno == node.lineno:
                    _add_method(found, inner, node, name)
            continue
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            end = (node.end_lineno or 0) if body is None else body[0].lineno - 1
            statement = _statement(name, node)
            statements.update(dict.fromkeys(range(node.lineno, max(node.lineno, end) + 1), statement))
        waiting += ast.iter_child_nodes(node)


def _statement(function: str, node: ast.stmt) -> _Statement:
    value = getattr(node, "value", None)
    targets: list[ast.expr] = []
    roots: list[ast.AST] = [node]
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        roots = [] if value is None else [value]
        if isinstance(node, ast.AugAssign) and getattr(node.target, "attr", "") != "grad":
            roots.insert(0, node.target)
        if isinstance(node, ast.AugAssign) or not (value is None or _is_name(value)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    elif isinstance(node, (ast.If, ast.While)):
        roots = [node.test]
    elif getattr(node, "body", None) is not None or isinstance(node, ast.Match):
        roots = []
    elif isinstance(node, ast.Expr) and isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        targets = [ast.Attribute(value.func.value, "grad")]  # self.weight.add_product(…) adds to self.weight.grad.
    reads = {ast.unparse(name): name for root in roots for name in _names(root)}
    return _Statement(
        function, node.lineno, ast.unparse(node).split("\n")[0], reads,
        {ast.unparse(name): name for target in targets for name in _each(target)},
        isinstance(node, ast.Return), isinstance(node, ast.Expr) or _is_own_call(value)
        or (_is_name(value) and not isinstance(node, ast.AugAssign)),
    )  # fmt: skip


def _is_name(node: ast.AST | None) -> bool:
    """Whether an expression is a name, a dotted name, or a tuple of such."""
    if isinstance(node, ast.Tuple):
        return all(map(_is_name, node.elts))
    return _is_dotted(node)


def _is_dotted(node: ast.AST | None) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _is_own_call(node: ast.AST | None) -> bool:
    """Whether an expression calls a method, as ``self.compute(x)`` or ``super().forward(x)``."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    owner = node.func.value
    if isinstance(owner, ast.Call):
        owner = owner.func
    return isinstance(owner, ast.Name) and (owner.id in ("self", "super") or owner.id[:1].isupper())


def _each(target: ast.expr) -> Iterator[ast.expr]:
    """Yield each target of an assignment."""
    if isinstance(target, (ast.Tuple, ast.List)):
        for item in target.elts:
            yield from _each(item)
    else:
        yield target.value if isinstance(target, ast.Starred) else target


def _names(node: ast.AST) -> Iterator[ast.expr]:
    """Yield names and dotted names that are read, the longest ones; not those of functions, but what they belong to."""
    if isinstance(node, ast.Call):
        inside = [node.func.value] if isinstance(node.func, ast.Attribute) else []
        # What is given as ``out`` is only written to, as is the work memory of `in_blocks`.
        given = node.args[:2] if getattr(node.func, "id", "") == "in_blocks" else node.args
        for part in [*inside, *given, *[keyword.value for keyword in node.keywords if keyword.arg != "out"]]:
            yield from _names(part)
    elif isinstance(node, (ast.Name, ast.Attribute)) and _is_dotted(node):
        yield node
    elif isinstance(node, ast.IfExp):  # The condition is no number of the result.
        yield from _names(ast.Tuple([node.body, node.orelse]))
    elif not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _names(child)
