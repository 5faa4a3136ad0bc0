#!/usr/bin/env python3
"""What balancer, breaker, outlier ejection and limits cost a call: instructions of the same GET with each of them more.

    python3 benches/compare/cost.py [--calls 1000] [--binaries target/release]        needs valgrind and h2load

Counted under callgrind in user space, one call after the other: nearly the same figure on every run, whatever else the machine is
doing.
"""

import argparse
import pathlib

import compare
import instructions
from compare import DESCRIPTORS, REST, ROOT

ENDPOINTS = """
    circuit_breaker: { failures: 5 }
    outlier_ejection: { error_rate: 50%, latency_factor: 5 }
    limits: { in_flight: 1000 }
"""
RATE = "rate_limits: { public: { by: client, rate: 1000000/s } }\n"
BURST = "burst_guard: { rate: 1000000/s, burst: 1000000 }\n"
IN_FLIGHT = "overload: { in_flight: 10000 }\n"
LIMITS = IN_FLIGHT + RATE + BURST

# Name, endpoints, keys of the upstream, keys beside it: each has what those before it have.
STEPS = [
    ("one endpoint", 1, "", ""),
    ("four by weight, breaker, ejection, in-flight bounds", 4, ENDPOINTS, IN_FLIGHT),
    ("adaptive concurrency", 4, "    adaptive_concurrency: {}\n", ""),
    ("a rate limit by client", 4, "", RATE),
    ("the burst guard", 4, "", BURST),
]


def config(name, upstreams, keys, more):
    """A file for these services, with keys of their upstream and beside it."""
    endpoints = ", ".join(f'{{ address: "127.0.0.1:{port}", weight: {at % 2 + 1} }}' for at, port in enumerate(upstreams))
    file = ROOT / "target" / f"compare-{name}.yaml"
    file.write_text(f"""
listen: "127.0.0.1:${{PORT}}"
admin: {{ listen: "127.0.0.1:${{ADMIN_PORT}}" }}
workers: 1
schema: {{ descriptor_sets: ["{DESCRIPTORS}"] }}
upstreams:
  ticket:
    services: [ticket.TicketService]
    endpoints: [{endpoints}]
{keys}{more}
""")
    return file


def gateway(name, upstreams, keys, more):
    file = config(name, upstreams, keys, more)
    for old in instructions.out(name).parent.glob(f"{instructions.out(name).name}.*"):
        old.unlink()
    under = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={instructions.out(name)}"]
    started = compare.start_transom(0, upstreams[0], name, file, under)
    instructions.until_ready(started)
    return started


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--calls", type=int, default=1000)
    arguments.add_argument("--binaries", type=pathlib.Path, default=compare.BINARIES)
    arguments = arguments.parse_args()
    compare.BINARIES = arguments.binaries
    upstreams = [compare.start_upstream(1) for _ in range(4)]
    before, keys, more = None, "", ""
    for at, (what, endpoints, key, beside) in enumerate(STEPS):
        keys, more = keys + key, more + beside
        started = gateway(f"cost-{at}", upstreams[:endpoints], keys, more)
        count = instructions.count(started, 1, arguments.calls, instructions.arguments_of(started, REST[0]))
        started.process.stop()
        print(f"{what:52} {count:8.0f} instructions a call" + (f" {count - before:+8.0f}" if before else ""))
        before = count


if __name__ == "__main__":
    try:
        main()
    finally:
        compare.stop_all()
