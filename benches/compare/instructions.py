#!/usr/bin/env python3
"""What one call costs in user space, counted and not timed: instructions under callgrind, of Transom and of the floor.

    python3 benches/compare/instructions.py [--calls 1000] [--transom BINARY]        after: make compared

The same figure on every run, whatever else the machine is doing. Calls come one after the other, so nothing is shared
between two of them: under load both take fewer. System calls do not count, nor does what the caches make of it.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import compare
from compare import HERE, ROOT, REST, grpc_call, run

def count(gateway, core, calls, arguments):
    """Instructions a call; the first calls, which find nothing in the caches of ours, are left out."""
    pid = str(gateway.process.child.pid)
    load = ["h2load", "-t1", "-c1", "-m1", *arguments]
    run([*load, f"-n{max(calls // 4, 100)}"], core)
    control("--zero", pid)
    control("--instr=on", pid)
    text = run([*load, f"-n{calls}"], core)
    control("--instr=off", pid)
    if f" {calls} succeeded" not in text:
        sys.exit(f"{gateway.name}: {text}")
    before = set(dumps(gateway))
    control("--dump", pid)
    return sum(instructions(dump) for dump in set(dumps(gateway)) - before) / calls


def control(what, pid):
    subprocess.run(["callgrind_control", what, pid], capture_output=True, check=True)


def out(name):
    return ROOT / "target" / f"compare-callgrind-{name}"


def dumps(gateway):
    return out(gateway.name).parent.glob(f"{out(gateway.name).name}.*")


def instructions(dump):
    """The sum of what each line took itself: a total is written only for the thread that asked for the dump."""
    total, of_call = 0, False
    for line in pathlib.Path(dump).read_text().splitlines():
        if line.startswith("calls="):
            of_call = True
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            fields = line.split()
            total += 0 if of_call or len(fields) < 2 else int(fields[1])
            of_call = False
    return total


def main():
    arguments = argparse.ArgumentParser(description="Instructions a call")
    arguments.add_argument("--calls", type=int, default=1000)
    arguments.add_argument("--transom", type=pathlib.Path, help="another build of it than target/release/transom")
    arguments = arguments.parse_args()
    calls, compare.TRANSOM = arguments.calls, arguments.transom
    upstream = compare.start_upstream(1)

    def under(name):
        for old in out(name).parent.glob(f"{out(name).name}*"):
            old.unlink()
        return ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out(name)}"]

    transom = compare.start_transom(0, upstream, under=under("transom"))
    until_ready(transom)
    _, canned = compare.keep_answers(transom)
    floor = compare.start_floor(0, upstream, canned, under("floor"))
    print(f"Transom is {compare.build_measured().relative_to(ROOT)}")
    print(f"{'':<8}{'floor':>10}{'Transom':>10}")
    for name, call in [*((case[0], case) for case in REST), ("gRPC", None)]:
        counts = [count(gateway, 1, calls, arguments_of(gateway, call)) for gateway in (floor, transom)]
        print(f"{name:<8}{counts[0]:>10.0f}{counts[1]:>10.0f}   {counts[1] / counts[0]:.2f}")


def until_ready(gateway):
    """Under valgrind the port is open long before anybody answers there."""
    for _ in range(200):
        try:
            return compare.fetch(gateway.port, "GET", "/readyz", None)
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{gateway.name} is not ready: see target/compare-{gateway.name}.log")


def arguments_of(gateway, case):
    if case is None:
        return grpc_call(gateway)
    _, _, path, body = case
    data = ["-d", HERE / "post.json"] if body else []
    return ["--h1", "-H", "content-type: application/json", *data, f"http://127.0.0.1:{gateway.port}{path}"]


if __name__ == "__main__":
    try:
        main()
    finally:
        compare.stop_all()
