"""The rules of the source tree that neither the compiler nor clang-tidy checks.

Each rule is a function from a Tree to findings. A rule with a limit takes exceptions from
exceptions.txt, which only ever shrink: an entry that is higher than the truth, or not needed any
more, is a finding itself.
"""

import ast
import fnmatch
import functools
import posixpath
import re
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from tests.tidy import cpp_text

FILE_LINES = 400
FILE_LINES_NEVER = 800
FUNCTION_LINES = 70
DEVICE_KERNEL_LINES = 250

CPP = (".h", ".inl", ".cc", ".cu", ".cuh")
SOURCES = CPP + (".py", ".sh", ".proto", ".bzl")
PROSE = SOURCES + (".md", ".bazel", ".txt", ".yaml", ".yml", ".html")

# What each room may include, besides itself: server -> engine -> loader -> kernels. The longest
# prefix of a file's folder decides. Rooms that are not named (tests) may include anything.
ALLOWED_INCLUDES: Dict[str, Tuple[str, ...]] = {
    "kernels": (),
    "loader": ("kernels",),
    "engine": ("loader", "kernels", "proto"),
    "engine/graph": ("loader", "kernels", "proto"),
    "engine/plan": ("engine/graph", "loader", "kernels", "proto"),
    "engine/runtime": ("engine/plan", "engine/graph", "loader", "kernels", "proto"),
    # The schedule implements the facade.
    "engine/schedule": (
        "engine/engine.h", "engine/runtime", "engine/plan", "loader", "kernels", "proto",
    ),
    "server": ("engine", "loader", "kernels", "proto"),
    "clients": ("proto",),
    # The one binary composes server and client.
    "clients/cli": ("clients", "server", "engine", "loader", "kernels", "proto"),
    "third_party": (),
}


class Finding(NamedTuple):
    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return "%s:%d: [%s] %s" % (self.path, self.line, self.rule, self.message)


class Tree:
    """Files by path from the root, and the exceptions granted: (rule, subject) -> limit."""

    def __init__(self, files: Dict[str, str], exceptions: Optional[Dict[Tuple[str, str], int]] = None):
        self.files = files
        self.exceptions = exceptions or {}
        self.used: Dict[Tuple[str, str], int] = {}

    def with_suffix(self, suffixes: Tuple[str, ...]) -> Iterator[Tuple[str, str]]:
        for path in sorted(self.files):
            if path.endswith(suffixes) and not is_data(path):
                yield path, self.files[path]

    def limit(self, rule: str, subject: str, default: int, actual: int) -> int:
        """The limit for a subject; notes how much of an exception is needed."""
        key = (rule, subject)
        if key not in self.exceptions:
            return default
        self.used[key] = actual if actual > default else 0
        return self.exceptions[key]

    def excused(self, rule: str, subject: str) -> bool:
        key = (rule, subject)
        if key in self.exceptions:
            self.used[key] = 1
        return key in self.exceptions


def is_data(path: str) -> bool:
    """Inputs of tests are not ours to shape."""
    return any(part in ("testdata", "golden", "corpus") for part in path.split("/")[:-1])


def parse_exceptions(text: str) -> Dict[Tuple[str, str], int]:
    """Lines `rule subject [limit]`; the subject may contain spaces, # starts a comment."""
    exceptions = {}
    for line in text.splitlines():
        line = line.split("#", 1)[0].strip()
        if line:
            match = re.match(r"(\S+)\s+(.*?)(?:\s+(\d+))?$", line)
            exceptions[(match.group(1), match.group(2))] = int(match.group(3) or 1)
    return exceptions


def _lines_matching(text: str, pattern: "re.Pattern[str]") -> Iterator[Tuple[int, "re.Match[str]"]]:
    for match in pattern.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match


def file_length(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.with_suffix(SOURCES):
        lines = len(text.splitlines())
        limit = min(tree.limit("file_length", path, FILE_LINES, lines), FILE_LINES_NEVER)
        if lines > limit:
            yield Finding(path, lines, "file_length", "%d lines, at most %d" % (lines, limit))


def _python_functions(text: str) -> Iterator[cpp_text.Function]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield cpp_text.Function(node.name, node.lineno, node.end_lineno - node.lineno + 1)


def function_length(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.with_suffix(CPP + (".py",)):
        default = DEVICE_KERNEL_LINES if path.endswith((".cu", ".cuh")) else FUNCTION_LINES
        measured = _python_functions(text) if path.endswith(".py") else cpp_text.functions(text)
        for function in measured:
            subject = "%s:%s" % (path, function.name)
            limit = tree.limit("function_length", subject, default, function.lines)
            if function.lines > limit:
                message = "%s has %d lines, at most %d" % (function.name, function.lines, limit)
                yield Finding(path, function.line, "function_length", message)


def _stems(stem: str) -> List[str]:
    """rms_norm_cpu -> rms_norm_cpu, rms_norm, rms: one test may cover an operator's variants."""
    words = stem.split("_")
    return ["_".join(words[:n]) for n in range(len(words), 0, -1)]


@functools.lru_cache(maxsize=None)
def _linked_by_tests(build: str) -> Set[str]:
    """The sources of the libraries that tests of the same BUILD file link, through others of it."""
    sources: Dict[str, List[str]] = {}
    needs: Dict[str, List[str]] = {}
    linked: Set[str] = set()
    reached: List[str] = []
    for call in (node for node in ast.walk(ast.parse(build)) if isinstance(node, ast.Call)):
        lists = {
            k.arg: [e.value for e in ast.walk(k.value) if isinstance(e, ast.Constant)]
            for k in call.keywords
        }
        near = [d[1:] for d in lists.get("deps", []) if str(d).startswith(":")]
        rule = call.func.id if isinstance(call.func, ast.Name) else ""
        if rule.endswith("_library"):
            name = lists.get("name", [""])[0]
            sources[name], needs[name] = lists.get("srcs", []), near
        elif rule.endswith("_test"):
            reached += near
    while reached:
        name = reached.pop()
        if name not in linked:
            linked.add(name)
            reached += needs.get(name, [])
    return {src for name in linked for src in sources.get(name, [])}


def _is_tested(tree: Tree, folder: str, stem: str) -> bool:
    """By a test of its name or its leading words', by one beside it that includes its header, or by
    one that links its library."""
    if any(posixpath.join(folder, s + "_test.cc") in tree.files for s in _stems(stem)):
        return True
    include = '#include "%s"' % posixpath.join(folder, stem + ".h")
    build = tree.files.get(posixpath.join(folder, "BUILD.bazel"), "")
    return stem + ".cc" in _linked_by_tests(build) or any(
        posixpath.dirname(path) == folder and path.endswith("_test.cc") and include in text
        for path, text in tree.files.items()
    )


def test_beside(tree: Tree) -> Iterator[Finding]:
    for path, _ in tree.with_suffix((".cc", ".cu")):
        folder, name = posixpath.split(path)
        stem = name.rsplit(".", 1)[0]
        if stem == "main" or stem.endswith(("_main", "_test", "_bench", "_fuzz")):
            continue
        if stem.startswith("test_"):  # what tests share
            continue
        if folder.split("/")[0] in ("tests", "third_party"):
            continue
        if not _is_tested(tree, folder, stem) and not tree.excused("test_beside", path):
            yield Finding(path, 1, "test_beside", "no test of it stands beside it")


_GETENV = re.compile(r"\b(?:secure_)?getenv\s*\(")


def environment(tree: Tree) -> Iterator[Finding]:
    """Settings are parsed in main and passed on; the environment is a hidden argument."""
    for path, text in tree.with_suffix(CPP):
        stem = posixpath.basename(path).rsplit(".", 1)[0]
        if stem == "main" or stem.endswith(("_main", "_test", "_bench")):
            continue
        if path.startswith(("tests/", "third_party/fuzz/")):
            continue
        for line, _ in _lines_matching(cpp_text.code_only(text), _GETENV):
            if not tree.excused("environment", path):
                yield Finding(path, line, "environment", "the environment is read outside main")


def _package_of(tree: Tree, path: str) -> Optional[str]:
    folder = posixpath.dirname(path)
    while True:
        for name in ("BUILD.bazel", "BUILD"):
            build = posixpath.join(folder, name)
            if build in tree.files:
                return build
        if not folder:
            return None
        folder = posixpath.dirname(folder)


_GLOB = re.compile(r"glob\(\s*\[(.*?)\]", re.DOTALL)


def dead_file(tree: Tree) -> Iterator[Finding]:
    """A source file that no BUILD file names is compiled by nobody and tested by nobody."""
    for path, _ in tree.with_suffix(CPP + (".py", ".sh", ".proto")):
        build = _package_of(tree, path)
        if build is None:
            yield Finding(path, 1, "dead_file", "no BUILD file above it")
            continue
        relative = posixpath.relpath(path, posixpath.dirname(build) or ".")
        text = re.sub(r"#[^\n]*", "", tree.files[build])
        patterns = re.findall(r'"([^"]+)"', " ".join(_GLOB.findall(text)))
        if '"%s"' % relative in text or any(fnmatch.fnmatch(relative, p) for p in patterns):
            continue
        if not tree.excused("dead_file", path):
            yield Finding(path, 1, "dead_file", "%s does not name it" % build)


def folder_name(tree: Tree) -> Iterator[Finding]:
    for path in sorted(tree.files):
        for part in path.split("/")[:-1]:
            if part in ("util", "utils", "common", "misc", "helpers"):
                yield Finding(path, 1, "folder_name", "a folder is named for what is in it, not %s/" % part)
                break


# Spelled so that this file does not find itself. The last one is a place to be filled in.
_MARKER = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|@[A-Z]{2,}@")


def marker(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.with_suffix(PROSE):
        for line, match in _lines_matching(text, _MARKER):
            yield Finding(path, line, "marker", "%s: finish it or file an issue" % match.group(0))


_MACHINE_PATH = re.compile(r"(?<![\w.\-/:])/(?:wo" r"rk|ro" r"ot|ho" r"me/\w+|mnt|me" r"dia)(?=[/\s\"'`)]|$)")


def machine_path(tree: Tree) -> Iterator[Finding]:
    """A path of one machine works on no other."""
    for path, text in tree.with_suffix(PROSE):
        for line, match in _lines_matching(text, _MACHINE_PATH):
            if not tree.excused("machine_path", path):
                yield Finding(path, line, "machine_path", "a path of one machine: %s" % match.group(0))


def header_guard(tree: Tree) -> Iterator[Finding]:
    for path, text in tree.with_suffix((".h", ".cuh")):
        guard = "MNEME_%s_" % re.sub(r"[^A-Z0-9]", "_", path.upper())
        opening = r"^#ifndef %s\n#define %s$" % (guard, guard)
        if not re.search(opening, text, re.MULTILINE) or not re.search(
            r"^#endif  // %s\s*\Z" % guard, text, re.MULTILINE
        ):
            yield Finding(path, 1, "header_guard", "expected the guard %s" % guard)


def _room(path: str) -> str:
    rooms = [r for r in ALLOWED_INCLUDES if path.startswith(r + "/")]
    return max(rooms, key=len) if rooms else path.split("/")[0]


_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)


def include_direction(tree: Tree) -> Iterator[Finding]:
    top = {room.split("/")[0] for room in ALLOWED_INCLUDES} | {"proto", "tests"}
    for path, text in tree.with_suffix(CPP):
        room = _room(path)
        if room not in ALLOWED_INCLUDES:
            continue
        for line, match in _lines_matching(cpp_text.comments_blanked(text), _INCLUDE):
            included = match.group(1)
            if included.split("/")[0] not in top:
                continue  # of a system library
            allowed = (room,) + ALLOWED_INCLUDES[room]
            if any(included == a or included.startswith(a + "/") for a in allowed):
                continue
            if not tree.excused("include_direction", path):
                message = "%s/ may not include %s" % (room, included)
                yield Finding(path, line, "include_direction", message)


RULES: Tuple[Callable[[Tree], Iterator[Finding]], ...] = (
    file_length,
    function_length,
    test_beside,
    environment,
    dead_file,
    folder_name,
    marker,
    machine_path,
    header_guard,
    include_direction,
)


def check(tree: Tree) -> List[Finding]:
    """All findings, and the exceptions that must shrink or go."""
    findings = [finding for rule in RULES for finding in rule(tree)]
    for (rule, subject), limit in sorted(tree.exceptions.items()):
        needed = tree.used.get((rule, subject), 0)
        if needed < limit:
            message = "%s %s: granted %d, needed %d: lower or drop it" % (rule, subject, limit, needed)
            findings.append(Finding("tests/tidy/exceptions.txt", 1, "ratchet", message))
    return findings
