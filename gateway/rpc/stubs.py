"""A module of typed classes for what can be called at an address, written from its map.

For type checkers and editors alone: it types what `remote` returns, and is never called::

    from robot_api import Robot

    robot = remote(self, "robot", Robot)
    robot.arm.grip(force=3)              # checked, and completed

What travels is what a letter carries, so that a tuple comes back as a list, and a type
that the map only names becomes ``Any``.

Refused: nothing; what Python cannot write (a path that is a keyword) is left out, and
a comment says so.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from textwrap import indent, wrap
from typing import Any

from gateway.mail.signature import Parameter
from gateway.rpc.api_map import Entry, read_map

_KNOWN = {
    *("int", "float", "str", "bool", "bytes", "list", "dict", "Any", "Literal"),
    *("Iterator", "Iterable", "Sequence", "Mapping", "datetime", "object"),
}
_SENT = {"tuple", "set", "frozenset", *_KNOWN}
_PARTS = {"Iterator", "Generator", "AsyncIterator", "AsyncGenerator", "Iterable", "AsyncIterable"}
_HOMES = {
    "datetime": "from datetime import datetime",
    "Any": "typing",
    "Literal": "typing",
    "Iterable": "collections.abc",
    "Iterator": "collections.abc",
    "Mapping": "collections.abc",
    "Sequence": "collections.abc",
}


def stub_of(address: str, told: object) -> str:
    """Return the text of a module that types what the map ``told`` says of ``address``.

    >>> told = {"arm.grip": {"description": "Close the hand.", "returns": "bool",
    ...                      "parameters": {"force": {"type": "int", "required": True}}}}
    >>> print(stub_of("robot", told).partition("class RobotArm:")[2].rstrip())
    <BLANKLINE>
        def grip(self, force: int) -> bool:
            \"\"\"Close the hand.\"\"\"
            raise NotImplementedError
    <BLANKLINE>
    <BLANKLINE>
    class Robot:
        arm: RobotArm
    """
    tree: dict[str, Any] = {}
    left_out = []
    for entry in read_map(told).values():
        names = entry.path.split(".")
        if not all(map(_is_name, names)):
            left_out.append(entry.path)
            continue
        place = tree
        for name in names:
            place = place.setdefault(name, {})
        place[""] = entry
    classes: list[str] = []
    top = class_name(address)
    _write_class(top, tree, classes)
    body = "\n\n\n".join(classes)
    notes = "".join(f"# {path!r} has no name in Python: it is left out.\n" for path in left_out)
    imports = _imports(body)
    return (
        f'"""What can be called at {address!r}, as `gateway call {address} --stub` found it."""\n\n'
        f"from __future__ import annotations\n\n{imports}{notes}\n\n{body}\n"
    ).replace("\n\n\n\n", "\n\n\n")


def class_name(address: str) -> str:
    """Return what the class for ``address`` is called.

    >>> class_name("left-wheel@drive"), class_name("7")
    ('LeftWheel', 'Api7')
    """
    local = address.partition("@")[0].rpartition("/")[2]
    name = "".join(word[:1].upper() + word[1:] for word in re.split(r"\W+|_", local))
    return name if _is_name(name) else f"Api{name}"


def _is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _write_class(name: str, tree: Mapping[str, Any], classes: list[str]) -> None:
    """Write the class for one branch after those that it names."""
    lines: list[str] = []
    methods: list[str] = []
    for word, below in tree.items():
        if word == "":
            methods.insert(0, _method("__call__", below))
        elif set(below) == {""}:
            methods.append(_method(word, below[""]))
        else:
            inner = f"{name}{word[:1].upper()}{word[1:]}"
            _write_class(inner, below, classes)
            lines.append(f"    {word}: {inner}")
    parts = (["\n".join(lines)] if lines else []) + methods
    classes.append(f"class {name}:\n" + ("\n\n".join(parts) or "    pass"))


def _method(name: str, entry: Entry) -> str:
    parameters = ["self", *_parameters(entry.parameters)]
    returns = _parts(entry.returns) if entry.is_stream else _type(entry.returns, _KNOWN)
    head = f"    def {name}({', '.join(parameters)}) -> {returns}:"
    if len(head) > 100:
        inner = "".join(f"        {each},\n" for each in parameters)
        head = f"    def {name}(\n{inner}    ) -> {returns}:"
    return f"{head}\n{_docstring(entry)}        raise NotImplementedError"


def _parameters(parameters: tuple[Parameter, ...] | None) -> list[str]:
    if parameters is None or not all(_is_name(each.name) for each in parameters):
        return ["*args: Any", "**kwargs: Any"]
    written: list[str] = []
    may_be_left_out = by_name = False
    for each in parameters:
        # Without a default behind one that has some: by its name alone.
        by_name_now = each.keyword_only or (each.required and may_be_left_out)
        if by_name_now and not by_name:
            by_name = True
            written.append("*")
        may_be_left_out = may_be_left_out or not each.required
        written.append(f"{each.name}: {_type(each.type, _SENT)}{'' if each.required else ' = ...'}")
    return written


def _docstring(entry: Entry) -> str:
    said = [
        line
        for each in entry.parameters or ()
        if each.unit or each.limits != (None, None)
        for line in wrap(str(each), 88)
    ]
    text = "\n\n".join(part for part in (entry.description.strip(), "\n".join(said)) if part)
    if not text:
        return ""
    text = text.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    text = "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
    text = f"{text}\n" if "\n" in text else text
    # A quote at the very end would close it.
    text = f'{text[:-1]}\\"' if text.endswith('"') else text
    return indent(f'"""{text}"""', "        ", lambda line: bool(line.strip())) + "\n"


def _parts(returns: str) -> str:
    try:
        found = ast.parse(returns, mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return "Iterator[Any]"
    if isinstance(found, ast.Subscript) and _last_name(found.value) in _PARTS:
        of = found.slice
        first = of.elts[0] if isinstance(of, ast.Tuple) and of.elts else of
        return f"Iterator[{_written(first, _KNOWN)}]"
    return "Iterator[Any]"


def _type(text: str, known: set[str]) -> str:
    """Return a type of the map as Python can write it here."""
    try:
        return _written(ast.parse(text, mode="eval").body, known)
    except (SyntaxError, ValueError, RecursionError):
        return "Any"


def _written(node: ast.expr, known: set[str]) -> str:
    match node:
        case ast.Constant(value=None):
            return "None"
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            sides = (_written(left, known), _written(right, known))
            return "Any" if "Any" in sides else " | ".join(sides)
        case ast.Subscript(value=value, slice=of):
            name = _last_name(value)
            if name == "Literal":
                return f"Literal[{ast.unparse(of)}]" if _is_literal(of) else "Any"
            if name in ("list", "tuple", "set", "frozenset") and name not in known:
                return "list[Any]"
            if name not in known:
                return "Any"
            inner = of.elts if isinstance(of, ast.Tuple) else [of]
            return f"{name}[{', '.join(_element(each, known) for each in inner) or '()'}]"
    name = _last_name(node)
    if name in ("tuple", "set", "frozenset") and name not in known:
        return "list[Any]"
    if name in ("list", "tuple", "set", "frozenset", "Iterator", "Iterable", "Sequence"):
        return f"{name}[Any, ...]" if name == "tuple" else f"{name}[Any]"
    if name in ("dict", "Mapping"):
        return f"{name}[str, Any]"
    return name if name in known else "Any"


def _element(node: ast.expr, known: set[str]) -> str:
    is_dots = isinstance(node, ast.Constant) and node.value is ...
    return "..." if is_dots else _written(node, known)


def _is_literal(node: ast.expr) -> bool:
    elements = node.elts if isinstance(node, ast.Tuple) else [node]
    return all(isinstance(each, ast.Constant | ast.UnaryOp) for each in elements)


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _imports(body: str) -> str:
    """Return the import lines for the names that stand in ``body``."""
    lines: dict[str, list[str]] = {}
    plain = []
    for name, home in _HOMES.items():
        if re.search(rf"\b{name}\b", body):
            if " " in home:
                plain.append(home)
            else:
                lines.setdefault(home, []).append(name)
    found = [f"from {home} import {', '.join(sorted(names))}" for home, names in lines.items()]
    return "".join(f"{line}\n" for line in sorted([*plain, *found]))
