#!/usr/bin/env python3
"""Writes the Unicode tables of the tokenizers room, tokenizers/unicode_*.inc, from the Unicode Character Database
as the package unicodedata2 carries it (15.1.0: `pip install unicodedata2==15.1.0`); the interpreter's own unicodedata
serves as well, with its own version, which the header of each file names.

    python3 scripts/golden/make_unicode.py tokenizers
"""
import subprocess
import sys

try:
    import unicodedata2 as ucd
except ImportError:
    import unicodedata as ucd

ORDER = "Cn Cc Cf Cs Co Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp".split()
N_CODE_POINTS = 0x110000
BLOCK = 256


def head(out, what):
    out.write(f"/* {what} Unicode {ucd.unidata_version}. Written by\n"
              " * scripts/golden/make_unicode.py; do not edit. */\n/* clang-format off */\n")


def rows(out, items, width=96):
    line = ""
    for item in items:
        if len(line) + len(item) + 1 > width:
            out.write(line + "\n")
            line = ""
        line += item + ","
    out.write(line + "\n")


def category(path):
    """Ranges of equal general category, and for each block of 256 the first range that reaches into it."""
    ranges = []
    for c in range(N_CODE_POINTS):
        g = ORDER.index(ucd.category(chr(c)))
        if not ranges or ranges[-1][1] != g:
            ranges.append((c, g))
    index, r = [], 0
    for block in range(0, N_CODE_POINTS, BLOCK):
        while r + 1 < len(ranges) and ranges[r + 1][0] <= block:
            r += 1
        index.append(r)
    index.append(len(ranges) - 1)
    with open(path, "w") as out:
        head(out, "General category by range: first code point << 5 | category.")
        out.write(f"static const uint32_t category_ranges[{len(ranges)}] = {{\n")
        rows(out, [f"0x{c << 5 | g:x}" for c, g in ranges])
        out.write(f"}};\nstatic const uint16_t category_index[{len(index)}] = {{\n")
        rows(out, [str(i) for i in index])
        out.write("};\n/* clang-format on */\n")


def lower(path):
    """Simple and full lower-case mappings that differ from the code point itself."""
    with open(path, "w") as out:
        pairs = [(c, chr(c).lower()) for c in range(N_CODE_POINTS) if not 0xD800 <= c < 0xE000]
        pairs = [(c, s) for c, s in pairs if s != chr(c) and ucd.category(chr(c)) != "Cn"]
        head(out, "Lower-case mappings: from, to, and a second code point or 0 (full, context-free).")
        out.write(f"static const uint32_t lower_map[{len(pairs)}][3] = {{\n")
        rows(out, ["{0x%x,0x%x,0x%x}" % (c, ord(s[0]), ord(s[1]) if len(s) > 1 else 0) for c, s in pairs])
        out.write("};\n/* clang-format on */\n")
        assert all(len(s) <= 2 for _, s in pairs)


def decomposition(path):
    """Canonical and compatibility decompositions (full, without Hangul), combining classes, compositions."""
    plain = [c for c in range(N_CODE_POINTS) if not (0xD800 <= c < 0xE000 or 0xAC00 <= c < 0xD7A4)]
    pool, canonical, compatible, classes, compose = [], [], [], [], []

    def put(text):
        at = len(pool)
        pool.extend(ord(ch) for ch in text)
        return at, len(text)

    for c in plain:
        ch = chr(c)
        d, k = ucd.normalize("NFD", ch), ucd.normalize("NFKD", ch)
        if d != ch:
            canonical.append((c, *put(d)))
        if k != d:
            compatible.append((c, *put(k)))
        if ucd.combining(ch):
            classes.append((c, ucd.combining(ch)))
        raw = ucd.decomposition(ch)
        if raw and not raw.startswith("<"):
            parts = [int(x, 16) for x in raw.split()]
            if len(parts) == 2 and ucd.normalize("NFC", "".join(map(chr, parts))) == ch:
                compose.append((parts[0], parts[1], c))
    compose.sort()
    runs = []
    for c, k in classes:
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == k:
            runs[-1][1] = c
        else:
            runs.append([c, c, k])
    with open(path, "w") as out:
        head(out, "Decompositions, combining classes and compositions.")
        out.write(f"static const uint32_t decomposition_pool[{len(pool)}] = {{\n")
        rows(out, [f"0x{c:x}" for c in pool])
        for name, table in (("canonical", canonical), ("compatible", compatible)):
            out.write(f"}};\n/* code point, place in the pool, length */\n"
                      f"static const struct decomposition {name}_map[{len(table)}] = {{\n")
            rows(out, ["{0x%x,%d,%d}" % row for row in table])
        out.write(f"}};\n/* first, last, class */\nstatic const struct combining combining_map[{len(runs)}] = {{\n")
        rows(out, ["{0x%x,0x%x,%d}" % tuple(r) for r in runs])
        out.write(f"}};\n/* first, second, composed */\nstatic const uint32_t compose_map[{len(compose)}][3] = {{\n")
        rows(out, ["{0x%x,0x%x,0x%x}" % row for row in compose])
        out.write("};\n/* clang-format on */\n")


def newer(path):
    """Assigned code points that came after Unicode 8.0 and 9.0, whose tables some components of Hugging Face
    tokenizers still use. Ages are asked of perl, whose Unicode may be older than ours: what it does not know is new."""
    asked = "for my $c (0 .. 0x10FFFF) { next if $c >= 0xD800 && $c < 0xE000; my $h = chr($c);" \
            " print $h =~ /\\p{Present_In: 8.0}/ ? 0 : $h =~ /\\p{Present_In: 9.0}/ ? 1 : 2 }"
    ages = subprocess.run(["perl", "-e", asked], capture_output=True, text=True, check=True).stdout
    ages = ages[:0xD800] + "0" * 0x800 + ages[0xD800:]
    ranges = []
    for c in range(N_CODE_POINTS):
        age = 0 if ucd.category(chr(c)) in ("Cn", "Co", "Cs") else int(ages[c])
        if age and ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == age:
            ranges[-1][1] = c
        elif age:
            ranges.append([c, c, age])
    with open(path, "w") as out:
        head(out, "First, last; 1: came with Unicode 9.0, 2: later.")
        out.write(f"static const uint32_t newer_ranges[{len(ranges)}][3] = {{\n")
        rows(out, ["{0x%x,0x%x,%d}" % tuple(r) for r in ranges])
        out.write("};\n/* clang-format on */\n")


if __name__ == "__main__":
    folder = sys.argv[1]
    newer(f"{folder}/unicode_newer.inc")
    category(f"{folder}/unicode_category.inc")
    lower(f"{folder}/unicode_lower.inc")
    decomposition(f"{folder}/unicode_normal.inc")
