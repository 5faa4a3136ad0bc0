#!/usr/bin/env python3
"""What clients cost that do nothing, or too much: idle and slow ones by memory, and a flood by what others feel of it.

    python3 benches/compare/clients.py [--idle 10000] [--slow 1000] [--tls 2000] [--seconds 5]      needs h2load and openssl

Transom has one worker on the first core; the load and the upstream have the last. Printed are the resident memory that an idle
keep-alive connection adds, plain and over TLS; the latency of 1,000 calls a second alone, and beside all those connections with
slow ones that drip a byte of a head each second, at a port that nobody reads (what the machine makes of them) and at
the gateway; and of a client within its limit, alone and beside one that comes ten times as often as its own allows. Every run is
bounded, and everything started here is ended here. Under `chrt -r 1` what is measured stands before whatever else the machine
does; the slow ones stand behind it always.
"""

import argparse
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
PATH = "/api/v1/events/evt_rock_night"
RATE = 1000
LIMIT = 2000
started = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(core, port, *command):
    child = subprocess.Popen(
        ["taskset", "-c", str(core), *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    started.append(child)
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return child
        except OSError:
            time.sleep(0.01)
    sys.exit(f"{command[0]} did not start")


def stop(child):
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()


def gateway(binaries, core, upstream, more):
    """A gateway of this configuration, its port."""
    port, admin = free_port(), free_port()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="transom-clients-"))
    config = folder / "transom.yaml"
    config.write_text(f"""
listen: 127.0.0.1:{port}
admin: {{ listen: "127.0.0.1:{admin}" }}
workers: 1
schema: {{ descriptor_sets: ["{ROOT / 'descriptors' / 'booking.binpb'}"] }}
upstreams: {{ ticket: {{ services: [ticket.TicketService], endpoints: ["127.0.0.1:{upstream}"] }} }}
{more}
""")
    return start(core, port, binaries / "transom", "serve", "--config", config), port


def rss(child):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{child.pid}/status").read_text())[1])


def cpu(child):
    """Seconds of CPU that it has had."""
    fields = pathlib.Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def settled(child):
    """Resident memory in KiB, once it stands still."""
    before = -1
    while (now := rss(child)) != before:
        before = now
        time.sleep(0.5)
    return now


def latency(core, seconds, port, rate=RATE, headers=()):
    """p50 and p99 in milliseconds of calls at a fixed rate, and how many got which status."""
    with tempfile.NamedTemporaryFile() as log:
        arguments = ["--h1", "-t1", "-c10", f"--rps={rate // 10}", f"-D{seconds}", f"--log-file={log.name}"]
        headers = [part for header in headers for part in ("-H", header)]
        command = ["taskset", "-c", str(core), "h2load", *arguments, *headers, f"http://127.0.0.1:{port}{PATH}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = [line.split("\t") for line in pathlib.Path(log.name).read_text().splitlines()]
    times = sorted(int(row[2]) for row in rows)
    statuses = {}
    for row in rows:
        statuses[row[1]] = statuses.get(row[1], 0) + 1
    return times[len(times) // 2] / 1e3, times[len(times) * 99 // 100] / 1e3, statuses


def call(connection):
    connection.sendall(f"GET {PATH} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    assert head.startswith(b"HTTP/1.1 200"), head
    head, body = head.split(b"\r\n\r\n", 1)
    left = int(re.search(rb"content-length: (\d+)", head)[1]) - len(body)
    while left:
        left -= len(connection.recv(left))


def idle(child, port, count, wrap=lambda connection: connection):
    """So many connections that have made one call each, and what one of them adds, in KiB."""
    warm = [wrap(socket.create_connection(("127.0.0.1", port))) for _ in range(50)]
    for connection in warm:
        call(connection)
    before = settled(child)
    kept = []
    for _ in range(count):
        kept.append(wrap(socket.create_connection(("127.0.0.1", port))))
        call(kept[-1])
    at_once = (settled(child) - before) / count
    # After ten seconds or two looks at it a connection is at rest.
    time.sleep(25)
    print(f"  of {count} that have just made a call: {at_once:.1f} KiB each")
    return warm + kept, (settled(child) - before) / count


class Slow:
    """Clients whose heads never end: a byte each second, all at the same moment. One that is cut off comes again.

    They run in a process of their own at the load's core, after the load: theirs is not to be in the way of the other's.
    """

    def __init__(self, core, port, count, life=None):
        numbers = f"{port},{count},{life or 0}"
        command = ["nice", "-n", "19", "taskset", "-c", str(core), sys.executable, __file__, "--drip", numbers]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(self.child)
        self.child.stdout.readline()

    def end(self):
        """How many were cut off."""
        return int(self.child.communicate("")[0])


def drip(port, count, life):
    """What `Slow` runs, until its input ends. With a life, clients leave by themselves after so many bytes."""

    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    def begin():
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
        return connection

    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    connections, cut, said = [begin() for _ in range(count)], 0, 0
    print("here", flush=True)
    while not over.wait(1):
        said += 1
        for at, connection in enumerate(connections):
            try:
                connection.send(b"a", socket.MSG_DONTWAIT)
                if life and said % life == 0 or connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b"":
                    raise ConnectionError
            except BlockingIOError:
                continue
            except OSError:
                cut += 1
                connection.close()
                connections[at] = begin()
    print(cut)


def idle_and_slow(arguments, first, last, upstream):
    child, port = gateway(arguments.binaries, first, upstream, "clients: { idle_timeout: 10m, connections: 20000 }")
    latency(last, 2, port)
    print(f"RSS after a warm-up: {rss(child) / 1024:.1f} MiB")
    alone = latency(last, arguments.seconds, port)
    kept, each = idle(child, port, arguments.idle)
    print(f"an idle HTTP/1.1 connection of {arguments.idle}: {each:.1f} KiB")
    beside_idle = latency(last, arguments.seconds, port)
    # Long enough for heads to be cut off after their ten seconds.
    seconds = max(arguments.seconds, 12)
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as nobody:
        slow = Slow(last, nobody.getsockname()[1], arguments.slow, life=10)
        control = latency(last, seconds, port)
        slow.end()
    slow = Slow(last, port, arguments.slow)
    before = cpu(child)
    beside_slow = latency(last, seconds, port)
    used = cpu(child) - before
    cut = slow.end()
    before = cpu(child)
    latency(last, seconds, port)
    more = (used - (cpu(child) - before)) / seconds
    for name, (p50, p99, statuses) in [("alone", alone), (f"beside {arguments.idle} idle", beside_idle),
                                       (f"and {arguments.slow} slow elsewhere, where nobody reads", control),
                                       (f"and {arguments.slow} slow here ({cut} cut off)", beside_slow)]:
        print(f"{RATE}/s {name}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {statuses}")
    print(f"the slow ones took {more * 1e3:.1f} ms of CPU a second")
    print(f"RSS at the end: {rss(child) / 1024:.1f} MiB")
    for connection in kept:
        connection.close()
    stop(child)


def idle_tls(arguments, first, last, upstream):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="transom-clients-"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    more = f"tls: {{ cert: {folder}/tls.crt, key: {folder}/tls.key }}\nclients: {{ idle_timeout: 10m }}"
    child, port = gateway(arguments.binaries, first, upstream, more)
    context = ssl.create_default_context(cafile=folder / "tls.crt")
    context.check_hostname = False
    kept, each = idle(child, port, arguments.tls, lambda plain: context.wrap_socket(plain))
    print(f"an idle HTTP/1.1 connection of {arguments.tls} over TLS: {each:.1f} KiB")
    for connection in kept:
        connection.close()
    stop(child)


def flood(arguments, first, last, upstream):
    more = f"""
trusted_proxies: [127.0.0.1]
rate_limits: {{ public: {{ by: client, rate: {LIMIT}/s }} }}
"""
    child, port = gateway(arguments.binaries, first, upstream, more)
    good = ["x-forwarded-for: 192.0.2.1"]
    latency(last, 2, port, headers=good)
    alone = latency(last, arguments.seconds, port, headers=good)
    flooding = subprocess.Popen(
        # The load of the one is not to be in the way of the other's.
        ["nice", "-n", "19", "taskset", "-c", str(last), "h2load", "--h1", "-t1", "-c40", f"--rps={LIMIT * 10 // 40}",
         f"-D{arguments.seconds + 2}", "-H", "x-forwarded-for: 192.0.2.2", f"http://127.0.0.1:{port}{PATH}"],
        stdout=subprocess.PIPE, text=True,
    )
    started.append(flooding)
    time.sleep(1)
    before = cpu(child)
    beside = latency(last, arguments.seconds, port, headers=good)
    used = (cpu(child) - before) / arguments.seconds
    text = flooding.communicate()[0]
    done = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", text)[1]
    statuses = re.search(r"status codes: (.*)", text)[1]
    for name, (p50, p99, statuses_) in [("alone", alone), ("beside the flood", beside)]:
        print(f"{RATE}/s {name}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {statuses_}")
    print(f"the flood: {done}/s at a limit of {LIMIT}/s: {statuses}; the gateway used {used:.0%} of its core")
    stop(child)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--idle", type=int, default=10_000)
    arguments.add_argument("--slow", type=int, default=1000)
    arguments.add_argument("--tls", type=int, default=2000)
    arguments.add_argument("--seconds", type=int, default=5)
    arguments.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target" / "release")
    arguments.add_argument("--drip", help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    if arguments.drip:
        return drip(*map(int, arguments.drip.split(",")))
    cores = sorted(os.sched_getaffinity(0))
    port = free_port()
    start(cores[-1], port, arguments.binaries / "upstream", f"127.0.0.1:{port}",
          ROOT / "descriptors" / "booking.binpb", HERE / "replies")
    for part in (idle_and_slow, idle_tls, flood):
        part(arguments, cores[0], cores[-1], port)


if __name__ == "__main__":
    try:
        main()
    finally:
        for child in started:
            if child.poll() is None:
                stop(child)
