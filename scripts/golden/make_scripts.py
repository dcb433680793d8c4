"""Writes tokenizers/unicode_script.inc: which script Hugging Face's UnicodeScripts pre-tokenizer counts a character to.

The package has a table of its own (of an older Unicode, with Hiragana and Katakana as Han), so it is asked: two
characters stay together when their scripts are the same or one of them has none. Needs the tokenizers package
(scripts/oracle/venv.sh); version 0.23.3 was asked.

    make_scripts.py > tokenizers/unicode_script.inc
"""
from tokenizers.pre_tokenizers import UnicodeScripts

scripts = UnicodeScripts()


def together(one, other):
    return len(scripts.pre_tokenize_str(one + other)) == 1


def points():
    return (c for c in range(0x21, 0x110000) if not 0xD800 <= c < 0xE000)


LATIN, CYRILLIC = "a", "\u0431"
runs = []  # (first, last, script); script 0: none
examples = []  # of script 1, 2, ...
for c in points():
    char = chr(c)
    if runs and runs[-1][2] and runs[-1][1] == c - 1 and together(chr(runs[-1][0]), char) and not (
            together(LATIN, char) and together(CYRILLIC, char)):
        runs[-1][1] = c
        continue
    if together(LATIN, char) and together(CYRILLIC, char):
        continue
    found = next((i for i, example in enumerate(examples) if together(example, char)), None)
    if found is None:
        found = len(examples)
        examples.append(char)
    runs.append([c, c, found + 1])

print("/* Runs of characters of one script, as Hugging Face's UnicodeScripts has them: first, last, number.\n"
      " * What is in no run belongs to no script. Written by scripts/golden/make_scripts.py; do not\n * edit. */\n/* clang-format off */")
for i in range(0, len(runs), 4):
    print(" ".join(f"{{0x{first:X}, 0x{last:X}, {script}}}," for first, last, script in runs[i:i + 4]))
