#!/usr/bin/env python3
"""
unicode_tables.py - writes src/text/unicode_tables.c from Python's unicodedata; Python 3.10 or newer, nothing else.

    unicode_tables.py > src/text/unicode_tables.c     the tables
    unicode_tables.py --digest                        what tests/unit/unicode_test.c has to find, from unicodedata itself

The Unicode version is Python's (3.13: 15.1). A newer one adds letters and digits and changes none (stability policies).
Ref:   Unicode Standard Annex 15 (composition exclusions show as pairs that do not compose again), Oniguruma's White_Space.
Trap:  str.isspace also takes U+001C..U+001F, which White_Space does not.
       Hangul syllables are computed and have no entries.
"""
import sys
import unicodedata

LETTER, NUMBER, SPACE = 1, 2, 4
HANGUL = range(0xAC00, 0xAC00 + 11172)
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def point_class(c):
    category = unicodedata.category(chr(c))
    if category[0] == "L":
        return LETTER
    if category[0] == "N":
        return NUMBER
    return SPACE if chr(c).isspace() and not 0x1C <= c <= 0x1F else 0


def ranges(value):
    """(first, last, value) of every run of code points that share a value other than 0"""
    found = []
    for c in POINTS:
        v = value(c)
        if v and found and found[-1][1] == c - 1 and found[-1][2] == v:
            found[-1][1] = c
        elif v:
            found.append([c, c, v])
    return found


def decompositions():
    """(composed, first, second or 0): one step of the canonical decomposition"""
    for c in POINTS:
        text = unicodedata.decomposition(chr(c))
        if text and not text.startswith("<") and c not in HANGUL:
            parts = [int(part, 16) for part in text.split()]
            assert len(parts) <= 2
            yield c, parts[0], parts[1] if len(parts) == 2 else 0


def compositions():
    return sorted((first, second, c) for c, first, second in decompositions()
                  if second and unicodedata.normalize("NFC", chr(c)) == chr(c))


def table(kind, name, rows, last_is_point):
    print(f"\nconst {kind} {name}[] = {{")
    cells = [f"{{ 0x{a:04x}, 0x{b:04x}, {f'0x{c:04x}' if last_is_point else c} }}," for a, b, c in rows]
    for i in range(0, len(cells), 4):
        print("    " + " ".join(cells[i:i + 4]))
    print(f"}};\nconst int {name}_count = {len(cells)};")


def write():
    print("/*\n * unicode_tables.c - written by tools/unicode_tables.py from Unicode "
          f"{unicodedata.unidata_version}; see unicode.c.\n */\n#include \"text/unicode.h\"")
    table("vr_unicode_range", "vr_unicode_classes", ranges(point_class), False)
    table("vr_unicode_range", "vr_unicode_combining", ranges(lambda c: unicodedata.combining(chr(c))), False)
    table("vr_unicode_pair", "vr_unicode_decompositions", list(decompositions()), True)
    table("vr_unicode_pair", "vr_unicode_compositions", compositions(), True)


def digest():
    """FNV-1a (64 bits) over all code points: their class; the UTF-8 of the normal form of one between e and two marks."""
    def add(h, data):
        for byte in data:
            h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
        return h
    classes = normal = 0xcbf29ce484222325
    for c in POINTS:
        classes = add(classes, bytes([point_class(c)]))
        normal = add(normal, unicodedata.normalize("NFC", f"e{chr(c)}\u0323\u0301").encode())
    print(f"Unicode {unicodedata.unidata_version}: classes 0x{classes:016x}, normal forms 0x{normal:016x}")


if __name__ == "__main__":
    digest() if sys.argv[1:] == ["--digest"] else write()
