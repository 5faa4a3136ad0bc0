#!/usr/bin/env python3
"""Which functions a start and calls run, so that the linker puts them together: release/layout.ld, which build.rs gives it.

    make profile      or        python3 benches/layout.py        after: make compared        needs valgrind, h2load

The kernel maps the 64 KiB around each page that is touched. Scattered over the binary, the functions that run kept 12 of its
20 MB in memory; beside each other they keep 7. Names come without the hash that a compiler puts behind them, so that they hold
from one build to the next; what is missing here runs all the same, from where the linker puts it. The compiler sets apart
what the profile calls hot, of which a call of one dialect runs a part, and what it calls unlikely, of which a start runs some. To be
made anew after the profile, which changes what is inlined, and when a start or a call takes another way than it did.
"""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "compare"))

import compare
import instructions
from compare import REST, ROOT

SCRIPT = ROOT / "release" / "layout.ld"
CALLS = 100


def main():
    dumps = instructions.out("layout")
    for old in dumps.parent.glob(f"{dumps.name}*"):
        old.unlink()
    upstream = compare.start_upstream(1)
    counted = ["valgrind", "--tool=callgrind", "--demangle=no", "--compress-strings=no", f"--callgrind-out-file={dumps}"]
    transom = compare.start_transom(0, upstream, "layout", under=counted)
    instructions.until_ready(transom)
    started = dump(transom, dumps)
    for case in [*REST, None]:
        compare.run(["h2load", "-t1", "-c1", "-m1", f"-n{CALLS}", *instructions.arguments_of(transom, case)], 1)
    called = dump(transom, dumps)
    SCRIPT.write_text(script(sorted(called), sorted(started - called)))
    print(f"{len(called)} for calls and {len(started - called)} for a start, in {SCRIPT.relative_to(ROOT)}")


def dump(transom, dumps):
    """The functions of the binary that ran since the last one."""
    before = set(dumps.parent.glob(f"{dumps.name}.*"))
    instructions.control("--dump", str(transom.process.child.pid))
    new = set(dumps.parent.glob(f"{dumps.name}.*")) - before
    return {name for file in new for name in ran(file)}


def ran(file):
    own = False
    for line in file.read_text().splitlines():
        if line.startswith("ob="):
            # valgrind does not know whose what lies outside of .text is: ours does, once it has been laid out.
            own = line.endswith(("/transom", "=???"))
        elif own and (function := re.match(r"fn=([\w$.]+)", line)):
            yield pattern(function[1])


def pattern(function):
    """Its name, whatever a compiler puts behind it."""
    hashed = re.match(r"(_ZN.*17h)[0-9a-f]{16}E", function)
    return f"{hashed[1]}*" if hashed else re.sub(r"\.(llvm\.)?\d+$", "*", function)


def script(*groups):
    parts = "*(.text.hot.{0} .text.{0} .text.unlikely.{0})"
    named = "".join(f"    {parts.format(name)}\n" for group in groups for name in group)
    return f"""/* Made by benches/layout.py, which says why. */
SECTIONS
{{
  .text.used :
  {{
{named}    *(.text.hot .text.hot.*)
  }}
  .text.unlikely : {{ *(.text.unlikely .text.unlikely.*) }}
}}
INSERT BEFORE .text;
"""


if __name__ == "__main__":
    try:
        main()
    finally:
        compare.stop_all()
