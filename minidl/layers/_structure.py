"""Check that layers fit together in a container: widths, kinds, repeated layers. Write the repr of a container."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._core.parameter import Parameter
from ..errors import ArgumentError, DTypeError, StructureError
from ._parts import children, walk
from .base import Component, Layer, trait


def chain_widths(layers: Sequence[Layer], width: int | None = None) -> tuple[int | None, int | None]:
    """Return the widths that go into and come out of a chain; None where any width fits.

    Raises:
        StructureError: a width does not fit the next layer; the message names both layers and their places.
    """
    first, kept = width, True
    for place, layer in enumerate(layers):
        wanted = getattr(layer, "in_features", None)
        if wanted is not None and width is not None and wanted != width:
            before = f'{one_line(layers[place - 1])} at "{place - 1}" gives {width}' if place else f"got {width}"
            raise StructureError(f'{one_line(layer)} at "{place}": expected {wanted} features, {before}')
        if width is None:
            width = wanted
            first = wanted if kept else first
            kept = kept and trait(layer, "keeps_width")
        if width is not None:
            try:
                width = layer.output_features(width)
            except Exception as error:
                error.add_note(f'found with rows of {width} features at layer "{place}": {one_line(layer)}')
                raise
    return first, width


def check_kept_width(container: Layer, layer: Layer, width: int | None) -> None:
    """Refuse a layer that gives another width than it takes.

    Raises:
        StructureError: naming the layer and both widths.
    """
    if width is not None and layer.output_features(width) != width:
        raise StructureError(
            f"{type(container).__name__}: expected {one_line(layer)} to keep the width {width}, "
            f"got {layer.output_features(width)}"
        )


def common_width(container: Layer, widths: Sequence[int | None]) -> int | None:
    """Return the one width that branches take; None where any fits.

    Raises:
        StructureError: two branches take different widths.
    """
    known = {width: place for place, width in enumerate(widths) if width is not None}
    if len(known) > 1:
        found = ", ".join(f'"{place}" takes {width}' for width, place in known.items())
        raise StructureError(f"{type(container).__name__}: expected branches that take the same width, got {found}")
    return next(iter(known), None)


def check_part(part: object, kind: type[Component] | tuple[type[Component], ...], where: str) -> None:
    """Refuse a part that is not a layer (or a merge); name the usual slips: no parentheses, a list without a star."""
    if not isinstance(part, kind):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        hint = ""
        if isinstance(part, type):
            hint = f"; did you forget the parentheses of {part.__name__}()?"
        elif isinstance(part, (list, tuple)):
            hint = f"; unpack the {type(part).__name__} with a star: Sequential(*layers)"
        raise DTypeError(f"{where}: expected a {wanted}, got {part!r}{hint}")


def check_layers(layers: Sequence[object], where: str) -> None:
    """Refuse a container without layers, or with something else among them."""
    if not layers:
        raise ArgumentError(f"{where}: expected at least one layer, got none")
    for place, layer in enumerate(layers):
        check_part(layer, Layer, f'{where}: "{place}"')


def refuse_repeated_layers(container: Component) -> None:
    """Refuse a tree that holds the same layer or merge at two places.

    Raises:
        StructureError: naming both places.
    """
    seen: dict[int, str] = {}
    for path, child in walk(container):
        if isinstance(child, Component):
            if id(child) in seen:
                raise StructureError(
                    f'{one_line(child)} at "{path}" is the same object as at "{seen[id(child)]}": a layer remembers '
                    "one forward pass; to share weights make two layers that hold the same Parameter"
                )
            seen[id(child)] = path


def one_line(part: Component) -> str:
    """Describe a part in one line: containers without what they hold."""
    text = repr(part)
    return f"{type(part).__name__}(…)" if "\n" in text else text


def count(part: Component) -> int:
    """Count the numbers that a part learns; shared ones once."""
    return sum(parameter.size for parameter in part.parameters())


def summary_lines(container: Component) -> Iterator[str]:
    """Yield the lines of a container's `repr`: its parts, indented, with what they learn."""
    yield f"{type(container).__name__}("
    for name, part in children(container):
        if isinstance(part, Component):
            first, *rest = f"{name}: {part!r}".split("\n")
            yield f"  {first}" if rest or not count(part) else f"  {first:<34} {count(part):>9,}"
            for line in rest:
                yield f"  {line}"
        elif isinstance(part, Parameter):
            yield f"  {name}: {part!r:<{32 - len(name)}} {part.size:>9,}"
    yield f")  {count(container):,} parameters"
