#!/usr/bin/env python3
"""What clients notice when endpoints die: under a load at a fixed rate, endpoints are killed and started again.

    cargo build --release -p transom -p transom-benches --bins
    python3 benches/faults.py [--rate 5000] [--restarts 200] [--churn 60] [--only CASE]… [--binaries target/release]

Four canned gRPC upstreams (`benches/src/bin/upstream.rs`) stand behind one gateway with `retry: {}` and a breaker. h2load
sends GETs at a fixed rate and logs each answer. Four cases:

    killed    one of four gets SIGKILL: failed calls, and when p99 is back at what it was
    dead      all four get SIGKILL: how soon errors come, and how soon after one is back the answers are good
    rolling   one after the other is killed or ended and started again, under a fifth of the load: failed calls
    churn     connections that come, say something whole, broken or half, and go: the gateway's memory

All traffic stays on loopback, every case is bounded in time, and every process started here is ended here.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
REPLIES = ROOT / "benches" / "compare" / "replies"
DESCRIPTORS = ROOT / "descriptors" / "booking.binpb"
PATH = "/api/v1/events/evt_rock_night"
CLIENTS = 50
OPEN_FOR = 1.0
WINDOW = 0.1

started = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*command):
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    started.append(child)
    return child


class Upstream:
    def __init__(self, binaries):
        self.binaries, self.port = binaries, free_port()
        self.begin()

    def begin(self):
        self.child = start(self.binaries / "upstream", f"127.0.0.1:{self.port}", DESCRIPTORS, REPLIES)

    def end(self, how):
        self.child.send_signal(how)
        self.child.wait(5)


class Gateway:
    def __init__(self, binaries, upstreams):
        self.port, self.admin = free_port(), free_port()
        endpoints = ", ".join(f'"127.0.0.1:{upstream.port}"' for upstream in upstreams)
        self.config = pathlib.Path(tempfile.mkdtemp()) / "transom.yaml"
        self.config.write_text(
            f"listen: 127.0.0.1:{self.port}\nadmin: {{ listen: \"127.0.0.1:{self.admin}\" }}\nworkers: 1\n"
            f"schema: {{ descriptor_sets: [{DESCRIPTORS}] }}\nupstreams:\n  ticket:\n"
            f"    services: [ticket.TicketService]\n    endpoints: [{endpoints}]\n    retry: {{}}\n"
            f"    circuit_breaker: {{ failures: 5, open_for: {int(OPEN_FOR * 1000)}ms, probes: 1 }}\n"
        )
        self.child = start(binaries / "transom", "serve", "--config", self.config)

    def get(self, port, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def usable(self):
        upstreams = json.loads(self.get(self.admin, "/upstreams")[1])["upstreams"]
        return sum(endpoint["usable"] for endpoint in upstreams[0]["endpoints"])


def until(what, holds, patience=20.0):
    begun = time.monotonic()
    while time.monotonic() - begun < patience:
        try:
            if holds():
                return time.monotonic() - begun
        except OSError:
            pass
        time.sleep(0.002)
    sys.exit(f"{what}: not within {patience} s")


class Load:
    """h2load over HTTP/1.1 at a fixed rate, for so many seconds; each answer is (seconds since the epoch, status, seconds)."""

    def __init__(self, gateway, rate, seconds):
        self.log = pathlib.Path(tempfile.mkdtemp()) / "h2load.log"
        self.child = start(
            "h2load", "--h1", "-t1", f"-c{CLIENTS}", f"--rps={rate // CLIENTS}", f"-D{seconds}", f"--log-file={self.log}",
            f"http://127.0.0.1:{gateway.port}{PATH}",
        )
        self.seconds = seconds

    def answers(self):
        self.child.wait(self.seconds + 30)
        rows = (line.split() for line in self.log.read_text().splitlines())
        return sorted((int(begun) / 1e6, int(status), int(took) / 1e6) for begun, status, took in rows)


def failures(answers):
    """How many failed, and by what."""
    by = collections.Counter(status for _, status, _ in answers if status != 200)
    total = sum(by.values())
    return f"{total} failed" + (f" ({', '.join(f'{count} by {status}' for status, count in sorted(by.items()))})" if by else "")


def p99(times):
    return sorted(times)[int(len(times) * 0.99)] if times else float("nan")


def killed(gateway, upstreams, rate):
    load = Load(gateway, rate, 12)
    time.sleep(6)
    at = time.time()
    upstreams[1].end(signal.SIGKILL)
    answers = load.answers()
    upstreams[1].begin()
    until("all are back", lambda: gateway.usable() == 4)
    window = lambda begin: [took for begun, _, took in answers if begin <= begun < begin + WINDOW]
    before = statistics.median(p99(window(at - 4 + step * WINDOW)) for step in range(40))
    worst, back = 0.0, None
    for step in range(50):
        now = p99(window(at + step * WINDOW))
        worst = max(worst, now)
        if now > 2 * before:
            back = None
        elif back is None:
            back = step * WINDOW
    print(
        f"killed   {len(answers)} calls at {len(answers) / 12:.0f}/s, {failures(answers)}; p99 before {before * 1e3:.2f} ms, worst {WINDOW:g} s after "
        f"{worst * 1e3:.2f} ms, at most twice what it was from {'never' if back is None else f'{back:.1f} s'} on; "
        f"slowest call {max(took for *_, took in answers) * 1e3:.1f} ms"
    )


def dead(gateway, upstreams):
    for upstream in upstreams:
        upstream.end(signal.SIGKILL)
    until("errors", lambda: gateway.get(gateway.port, PATH)[0] == 503)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    times, statuses = [], set()
    for _ in range(1000):
        begun = time.perf_counter()
        connection.request("GET", PATH)
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - begun)
        statuses.add(answer.status)
    # Long enough that it is asked as seldom as it ever is.
    time.sleep(10)
    upstreams[0].begin()
    until("it listens", lambda: socket.create_connection(("127.0.0.1", upstreams[0].port), 0.2).close() is None)
    back = until("it answers", lambda: gateway.get(gateway.port, PATH)[0] == 200)
    for upstream in upstreams[1:]:
        upstream.begin()
    until("all are back", lambda: gateway.usable() == 4)
    print(
        f"dead     {sorted(statuses)} in {statistics.median(times) * 1e3:.2f} ms (p50), {p99(times) * 1e3:.2f} ms (p99), {max(times) * 1e3:.2f} ms (max); "
        f"good {back:.2f} s after one listens again (breaker open for {OPEN_FOR:g} s)"
    )


def rolling(gateway, upstreams, rate, restarts):
    answers, stop = [], threading.Event()

    def drive():
        while not stop.is_set():
            answers.extend(Load(gateway, rate, 5).answers())

    driver = threading.Thread(target=drive)
    driver.start()
    begun = time.monotonic()
    try:
        for restart in range(restarts):
            upstream = upstreams[restart % len(upstreams)]
            upstream.end(signal.SIGKILL if restart % 2 else signal.SIGTERM)
            time.sleep(0.05)
            upstream.begin()
            until("it is back", lambda: gateway.usable() == 4)
    finally:
        took = time.monotonic() - begun
        stop.set()
        driver.join()
    print(f"rolling  {restarts} restarts in {took:.0f} s, {len(answers)} calls at about {rate}/s, {failures(answers)}; p99 {p99([took for *_, took in answers]) * 1e3:.2f} ms")


def h2_frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def churn(gateway, seconds):
    host = f"GET {PATH} HTTP/1.1\r\nHost: a\r\n".encode()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, b"")
    path = PATH.encode()
    block = b"\x82\x86\x04" + bytes([len(path)]) + path + b"\x01\x01a"
    visits = [
        host + b"Connection: close\r\n\r\n",
        host + b"X-Half: ",
        b"\x16\x03\x01 no TLS here \r\n\r\n",
        preface + h2_frame(1, 5, 1, block),
        preface + h2_frame(1, 5, 1, block) + h2_frame(3, 0, 1, b"\0\0\0\x08"),
        preface + h2_frame(1, 0, 1, block[:5]),
        preface + h2_frame(8, 0, 0, b"\0\0\0\0"),
        preface + h2_frame(1, 5, 1, b"\x80"),
        preface + h2_frame(0, 0, 0, b"x" * 100),
    ]
    rss = lambda: int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{gateway.child.pid}/status").read_text())[1]) / 1024
    begun, made, figures = time.monotonic(), 0, []
    while time.monotonic() - begun < seconds:
        for visit in visits:
            with socket.create_connection(("127.0.0.1", gateway.port), 5) as client:
                client.sendall(visit)
                if made % 3 == 0:
                    client.settimeout(0.05)
                    try:
                        client.recv(65536)
                    except OSError:
                        pass
            made += 1
        if time.monotonic() - begun >= len(figures) * seconds / 10:
            figures.append(rss())
    figures.append(rss())
    print(f"churn    {made} connections in {seconds} s; RSS in MB from start to end: {', '.join(f'{figure:.1f}' for figure in figures)}")


def main():
    arguments = argparse.ArgumentParser(description="What clients notice when endpoints die")
    arguments.add_argument("--rate", type=int, default=5000, help="calls a second")
    arguments.add_argument("--restarts", type=int, default=200)
    arguments.add_argument("--churn", type=int, default=60, help="seconds")
    arguments.add_argument("--only", action="append", choices=["killed", "dead", "rolling", "churn"], help="this case; may be given again")
    arguments.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target" / "release")
    arguments = arguments.parse_args()
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"{model[1] if model else 'unknown CPU'}, {os.cpu_count()} cores; {time.strftime('%Y-%m-%d')}; {arguments.rate}/s, {CLIENTS} clients\n")
    upstreams = [Upstream(arguments.binaries) for _ in range(4)]
    gateway = Gateway(arguments.binaries, upstreams)
    until("it serves", lambda: gateway.get(gateway.port, PATH)[0] == 200)
    until("all are usable", lambda: gateway.usable() == 4)
    cases = {
        "killed": lambda: killed(gateway, upstreams, arguments.rate),
        "dead": lambda: dead(gateway, upstreams),
        "rolling": lambda: rolling(gateway, upstreams, arguments.rate // 5, arguments.restarts),
        "churn": lambda: churn(gateway, arguments.churn),
    }
    for name, case in cases.items():
        if not arguments.only or name in arguments.only:
            case()


try:
    main()
finally:
    for child in started:
        if child.poll() is None:
            child.kill()
            child.wait(5)
