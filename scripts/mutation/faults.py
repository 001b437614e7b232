"""Yields small faults of Python, Lua and SQL: by the syntax tree, the other two by their text.

A comparison flipped, a condition or a statement dropped, a number off by one, a sum turned round.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGE", "ROOT", "Fault", "faults"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("src/outlast")

FLIPPED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
SIGNS: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*"}


@dataclass(frozen=True)
class Fault:
    """The text of a file from `start` to `end` becomes `new`."""

    path: Path
    start: int
    end: int
    new: str

    def shown(self, text: str) -> str:
        """Return where it is and what it does, in one line."""
        line = text.count("\n", 0, self.start) + 1
        old = " ".join(text[self.start : self.end].split())
        return f"{self.path.relative_to(PACKAGE)}:{line}  {old[:90]!r} -> {self.new[:60]!r}"


def is_statement(node: ast.AST) -> bool:
    """Return whether the code without this node is still a program."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call | ast.Await | ast.Yield)
    if isinstance(node, ast.Assign):
        return not isinstance(node.targets[0], ast.Name | ast.Tuple)
    return isinstance(node, ast.AugAssign | ast.Delete | ast.Break | ast.Continue)


def of_python(path: Path, text: str) -> Iterator[Fault]:
    """Yield the faults of a Python file."""
    lines = [0]
    for line in text.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    raw = text.encode()

    def at(line: int, column: int) -> int:
        return len(raw[: lines[line - 1] + column].decode())

    def start(node: ast.AST) -> int:
        return at(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(node: ast.AST) -> int:
        return at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def source(node: ast.AST) -> str:
        return text[start(node) : end(node)]

    def put(node: ast.AST, new: str) -> Fault:
        return Fault(path, start(node), end(node), new)

    def visit(node: ast.AST, in_function: bool) -> Iterator[Fault]:
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):  # texts of errors
            return
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            flipped = FLIPPED[type(node.ops[0])]
            yield put(node, f"({source(node.left)} {flipped} {source(node.comparators[0])})")
        elif isinstance(node, ast.Compare):
            for op, left, right in zip(node.ops, [node.left, *node.comparators], node.comparators, strict=False):
                yield Fault(path, end(left), start(right), f" {FLIPPED[type(op)]} ")
        elif isinstance(node, ast.BoolOp):
            for left_out in node.values:
                rest = [f"({source(each)})" for each in node.values if each is not left_out]
                word = " and " if isinstance(node.op, ast.And) else " or "
                yield put(node, f"({word.join(rest)})")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield put(node, f"({source(node.operand)})")
        elif isinstance(node, ast.If) and not isinstance(node.test, ast.BoolOp):
            yield put(node.test, "True")
            yield put(node.test, "False")
        elif isinstance(node, ast.BinOp) and type(node.op) in SIGNS and not isinstance(node.left, ast.Constant):
            yield Fault(path, end(node.left), start(node.right), f" {SIGNS[type(node.op)]} ")
        elif isinstance(node, ast.Constant) and in_function:
            if isinstance(node.value, int | float) and not isinstance(node.value, bool):
                yield put(node, repr(node.value + 1))
        elif is_statement(node):
            yield put(node, "pass")
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                    yield from visit(child, inside)

    yield from visit(ast.parse(text), False)


SYMBOLS = [
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<![<>~])<(?![=>])", "<="),
    (r"(?<![<>\-])>(?![=>])", ">="),
    (r"~=|<>", "=="),
    (r"(?<=[\w)]) \+ (?=\w)", " - "),
    (r"(?<=[\w)]) - (?=\w)", " + "),
    (r"(?<![\w.?:%'])(?<!select )\d+(?![\w.])", "+1"),  # what `exists` and `count` select does not matter
]
LUA = [*SYMBOLS, (r"==", "~="), (r"\bnot (?=\w)", "")]
SQL = [
    *SYMBOLS,
    (r" desc\b", ""),
    (r"\bnot (?=\w)", ""),
    (r" is not (?=\?)", " is "),
    (r"(?<=\w) = (?=\?\d|\w+\.)", " <> "),
]
STATEMENT = re.compile(r"^ +(?!error\b)\w[\w.]*\(.*\)$")
SET = re.compile(r"^ +(?=\S)(?!local\b|return\b|if\b|for\b)[\w.\[\], ]+ = [^=].*$")


def is_whole(code: str) -> bool:
    """Return whether a line of Lua is a statement of its own."""
    closed = all(code.count(one) == code.count(other) for one, other in ("()", "{}"))
    return closed and not re.search(r"\b(?:function|then|do)\b", code)


def of_text(path: Path, text: str) -> Iterator[Fault]:
    """Yield the faults of a Lua or an SQL file."""
    sql = path.suffix == ".sql"
    comment, offset = "--", 0
    for line in text.splitlines(keepends=True):
        code = line.split(comment, 1)[0].rstrip()
        counted = sql and re.match(r"(?:select|values|from json_each)\b.*value ->> 0", code)
        if (
            code
            and not counted
            and not re.match(r"local (?:[SL]_|BECAME|D, call|spack)", code)
            and "error_reply" not in code
        ):
            for pattern, new in SQL if sql else LUA:
                for found in re.finditer(pattern, code):
                    if not sql and code[: found.start()].count("'") % 2:
                        continue  # within a string
                    text_of = str(int(found[0]) + 1) if new == "+1" else "<>" if sql and new == "==" else new
                    if sql and found[0] == "<>":
                        text_of = "="
                    yield Fault(path, offset + found.start(), offset + found.end(), text_of)
            for word in (" and ", " or "):
                for found in re.finditer(re.escape(word), code):
                    yield Fault(
                        path, offset + found.start(), offset + found.end(), " or " if word == " and " else " and "
                    )
            # A condition of several is dropped up to the next one.
            for found in re.finditer(r" and [^()']*?(?= and | order by | group by | limit | then$|$)", code):
                if sql or code.endswith(" then"):
                    yield Fault(path, offset + found.start(), offset + found.end(), "")
            if not sql and (STATEMENT.match(code) or SET.match(code)) and is_whole(code):
                yield Fault(path, offset, offset + len(code), "")
        offset += len(line)


def files(patterns: str) -> list[Path]:
    """Return the files that the patterns name, braces included."""
    found: list[Path] = []
    for pattern in patterns.split():
        braces = re.search(r"\{(.*?)\}", pattern)
        for one in braces[1].split(",") if braces else [""]:
            found += sorted((ROOT / PACKAGE).glob(re.sub(r"\{.*?\}", one, pattern)))
    return [path.relative_to(ROOT) for path in found if path.name != "__init__.py"]


def faults(patterns: str) -> list[tuple[Fault, str]]:
    """Return all faults of these files, each with its line for the report."""
    found = []
    for path in files(patterns):
        text = (ROOT / path).read_text()
        of_file = of_python(path, text) if path.suffix == ".py" else of_text(path, text)
        found += [(fault, fault.shown(text)) for fault in of_file]
    return found
