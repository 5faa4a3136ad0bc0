#!/usr/bin/env python3
"""What balancer, breaker, outlier counts and limits cost a call, in instructions of user space.

    python3 benches/compare/cost.py [--calls 20000]        builds the unit tests with --release; needs valgrind

The test `upstream::tests::cost` makes so many calls that only pass these and go nowhere. It runs twice under callgrind, with the calls and
without, and what is more is theirs: the same figure on every run, whatever else the machine is doing.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEST = "upstream::tests::cost::of_balancer_breaker_and_limits"


def binary():
    """The unit tests, built."""
    command = ["cargo", "test", "--release", "-p", "transom", "--lib", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    built = (json.loads(line) for line in lines if line.startswith("{"))
    return next(line["executable"] for line in built if line.get("executable") and line["target"]["name"] == "transom")


def instructions(tests, calls):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", tests, "--exact", TEST, "--ignored"]
    ran = subprocess.run(command, env={**os.environ, "CALLS": str(calls)}, check=True, capture_output=True, text=True)
    return int(re.search(r"Collected : (\d+)", ran.stderr)[1])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--calls", type=int, default=20_000)
    calls = arguments.parse_args().calls
    tests = binary()
    each = (instructions(tests, 2 * calls) - instructions(tests, calls)) / calls
    print(f"{each:.0f} instructions a call: {each / 3:.0f} ns at one a cycle and 3 GHz, of 500 that it may take")


if __name__ == "__main__":
    main()
