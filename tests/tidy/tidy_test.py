"""The source tree keeps the rules of tests/tidy/rules.py, and each rule finds what it is for."""

import os
import subprocess
import unittest
from typing import Dict, List

from tests.tidy import cpp_text, rules

HEADER = "#ifndef MNEME_A_B_H_\n#define MNEME_A_B_H_\n%s#endif  // MNEME_A_B_H_\n"


def found(files: Dict[str, str], exceptions: str = "") -> List[str]:
    """`rule path:line` of each finding in a tree of these files."""
    findings = rules.check(rules.Tree(files, rules.parse_exceptions(exceptions)))
    return ["%s %s:%d" % (f.rule, f.path, f.line) for f in findings]


def library(files: Dict[str, str]) -> Dict[str, str]:
    """The files with BUILD files that name all of them, and a test for each .cc."""
    tree = dict(files)
    for path in files:
        if path.endswith(".cc") and not path.endswith("_test.cc"):
            tree.setdefault(path[:-3] + "_test.cc", "")
    for folder in {os.path.dirname(path) for path in tree}:
        names = [os.path.basename(p) for p in tree if os.path.dirname(p) == folder]
        tree[folder + "/BUILD.bazel"] = "[%s]\n" % "".join('"%s",\n' % name for name in names)
    return tree


class RulesTest(unittest.TestCase):
    def test_a_tree_that_keeps_the_rules_has_no_findings(self):
        tree = library({"a/b.h": HEADER % "int F();\n", "a/b.cc": "int F() {\n  return 1;\n}\n"})
        self.assertEqual(found(tree), [])

    def test_file_length(self):
        self.assertEqual(found(library({"a/b.cc": "\n" * 400})), [])
        self.assertEqual(found(library({"a/b.cc": "\n" * 401})), ["file_length a/b.cc:401"])

    def test_file_length_has_a_ceiling_that_no_exception_lifts(self):
        tree = library({"a/b.cc": "\n" * 801})
        self.assertEqual(found(tree, "file_length a/b.cc 801"), ["file_length a/b.cc:801"])

    def test_function_length(self):
        at_limit = "int F() {\n" + "  G();\n" * 68 + "}\n"
        above = "namespace n {\nint F() {\n" + "  G();\n" * 69 + "}\n}  // namespace n\n"
        self.assertEqual(found(library({"a/b.cc": at_limit})), [])
        self.assertEqual(found(library({"a/b.cc": above})), ["function_length a/b.cc:2"])

    def test_function_length_of_python_and_of_device_kernels(self):
        python = "def f():\n" + "    g()\n" * 70
        kernel = "void F() {\n" + "  G();\n" * 200 + "}\n"
        self.assertEqual(found(library({"a/b.py": python})), ["function_length a/b.py:1"])
        self.assertEqual(found(library({"a/b.cu": kernel, "a/b_test.cc": ""})), [])

    def test_test_beside(self):
        tree = library({"a/b.cc": ""})
        del tree["a/b_test.cc"]
        self.assertEqual(found(tree), ["test_beside a/b.cc:1"])
        self.assertEqual(found(tree, "test_beside a/b.cc"), [])

    def test_one_test_covers_the_variants_of_an_operator(self):
        files = {"a/norm_cpu.cc": "", "a/norm_reference.cc": "", "a/norm_test.cc": ""}
        tree = library(files)
        del tree["a/norm_cpu_test.cc"], tree["a/norm_reference_test.cc"]
        self.assertEqual(found(tree), [])

    def test_a_test_beside_it_may_cover_a_file_by_its_header(self):
        tree = library({"a/b.cc": "", "a/c_test.cc": '#include "a/b.h"\n'})
        del tree["a/b_test.cc"]
        self.assertEqual(found(tree), [])
        tree["a/c_test.cc"] = '#include "a/d.h"\n'
        self.assertEqual(found(tree), ["test_beside a/b.cc:1"])

    def test_a_test_beside_it_may_cover_a_file_by_linking_its_library(self):
        tree = library({"a/b.cc": "", "a/c_test.cc": ""})
        del tree["a/b_test.cc"]
        rules_of = 'cc_library(name = "b", srcs = ["b.cc"])\ncc_test(name = "c_test", %s)\n"c_test.cc"\n'
        tree["a/BUILD.bazel"] = rules_of % 'deps = [":b"]'
        self.assertEqual(found(tree), [])
        through = 'cc_library(name = "c", deps = [":b"])\n' + rules_of
        tree["a/BUILD.bazel"] = through % 'deps = [":c"]'
        self.assertEqual(found(tree), [])
        tree["a/BUILD.bazel"] = through % 'deps = ["//x:b"]'
        self.assertEqual(found(tree), ["test_beside a/b.cc:1"])

    def test_environment(self):
        reads = '#include <cstdlib>\nconst char* f = getenv("X");\n'
        self.assertEqual(found(library({"a/b.cc": reads})), ["environment a/b.cc:2"])
        self.assertEqual(found(library({"a/main.cc": reads})), [])
        self.assertEqual(found(library({"a/b.cc": "// getenv(x) is not called.\n"})), [])

    def test_dead_file(self):
        tree = library({"a/b.h": HEADER % ""})
        tree["a/BUILD.bazel"] = '# "b.h"\n'
        self.assertEqual(found(tree), ["dead_file a/b.h:1"])
        tree["a/BUILD.bazel"] = 'hdrs = glob(["*.h"])\n'
        self.assertEqual(found(tree), [])
        del tree["a/BUILD.bazel"]
        self.assertEqual(found(tree), ["dead_file a/b.h:1"])

    def test_folder_name(self):
        for name in ("utils", "common"):
            path = "a/%s/b.cc" % name
            self.assertIn("folder_name %s:1" % path, found(library({path: ""})))

    def test_marker(self):
        for word in ("TO" + "DO", "FIX" + "ME", "@PIC" + "TURE@"):
            self.assertEqual(found({"docs/a.md": "\n%s: later\n" % word}), ["marker docs/a.md:2"])
        self.assertEqual(found({"docs/a.md": "AUTODOCUMENTED\n"}), [])

    def test_machine_path(self):
        for path in ("/wo" + "rk/x", "/ro" + "ot/x", "/ho" + "me/someone/x"):
            self.assertEqual(found({"docs/a.md": "see `%s`\n" % path}), ["machine_path docs/a.md:1"])
        self.assertEqual(found({"docs/a.md": "$HOME/work and a/root/x\n"}), [])

    def test_header_guard(self):
        self.assertEqual(found(library({"a/b.h": HEADER % ""})), [])
        for text in ("#pragma once\n", (HEADER % "").replace("_B_H_", "_C_H_")):
            self.assertEqual(found(library({"a/b.h": text})), ["header_guard a/b.h:1"])

    def test_include_direction(self):
        include = '#include "%s"\n'
        for path, included in (
            ("kernels/a/b.cc", "loader/x.h"),
            ("loader/a/b.cc", "engine/x.h"),
            ("engine/graph/b.cc", "engine/plan/x.h"),
            ("engine/a.cc", "server/x.h"),
            ("clients/cpp/b.cc", "engine/x.h"),
            ("server/b.cc", "clients/x.h"),
        ):
            down = found(library({path: "\n" + include % included}))
            self.assertEqual(down, ["include_direction %s:2" % path])
        for path, included in (
            ("loader/a/b.cc", "kernels/x.h"),
            ("engine/plan/b.cc", "engine/graph/x.h"),
            ("clients/cpp/b.cc", "proto/mneme/v1/x.pb.h"),
            ("kernels/a/b.cc", "absl/status/status.h"),
            ("tests/a/b.cc", "server/x.h"),
        ):
            self.assertEqual(found(library({path: include % included})), [])

    def test_an_exception_is_a_ratchet(self):
        tree = library({"a/b.cc": "\n" * 450})
        self.assertEqual(found(tree, "file_length a/b.cc 450"), [])
        self.assertEqual(found(tree, "file_length a/b.cc 449"), ["file_length a/b.cc:450"])
        loose = ["ratchet tests/tidy/exceptions.txt:1"]
        self.assertEqual(found(tree, "file_length a/b.cc 451"), loose)
        self.assertEqual(found(library({"a/b.cc": ""}), "file_length a/b.cc 450"), loose)

    def test_inputs_of_tests_are_left_alone(self):
        self.assertEqual(found({"loader/a/testdata/b.txt": "/wo" + "rk/x\n"}), [])


class CppTextTest(unittest.TestCase):
    def names(self, text: str) -> List[str]:
        return [f.name for f in cpp_text.functions(text)]

    def test_literals_and_comments_are_blanked_in_place(self):
        text = "a /* {\n */ \"}\\\"\" '{' 1'000'000 R\"x({)\")x\" // {\nb"
        blanked = cpp_text.code_only(text)
        self.assertEqual(len(blanked), len(text))
        self.assertEqual(blanked.split(), ["a", "1'000'000", "b"])

    def test_functions_are_found_by_name(self):
        text = """
        #define M(x) { x
        namespace n {
        constexpr int kTable[] = {F(1), F(2)};
        class [[nodiscard]] C final : public B<void(int)> {
         public:
          C(int a, int b) : a_(a) { Init(); }
          bool operator==(const C& o) const { return a_ == o.a_; }
          struct D { int x = 0; };
        };
        template <typename T, int (*F)(int)>
        __attribute__((target("avx2"))) std::function<void(int)> C::Get(T t) const noexcept {
          auto f = [&](int x) { return x; };
          if (t) { return f; }
        }
        TEST(Suite, Name) { Get(1); }
        extern "C" int Entry(const char* d) { return 0; }
        }
        """
        expected = ["C", "operator==", "C::Get", "TEST(Suite, Name)", "Entry"]
        self.assertEqual(self.names(text), expected)

    def test_a_function_is_measured_from_brace_to_brace(self):
        text = "int F(int a,\n      int b) {\n  return a;\n}\nint g;\n"
        self.assertEqual(list(cpp_text.functions(text)), [cpp_text.Function("F", 2, 3)])


def source_tree() -> rules.Tree:
    """The files git knows or would add; where there is no git, all that are not built."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    command = ["git", "-c", "safe.directory=" + root, "-C", root, "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True).stdout.decode()
        paths = [path for path in listed.split("\0") if path]
    except (OSError, subprocess.CalledProcessError):
        paths = []
        for folder, folders, names in os.walk(root):
            folders[:] = [f for f in folders if not f.startswith((".git", "bazel-", "__pycache__"))]
            paths += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    files = {}
    for path in paths:
        full = os.path.join(root, path)
        if path.endswith(rules.PROSE) and os.path.isfile(full):
            with open(full, encoding="utf-8") as stream:
                files[path] = stream.read()
    return rules.Tree(files, rules.parse_exceptions(files["tests/tidy/exceptions.txt"]))


class SourceTreeTest(unittest.TestCase):
    def test_the_tree_is_seen(self):
        files = source_tree().files
        for path in ("kernels/tensor/tensor.h", "tests/tidy/rules.py", "third_party/mneme.bzl"):
            self.assertIn(path, files)

    def test_the_tree_keeps_the_rules(self):
        findings = rules.check(source_tree())
        if findings:
            self.fail("%d findings\n%s" % (len(findings), "\n".join(map(str, findings))))


if __name__ == "__main__":
    unittest.main()
