#!/usr/bin/env python3
"""What a formatter cannot see: rules of the house that are about places, names and sizes.

Reads the files that git knows (or, without git, all of them) and prints one line per finding:

    kernels/x86/set_avx2.c:12: printf() belongs into main_*.c only

It is a conversation starter, not a judge: whoever has a reason writes it into EXCEPTIONS, one line
each. An exception that no longer excuses anything is itself a finding. Exit code 1 when there is one.
`--report` prints the lengths of functions and files as well.
"""

import os
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOMS = ("base", "kernels", "gguf", "tokenizers", "hub", "convert", "runtime")
FUNCTION_LINES_MAX = 80
FILE_LINES_MAX = 800

# (rule, path): reason. A path may end in "*".
EXCEPTIONS = {
    ("banned", "tests/*"): "a test that overruns its own buffer is stopped by the sanitizer",
    ("environment", "tests/*"): "tests ask where temporary files may go, and try locales",
    ("file-length", "tests/support/fake_hub.c"): "one server; what it can do wrong is a long list",
    ("system-call", "base/output.c"): "renameat2 exists on Linux only, as a second choice after link",
    ("system-call", "gguf/set.c"): "removes part 1 of a set that is replaced, and what was published before a failure",
    ("system-call", "hub/*"): "names from outside are opened step by step with openat, in hub/disk.c's way",
    ("furniture", "runtime/session.h"): "a header of the programs, which may use those of other rooms' programs",
    ("furniture", "runtime/cuda_*"): "the plug-in's table is a border that both sides see: opened at run time, linked by nobody",
    ("furniture", "runtime/backend_cuda.*"): "as runtime/cuda_*",
    ("heap", "convert/names.c"): "realpath() allocates with malloc, so its result is freed with free",
    ("heap", "convert/certificate_source.c"): "as convert/names.c: realpath()",
    ("untested", "tokenizers/jinja_expression.c"): "test_chat.c goes through it with every template",
    ("untested", "kernels/*"): "every row of dtypes.def and every slot of every set goes through one list",
    ("untested", "convert/x86/*"): "test_ternary.c goes through every set of loops that loops_at() gives",
    ("untested", "gguf/arch/*"): "descriptors are data, walked by the tests of convert and runtime",
}

BANNED = {
    "strcpy": "memcpy with a checked length",
    "strcat": "struct bitnet_buf",
    "sprintf": "snprintf",
    "vsprintf": "vsnprintf",
    "gets": "bitnet_read_file",
    "scanf": "bitnet_parse_*",
    "sscanf": "bitnet_parse_*",
    "fscanf": "bitnet_parse_*",
    "strtok": "memchr on a struct bitnet_str",
    "atoi": "bitnet_parse_i64",
    "atol": "bitnet_parse_i64",
    "atof": "bitnet_parse_f64",
    "alloca": "an arena",
    "system": "nothing: no program is started",
    "popen": "nothing: no program is started",
}
STDIO = ("printf", "fprintf", "vprintf", "vfprintf", "puts", "fputs", "putchar", "putc", "fputc",
         "fopen", "fdopen", "freopen", "fwrite", "fread", "fgets", "getline", "perror", "getchar")
ENDINGS = ("exit", "abort", "_Exit", "quick_exit")
SYSTEM_CALLS = ("open", "openat", "pread", "pwrite", "fsync", "rename", "renameat", "renameat2", "unlink", "unlinkat",
                "mmap", "ftruncate", "fallocate", "posix_fallocate", "link", "linkat", "close")
HEAP = ("malloc", "calloc", "realloc", "free", "strdup", "strndup", "aligned_alloc", "posix_memalign")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|placeholder|for now)\b")


def list_files():
    """Paths relative to the root, of everything that belongs to the project."""
    try:
        out = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True, capture_output=True)
        paths = out.stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        paths = []
        for folder, names, files in os.walk(ROOT):
            names[:] = [n for n in names if not n.startswith(".") and not n.startswith("build")]
            paths += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    return sorted(p for p in paths if p and os.path.isfile(os.path.join(ROOT, p)))


def blank(match):
    """Spaces of the same shape, so that line numbers stay."""
    return re.sub(r"[^\n]", " ", match.group())


def strip_comments_and_strings(text):
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, blank, text, flags=re.S)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


class Tidy:
    def __init__(self):
        self.paths = list_files()
        self.findings = []
        self.used = set()
        self.functions = []  # (lines, path, name)
        self.lengths = []
        lists = "".join(self.read(p) for p in self.paths if p.endswith("CMakeLists.txt"))
        self.listed = set(re.findall(r"[\w./${}]+\.c\b", lists))
        self.lists = lists
        self.programs = {p for p in self.paths for q in self.program_sources(p)
                         if q == os.path.basename(p)}

    @staticmethod
    def read(path):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            return file.read()

    def program_sources(self, path):
        """The sources that the list of the same folder gives to bitnet_tool()."""
        beside = os.path.join(os.path.dirname(path), "CMakeLists.txt")
        if not path.endswith(".c") or beside not in self.paths:
            return []
        words = " ".join(re.findall(r"bitnet_tool\(([^)]*)\)", self.read(beside)))
        return words.split()

    def find(self, rule, path, line, words):
        for key in EXCEPTIONS:
            excused = path.startswith(key[1][:-1]) if key[1].endswith("*") else path == key[1]
            if key[0] == rule and excused:
                self.used.add(key)
                return
        self.findings.append(f"{path}:{line}: {words} [{rule}]")

    def calls(self, rule, path, code, names, words):
        pattern = r"(?<![\w.>])(" + "|".join(names) + r")\s*\("
        for match in re.finditer(pattern, code):
            self.find(rule, path, line_of(code, match.start()), words(match.group(1)))

    def check_opening(self, path, text):
        begin = text.lstrip()
        comment = re.match(r"/\*(.*?)\*/|((?://[^\n]*\n)+)", begin, re.S)
        words = re.sub(r"[/*\s]+", " ", comment.group()).strip() if comment else ""
        sibling = re.sub(r"\.c$", ".h", path)  # the header of a pair speaks for both
        if len(words) < 30 and not (path.endswith(".c") and sibling in self.paths):
            self.find("opening", path, 1, "begins without a paragraph on what it owns")

    def check_code(self, path, text, code):
        name = os.path.basename(path)
        in_room = path.split("/")[0] in ROOMS
        is_main = path in self.programs
        self.calls("banned", path, code, BANNED, lambda n: f"{n}() is banned; use {BANNED[n]}")
        if in_room and not is_main:
            self.calls("stdio", path, code, STDIO, lambda n: f"{n}() belongs into main_*.c only")
            self.calls("ending", path, code, ENDINGS, lambda n: f"{n}(): a library does not end programs")
        if in_room and not is_main and path != "base/alloc.c" and name.endswith(".c"):
            self.calls("heap", path, code, HEAP, lambda n: f"{n}() goes around base/alloc.c")
        if in_room and not is_main and path != "base/io.c" and name.endswith(".c"):
            self.calls("system-call", path, code, SYSTEM_CALLS,
                       lambda n: f"{n}() goes around the table in base/io.c, where tests inject faults")
        if not is_main:
            self.calls("environment", path, code, ("getenv", "secure_getenv", "setenv", "setlocale"),
                       lambda n: f"{n}() belongs into main_*.c only")
        for match in re.finditer(r'#\s*include\s+"([^"]+)"', text):
            target = match.group(1)
            line = line_of(text, match.start())
            if in_room and not is_main and ".." in target.split("/") and not self.stays_in_room(path, target):
                self.find("furniture", path, line, f'"{target}" is the furniture of another room')
        for match in UNFINISHED.finditer(text):
            self.find("unfinished", path, line_of(text, match.start()), f"'{match.group()}' is unfinished work")

    @staticmethod
    def stays_in_room(path, target):
        folder = os.path.normpath(os.path.join(os.path.dirname(path), target))
        return folder.split("/")[0] == path.split("/")[0]

    def measure(self, path, code):
        """Functions begin with a name at the left margin and "{" alone on a line, and end with "}"."""
        lines = code.split("\n")
        self.lengths.append((len(lines), path))
        if len(lines) > FILE_LINES_MAX:
            self.find("file-length", path, 1, f"{len(lines)} lines: there may be a second noun in it")
        begin = None
        for i, line in enumerate(lines):
            if line.rstrip() == "{" and i > 0:
                begin = i
            elif line.rstrip() == "}" and begin is not None:
                head = " ".join(lines[max(0, begin - 6):begin])
                names = re.findall(r"(\w+)\s*\(", head)
                name = names[-1] if names else "?"
                self.functions.append((i - begin - 1, path, name))
                if i - begin - 1 > FUNCTION_LINES_MAX:
                    self.find("function-length", path, begin + 1, f"{name}() has {i - begin - 1} lines")
                begin = None

    def check_tests_exist(self):
        """A file is tested by the program of its name, or by one that calls a function of it."""
        tests = "".join(self.read(p) for p in self.paths if re.match(r"tests/.*\.(c|sh|py|cmake|txt)$", p))
        words = set(re.findall(r"[\w-]+", tests))
        for path in self.paths:
            room, name = path.split("/")[0], os.path.basename(path)
            if room not in ROOMS or not name.endswith(".c") or f"tests/{room}/test_{name}" in self.paths:
                continue
            functions = set(re.findall(r"^(?!static)[\w *]*?\b(\w+)\(", self.read(path), re.M))
            tool = re.match(r"main_(\w+)\.c", name)
            if not functions & words and not (tool and "bitnet-" + tool.group(1) in words):
                self.find("untested", path, 1, f"no tests/{room}/test_{name}, and no test calls a function of it")

    def check_built(self):
        """Every source is in a CMake list."""
        stems = {os.path.basename(w) for w in self.listed}
        words = set(re.findall(r"\w+", self.lists))
        for path in self.paths:
            name = os.path.basename(path)
            if not path.endswith(".c") or path.startswith("scripts/"):
                continue
            parts = name[:-2].split("_")  # lists may say foreach(name ...) test_room_${name}.c
            tails = ["_".join(parts[i:]) for i in range(1, len(parts))]
            if name in stems or (path.startswith("tests/") and any(t in words for t in tails)):
                continue
            self.find("dead", path, 1, "is in no CMakeLists.txt")

    def check_machine(self, path, text):
        for match in re.finditer(r"(?<![\w.])/(?:work|root)/[\w.]+", text):
            self.find("machine", path, line_of(text, match.start()), f"{match.group()} is a place on one machine")

    def run(self):
        for path in self.paths:
            if not path.endswith((".c", ".h", ".cu", ".cc", ".def", ".cmake", ".txt", ".py", ".sh", ".md")):
                continue
            text = self.read(path)
            if path != "scripts/tidy.py":
                self.check_machine(path, text)
            if path.endswith((".c", ".h", ".cu", ".cc")):
                code = strip_comments_and_strings(text)
                self.check_opening(path, text)
                self.check_code(path, text, code)
                self.measure(path, code)
        self.check_tests_exist()
        self.check_built()
        for key, reason in EXCEPTIONS.items():
            if key not in self.used:
                self.findings.append(f"scripts/tidy.py: the exception {key} ({reason}) excuses nothing")

    def report(self):
        ours = [f for f in self.functions if not f[1].startswith("tests/")]
        sizes = sorted(f[0] for f in ours)
        print(f"{len(sizes)} functions outside tests: median {statistics.median(sizes):.0f} lines, "
              f"90 % up to {sizes[len(sizes) * 9 // 10]}, longest:")
        for lines, path, name in sorted(ours, reverse=True)[:15]:
            print(f"  {lines:4} {path}: {name}()")
        print("longest files:")
        for lines, path in sorted((f for f in self.lengths if not f[1].startswith("tests/")), reverse=True)[:10]:
            print(f"  {lines:4} {path}")


def main():
    tidy = Tidy()
    tidy.run()
    if "--report" in sys.argv[1:]:
        tidy.report()
    for finding in tidy.findings:
        print(finding)
    print(f"tidy: {len(tidy.paths)} files, {len(tidy.findings)} findings")
    return 1 if tidy.findings else 0


if __name__ == "__main__":
    sys.exit(main())
