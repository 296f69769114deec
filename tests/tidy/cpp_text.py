"""Just enough reading of C++ for the rules: comments and literals blanked, functions measured."""

import re
from typing import Iterator, List, NamedTuple

_TOKEN = re.compile(
    r"//[^\n]*"
    r"|/\*.*?\*/"
    r'|R"(?P<delimiter>[^()\\\s]*)\(.*?\)(?P=delimiter)"'
    r'|"(?:\\.|[^"\\\n])*"'
    # A quote after a digit or letter separates digits (1'000) and starts no literal.
    r"|(?<![0-9A-Za-z_])(?:u8|[uUL])?'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_SCOPE = re.compile(r"\s*(?:(?:inline|typedef|static|extern|export)\s+)*(?:namespace|class|struct|union|enum)\b")
_ATTRIBUTE = re.compile(r"\[\[.*?\]\]|__attribute__\s*\(\(.*?\)\)\)?|\balignas\s*\([^)]*\)", re.DOTALL)
_NAME = re.compile(r"((?:\w+::)*~?(?:operator\s*(?:\(\)|[^\s\w(]+|\w+)|\w+))\s*\(")


class Function(NamedTuple):
    name: str
    line: int  # of the opening brace
    lines: int  # from the opening brace's line to the closing one's


def _blank(match: "re.Match[str]") -> str:
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text: str) -> str:
    """The text with comments, strings and characters blanked; every line stays where it was."""
    return _TOKEN.sub(_blank, text)


def comments_blanked(text: str) -> str:
    """The text with comments blanked and literals kept."""
    return _TOKEN.sub(lambda m: _blank(m) if m.group(0).startswith("/") else m.group(0), text)


def _without_template(header: str) -> str:
    """The header after its leading template parameter lists."""
    while re.match(r"\s*template\s*<", header):
        depth = 0
        for i, c in enumerate(header):
            depth += (c == "<") - (c == ">" and header[i - 1] != "-")
            if c == ">" and depth == 0:
                break
        header = header[i + 1 :]
    return header


def _function_name(header: str) -> str:
    """The name in a function's header, or "" when the brace after it opens no function's body."""
    header = _without_template(_ATTRIBUTE.sub(" ", header))
    if "(" not in header or _SCOPE.match(header):
        return ""
    if re.search(r"(?:=|\breturn|,|\()\s*$", header):
        return ""
    test = re.match(r"\s*((?:TYPED_)?TEST(?:_[FP])?)\s*\(([^)]*)\)\s*$", header)
    if test:
        return "%s(%s)" % (test.group(1), re.sub(r"\s+", " ", test.group(2).strip()))
    plain = header
    while plain != (plain := re.sub(r"(?<!operator)<[^<>]*>", "", plain)):
        pass
    name = _NAME.search(plain)
    return re.sub(r"\s+", " ", name.group(1)) if name else "(unnamed)"


def functions(text: str) -> Iterator[Function]:
    """The outermost function bodies: a lambda or a local class counts as part of its function."""
    code = _DIRECTIVE.sub(_blank, code_only(text))
    stack: List[str] = []  # "" for a scope or an initializer, the name for a function
    opened_at = 0
    boundary = 0
    line = 1
    for i, c in enumerate(code):
        if c == "\n":
            line += 1
        elif c == "{":
            name = "" if any(stack) else _function_name(code[boundary:i])
            stack.append(name)
            if name:
                opened_at = line
            boundary = i + 1
        elif c == "}":
            name = stack.pop() if stack else ""
            if name:
                yield Function(name, opened_at, line - opened_at + 1)
            boundary = i + 1
        elif c == ";":
            boundary = i + 1
