#!/usr/bin/env python3
"""A build of Transom that is laid out by how it runs: compiled, run under load, and compiled again with what that has shown.

    make release-pgo      or        python3 benches/pgo.py [cargo's arguments]        → target/pgo/transom

The load is that of benches/compare: GET, list and POST of the booking system over HTTP/1.1, gRPC, a reply that is kept, and a GET with
breaker and limits. What it never reaches is compiled as ever, or to be small. Takes two builds of everything, in a folder of their own,
target/pgo: no other build is touched, and none needs this one. LLVM reads its own profiles alone: its `llvm-profdata` comes with
`rustup component add llvm-tools`, and must be of the compiler's version.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "compare"))

import compare
import cost
from compare import REST, ROOT

PGO = ROOT / "target" / "pgo"
RAW = PGO / "raw"
PROFILE = PGO / "transom.profdata"
SECONDS = 3


def main():
    profdata, host = merger()
    # From nothing: cargo does not see that a profile has changed.
    shutil.rmtree(PGO, ignore_errors=True)
    cargo("--package", "transom-benches", "--bin", "upstream")
    train(transom(host, f"-Cprofile-generate={RAW}"))
    subprocess.run([profdata, "merge", "--output", PROFILE, RAW], check=True)
    shutil.copy2(transom(host, f"-Cprofile-use={PROFILE}"), PGO / "transom")
    print("built target/pgo/transom")


def merger():
    """The `llvm-profdata` of the compiler's LLVM, and what that compiles for; asked before anything is built."""
    said = compiler("--version", "--verbose")
    host = re.search(r"^host: (.*)$", said, re.MULTILINE)[1]
    version = re.search(r"^LLVM version: (\d+)", said, re.MULTILINE)[1]
    beside = pathlib.Path(compiler("--print", "target-libdir").strip()).parent / "bin" / "llvm-profdata"
    for program in (beside, f"llvm-profdata-{version}"):
        if found := shutil.which(program):
            return found, host
    sys.exit(f"llvm-profdata of LLVM {version} is missing: rustup component add llvm-tools")


def compiler(*arguments):
    return subprocess.run(["rustc", *arguments], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def transom(host, flag):
    """The binary; `--target` keeps the flag away from what runs during the build."""
    flags = f"{os.environ.get('RUSTFLAGS', '')} {flag}".strip()
    cargo("--bin", "transom", "--target-dir", PGO / "build", "--target", host, *sys.argv[1:], RUSTFLAGS=flags)
    return PGO / "build" / host / "release" / "transom"


def cargo(*arguments, **environment):
    command = ["cargo", "build", "--quiet", "--release", "--locked", *arguments]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **environment})


def train(binary):
    """Runs it under load, one gateway after the other; each leaves its profile when it ends."""
    compare.TRANSOM = binary
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[0], cores[-1]
    upstream = compare.start_upstream(last)

    def loaded(gateway, *loads):
        for drive, case in loads:
            drive(gateway, last, SECONDS, case)
        gateway.process.stop()

    every = [(compare.saturate, case) for case in REST]
    loaded(compare.start_transom(first, upstream), *every, (compare.grpc, None))
    loaded(compare.start_cached(first, upstream), (compare.saturate, REST[1]))
    gates = cost.config("trained", [upstream], cost.ENDPOINTS, cost.LIMITS)
    loaded(compare.start_transom(first, upstream, "trained", gates), (compare.saturate, REST[0]))


if __name__ == "__main__":
    try:
        main()
    finally:
        compare.stop_all()
