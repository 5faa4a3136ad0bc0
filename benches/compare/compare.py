#!/usr/bin/env python3
"""Transom beside Envoy and beside the floor, on one machine, in turn.

    make bench            or        python3 benches/compare/compare.py [--repetitions 5] [--seconds 3] [--only transom] [--transom BINARY]

One canned gRPC upstream stands behind three gateways: Transom (`examples/booking/bench.yaml`), Envoy with its gRPC-JSON
transcoder on the same descriptors, and the floor (`benches/src/bin/floor.rs`), which translates nothing. Each gateway
has one worker on the first core; the load and the upstream have the last. Repetitions are interleaved, so that a machine
that changes its speed changes it for all. What is printed per case is the median of: the gateway's CPU time per request
(utime + stime of its process), requests per second, p50 and p99; then RSS, time to readiness and the ratios.

All traffic stays on loopback, every run is bounded by --seconds, and every process started here is ended here.
"""

import argparse
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
BINARIES = ROOT / "target" / "release"
TRANSOM = None  # which build of it, if not the one in BINARIES
DESCRIPTORS = ROOT / "descriptors" / "booking.binpb"
TICK = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 32
FIXED_RATE = 4000
CACHED_LIST = "cached list, saturated"

# name, method, path, body
REST = [
    ("get", "GET", "/api/v1/events/evt_rock_night", None),
    ("list", "GET", "/api/v1/events", None),
    ("post", "POST", "/api/v1/bookings", (HERE / "post.json").read_text()),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """One process on one core, with its CPU time and memory; ended with the script."""

    all = []

    def __init__(self, name, core, command, **environment):
        self.name, self.started = name, time.monotonic()
        log = open(ROOT / "target" / f"compare-{name}.log", "w")
        self.child = subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)],
            stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **environment},
        )
        Process.all.append(self)

    def wait_for(self, port):
        while time.monotonic() - self.started < 20:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return time.monotonic() - self.started
            except OSError:
                if self.child.poll() is not None:
                    break
                time.sleep(0.001)
        sys.exit(f"{self.name} did not start: see target/compare-{self.name}.log")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss(self):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()


class Gateway:
    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port
        self.ready = process.wait_for(port)


def build_measured():
    return (TRANSOM or BINARIES / "transom").absolute()


def start_transom(core, upstream, name="transom", config=ROOT / "examples" / "booking" / "bench.yaml", under=()):
    port, admin = free_port(), free_port()
    address = f"127.0.0.1:{upstream}"
    services = {f"GRPC_{name}_SERVICE_URL": address for name in ("AUTH", "TICKET", "BOOKING", "PAYMENT", "QUEUE")}
    process = Process(
        name, core, [*under, build_measured(), "serve", "--config", config],
        PORT=str(port), ADMIN_PORT=str(admin), WORKERS="1", **services,
    )
    return Gateway(name, process, port)


def start_cached(core, upstream):
    """Transom that keeps the list of events."""
    text = (ROOT / "examples" / "booking" / "bench.yaml").read_text().replace("../../descriptors/booking.binpb", str(DESCRIPTORS))
    file = ROOT / "target" / "compare-cached.yaml"
    kept = "methods:\n  ticket.TicketService/GetEvents: { cache: { ttl: 1h, public: true, vary: [] } }\n"
    file.write_text(text.replace("methods:\n", kept, 1))
    return start_transom(core, upstream, "cached", file)


def start_upstream(core):
    port = free_port()
    process = Process("upstream", core, [BINARIES / "upstream", f"127.0.0.1:{port}", DESCRIPTORS, HERE / "replies"])
    process.wait_for(port)
    return port


def start_envoy(core, upstream):
    envoy = next((ROOT / "target" / "envoy").glob("lib/python*/site-packages/envoy/_bin/envoy"), None)
    if envoy is None:
        sys.exit("Envoy is missing: .ci/install envoy")
    port = free_port()
    config = (HERE / "envoy.yaml").read_text()
    config = config.replace("@PORT@", str(port)).replace("@UPSTREAM@", str(upstream))
    config = config.replace("@DESCRIPTORS@", str(DESCRIPTORS))
    file = ROOT / "target" / "compare-envoy.yaml"
    file.write_text(config)
    process = Process("envoy", core, [envoy, "-c", file, "--concurrency", "1", "--log-level", "warn", "--use-dynamic-base-id"])
    return Gateway("envoy", process, port)


def start_floor(core, upstream, canned, under=()):
    port = free_port()
    process = Process("floor", core, [*under, BINARIES / "floor", f"127.0.0.1:{port}", f"127.0.0.1:{upstream}", canned])
    return Gateway("floor", process, port)


def fetch(port, method, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body and body.encode(), method=method)
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=5) as reply:
        return reply.read().decode()


def keep_answers(transom):
    """What it answers, and the folder where the floor finds that."""
    answers = {name: fetch(transom.port, method, path, body) for name, method, path, body in REST}
    canned = ROOT / "target" / "compare-canned"
    canned.mkdir(exist_ok=True)
    for name, answer in answers.items():
        (canned / f"{name}.json").write_text(answer)
    return answers, canned


def milliseconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def run(command, core):
    return subprocess.run(["taskset", "-c", str(core), *map(str, command)], capture_output=True, text=True, check=True).stdout


def saturate(gateway, core, seconds, case):
    """wrk at saturation: requests, seconds, p50, p99."""
    name, method, path, body = case
    script = pathlib.Path(tempfile.gettempdir()) / f"compare-{os.getpid()}.lua"
    script.write_text(
        f'wrk.method = "{method}"\nwrk.headers["content-type"] = "application/json"\n'
        + (f"wrk.body = [==[{body}]==]\n" if body else "")
    )
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script, f"http://127.0.0.1:{gateway.port}{path}"]
    text = run(command, core)
    script.unlink()
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"{gateway.name} {name}: {text}")
    requests, took = re.search(r"(\d+) requests in ([\d.]+\w+)", text).groups()
    latency = [milliseconds(re.search(rf"{at}%\s+([\d.]+\w+)", text)[1]) for at in (50, 99)]
    return int(requests), milliseconds(took) / 1e3, *latency


def h2load(gateway, core, arguments):
    """h2load: requests, seconds, p50 (its mean), p99 (its maximum is not one; none)."""
    text = run(["h2load", *arguments], core)
    found = re.search(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed", text)
    took = re.search(r"finished in ([\d.]+\w+)", text)[1]
    if int(found[3]):
        sys.exit(f"{gateway.name}: {text}")
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+(\S+)", text)[1]
    return int(found[2]), milliseconds(took) / 1e3, milliseconds(mean), float("nan")


def fixed_rate(gateway, core, seconds, case):
    url = f"http://127.0.0.1:{gateway.port}{case[2]}"
    per_client = FIXED_RATE // 20
    return h2load(gateway, core, ["--h1", "-t1", "-c20", f"--rps={per_client}", f"-D{seconds}", url])


def grpc(gateway, core, seconds, case):
    return h2load(gateway, core, ["-t1", "-c8", "-m8", f"-D{seconds}", *grpc_call(gateway)])


def grpc_call(gateway):
    data = ROOT / "target" / "compare-request.bin"
    data.write_bytes(b"\0\0\0\0\x10\x0a\x0eevt_rock_night")
    url = f"http://127.0.0.1:{gateway.port}/ticket.TicketService/GetEventById"
    return ["-d", data, "-H", "content-type: application/grpc", "-H", "te: trailers", url]


def takers(gateways, label):
    """Who takes part in a case: a list that is kept is held against the floor, which asks for it each time."""
    names = ("floor", "cached") if label == CACHED_LIST else ("floor", "transom", "envoy")
    return [gateways[name] for name in gateways if name in names]


def main():
    arguments = argparse.ArgumentParser(description="Transom beside Envoy and the floor")
    arguments.add_argument("--repetitions", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=3)
    arguments.add_argument("--only", choices=["transom", "envoy", "floor", "cached"], action="append")
    arguments.add_argument("--transom", type=pathlib.Path, help="another build of it than target/release/transom")
    arguments = arguments.parse_args()
    global TRANSOM
    TRANSOM = arguments.transom
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[0], cores[-1]
    wanted = arguments.only or ["floor", "transom", "envoy", "cached"]

    (ROOT / "target").mkdir(exist_ok=True)
    upstream_port = start_upstream(last)
    transom = start_transom(first, upstream_port)
    answers, canned = keep_answers(transom)
    gateways = {"transom": transom}
    if "envoy" in wanted:
        gateways["envoy"] = start_envoy(first, upstream_port)
        for name, method, path, body in REST:
            answer = fetch(gateways["envoy"].port, method, path, body)
            if json.loads(answer) != json.loads(answers[name]):
                sys.exit(f"Envoy and Transom answer {name} differently:\n{answer}\n{answers[name]}")
        print("answers of Envoy and Transom are equal")
    if "floor" in wanted:
        gateways["floor"] = start_floor(first, upstream_port, canned)
    if "cached" in wanted:
        gateways["cached"] = start_cached(first, upstream_port)
        if fetch(gateways["cached"].port, *REST[1][1:]) != answers["list"]:
            sys.exit("a kept answer is another one")
    gateways = {name: gateways[name] for name in wanted}

    cases = [(f"{case[0]}, saturated", saturate, case) for case in REST]
    cases += [(f"get, {FIXED_RATE}/s", fixed_rate, REST[0]), ("gRPC get, saturated", grpc, REST[0])]
    if "cached" in gateways:
        cases.append((CACHED_LIST, saturate, REST[1]))
    figures = {}
    for repetition in range(arguments.repetitions + 1):
        for label, drive, case in cases:
            for gateway in takers(gateways, label):
                seconds = arguments.seconds if repetition else 2  # the first is a warm-up
                before = gateway.process.cpu()
                requests, took, p50, p99 = drive(gateway, last, seconds, case)
                cpu = (gateway.process.cpu() - before) / requests * 1e6
                if repetition:
                    figures.setdefault((label, gateway.name), []).append((cpu, requests / took, p50, p99))

    sizes = ", ".join(f"{name} {len(answer)} B" for name, answer in answers.items())
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"{model[1] if model else 'unknown CPU'}; {time.strftime('%Y-%m-%d')}; {arguments.repetitions} × {arguments.seconds} s; {sizes}")
    print(f"transom is {os.path.relpath(build_measured(), ROOT)}\n")
    print(f"{'case':<22}{'gateway':<10}{'CPU µs/req':>11}{'req/s':>9}{'p50 ms':>8}{'p99 ms':>8}   CPU: min–max")
    for label, _, _ in cases:
        medians = {}
        for name in (gateway.name for gateway in takers(gateways, label)):
            rows = figures[label, name]
            median = [statistics.median(column) for column in zip(*rows)]
            medians[name] = median[0]
            low, high = min(row[0] for row in rows), max(row[0] for row in rows)
            p99 = "–" if median[3] != median[3] else f"{median[3]:.2f}"
            print(f"{label:<22}{name:<10}{median[0]:>11.1f}{median[1]:>9.0f}{median[2]:>8.2f}{p99:>8}   {low:.1f}–{high:.1f}")
        own = "cached" if label == CACHED_LIST else "transom"
        ratios = [f"{own} / {other} {medians[own] / medians[other]:.2f}" for other in medians if other != own and own in medians]
        print(f"{'':<22}{', '.join(ratios)}")
    for gateway in gateways.values():
        print(f"{gateway.name}: peak RSS {gateway.process.rss():.1f} MB, ready after {gateway.ready * 1e3:.0f} ms")


def stop_all():
    for process in reversed(Process.all):
        process.stop()


if __name__ == "__main__":
    try:
        main()
    finally:
        stop_all()
