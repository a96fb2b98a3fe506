"""Put the text of kernels in the place of their calls.

The compiler then gets one function. That takes half of the time to compile, and a call costs more than the work of a
kernel on a single row.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from copy import deepcopy
from itertools import count
from typing import Any


def inlined(source: str) -> str:
    """Return a program with the kernels in the text of its last function, ``train`` or ``predict``.

    Kernels are the functions with ``@njit(**kernel)``. Only calls that are statements, ``f(…)`` or ``y = f(…)``, are
    replaced. A kernel returns in its last line or nowhere.
    """
    module = ast.parse(source)
    constants = {
        node.targets[0].id: node.value for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    for node in functions:
        _Unrolled(constants).visit(node)
    kernels = {node.name: node for node in functions if _is_kernel(node)}
    numbers = count()

    def expanded(lines: Iterable[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for line in lines:
            call = line.value if isinstance(line, ast.Expr | ast.Assign) else None
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kernels:
                targets = line.targets if isinstance(line, ast.Assign) else []
                found += expanded(_body(kernels[call.func.id], call.args, targets, f"__{next(numbers)}"))
            else:
                for name in ("body", "orelse"):
                    if inner := getattr(line, name, None):
                        setattr(line, name, expanded(inner))
                found.append(line)
        return found

    main = module.body[-1]
    assert isinstance(main, ast.FunctionDef)
    main.body = expanded(main.body)
    called = _names(*(node for node in module.body if node not in kernels.values()))
    for kernel in reversed(kernels.values()):  # A kernel stands after those that it calls.
        if kernel.name in called:
            called |= _names(kernel)
        else:
            module.body.remove(kernel)
    return ast.unparse(ast.fix_missing_locations(module)) + "\n"


class _Unrolled(ast.NodeTransformer):
    """Write out the loops over ``unrolled(n)``; ``t[k]`` of ``t = registers(n)`` becomes a variable, ``t`` a tuple.

    Args:
        constants: Numbers by their names.
    """

    def __init__(self, constants: dict[str, ast.expr]) -> None:
        self._constants = dict(constants)
        self._registers: dict[str, int] = {}

    def _number(self, node: ast.expr) -> Any:
        return ast.literal_eval(self._constants[node.id] if isinstance(node, ast.Name) else node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        if isinstance(call := node.value, ast.Call) and ast.unparse(call.func) == "registers":
            self._registers[ast.unparse(node.targets[0])] = self._number(call.args[0])
            return None
        return self.generic_visit(node)

    def visit_For(self, node: ast.For) -> ast.AST | list[ast.AST]:
        if not (isinstance(call := node.iter, ast.Call) and ast.unparse(call.func) == "unrolled"):
            return self.generic_visit(node)
        lines = []
        for number in range(self._number(call.args[0])):
            self._constants[ast.unparse(node.target)] = ast.Constant(number)
            lines += [self.visit(deepcopy(line)) for line in node.body]
        del self._constants[ast.unparse(node.target)]
        return lines

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if (name := ast.unparse(node.value)) in self._registers:
            return ast.Name(f"{name}_{self._number(node.slice)}", node.ctx)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if count := self._registers.get(node.id):
            return ast.Tuple([ast.Name(f"{node.id}_{number}", ast.Load()) for number in range(count)], ast.Load())
        found = self._constants.get(node.id)
        return found if isinstance(found, ast.Constant) and isinstance(node.ctx, ast.Load) else node


def _names(*nodes: ast.AST) -> set[str]:
    """Return the names in some parts of a program."""
    return {node.id for part in nodes for node in ast.walk(part) if isinstance(node, ast.Name)}


def _is_kernel(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator) == "njit(**kernel)" for decorator in function.decorator_list)


def _body(
    kernel: ast.FunctionDef, arguments: list[ast.expr], targets: list[ast.expr], suffix: str
) -> list[ast.stmt]:
    """Return the lines of a kernel, its parameters replaced by the arguments, its variables with a suffix."""
    stored = {node.id for node in ast.walk(kernel) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names = {name: name + suffix for name in stored}
    lines: list[ast.stmt] = []
    for parameter, argument in zip(kernel.args.args, arguments, strict=True):
        if isinstance(argument, ast.Name) and parameter.arg not in stored:
            names[parameter.arg] = argument.id
        else:
            names[parameter.arg] = parameter.arg + suffix
            lines.append(ast.Assign([ast.Name(names[parameter.arg], ast.Store())], argument))
    for line in kernel.body[ast.get_docstring(kernel) is not None:]:
        copy = deepcopy(line)
        for node in ast.walk(copy):
            if isinstance(node, ast.Name):
                node.id = names.get(node.id, node.id)
        if isinstance(copy, ast.Return):
            assert copy.value is not None
            copy = ast.Assign(targets, copy.value) if targets else ast.Expr(copy.value)
        lines.append(copy)
    return lines
