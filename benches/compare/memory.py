#!/usr/bin/env python3
"""What clients can make a gateway hold: driven to its limits, piece by piece, beside the bound of each piece.

    python3 benches/compare/memory.py [--binaries target/release]        after: make compared

Transom has one worker and small limits. Clients that mean no good come one kind after the other, and stay: connections that have made a
call, heads that do not end, bodies that do not end, answers that nobody reads. Printed is what the resident memory has grown by with each
kind, and by what it may at most, as docs/OPERATIONS.md has it. It fails if it grew by more. Everything started here is ended here.
"""

import argparse
import os
import pathlib
import socket
import struct
import sys
import time

from clients import HERE, PATH, ROOT, call, free_port, gateway, settled, start, started, stop

KIB, MIB = 1024, 1024 * 1024
CONNECTIONS, IN_FLIGHT, MEMORY, HEAD = 2000, 400, 64 * MIB, 64 * KIB
SMALL = 64 * KIB
CONFIG = f"""
clients: {{ connections: {CONNECTIONS}, head_size: {HEAD}, head_timeout: 10m, idle_timeout: 10m }}
overload: {{ in_flight: {IN_FLIGHT}, memory: {MEMORY} }}
methods: {{ ticket.TicketService/*: {{ timeout: 10m }} }}
"""
LIST = "/api/v1/events"
RESERVE = "/api/v1/events/evt_rock_night/tickets:reserve"


def connect(port):
    return socket.create_connection(("127.0.0.1", port))


def quiet(port, count):
    """Connections that have made a call."""
    kept = [connect(port) for _ in range(count)]
    for connection in kept:
        call(connection)
    return kept


def heads(port, count):
    """Heads that are nearly as long as they may be, and do not end."""
    head = f"GET {PATH} HTTP/1.1\r\nhost: a\r\nx-long: ".encode()
    kept = [connect(port) for _ in range(count)]
    for connection in kept:
        connection.sendall(head + b"a" * (HEAD - 1024))
    return kept


def bodies(port, count, size):
    """Bodies that lack their last byte; how many of them were refused."""
    body = b'{"quantity": 2, "x": "' + b"a" * (size - 23)
    head = f"POST {RESERVE} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    kept, refused = [], 0
    for _ in range(count):
        connection = connect(port)
        kept.append(connection)
        connection.settimeout(2)
        try:
            connection.sendall(head.encode() + body)
        except OSError:
            refused += 1
            continue
    time.sleep(1)
    for connection in kept:
        try:
            refused += b" 503 " in connection.recv(64, socket.MSG_DONTWAIT)
        except OSError:
            continue
    return kept, refused


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header of HPACK, neither indexed nor shortened."""
    return b"\x00" + b"".join(bytes([len(part)]) + part.encode() for part in (name, value))


def unread(port, streams):
    """Calls over one connection of HTTP/2 whose answers have a window of no byte."""
    connection = connect(port)
    head = b"".join(literal(*header) for header in [(":method", "GET"), (":scheme", "http"), (":path", LIST), (":authority", "a")])
    settings = frame(4, 0, 0, struct.pack(">HI", 4, 0))
    calls = b"".join(frame(1, 5, 1 + 2 * at, head) for at in range(streams))
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + calls)
    return [connection]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target" / "release")
    arguments = arguments.parse_args()
    core = sorted(os.sched_getaffinity(0))[-1]
    upstream = free_port()
    start(core, upstream, arguments.binaries / "upstream", f"127.0.0.1:{upstream}",
          ROOT / "descriptors" / "booking.binpb", HERE / "replies")
    child, port = gateway(arguments.binaries, core, upstream, CONFIG)
    kept = quiet(port, 50)
    base = before = settled(child)
    print(f"{'what':48} {'grew by':>10} {'bound':>10}")
    allowed = 0

    def resident():
        # The allocator gives back what is free once it is asked for more.
        for _ in range(5):
            for connection in quiet(port, 20):
                connection.close()
            time.sleep(0.2)
        return settled(child)

    def grown(what, bound):
        nonlocal before, allowed
        now = resident()
        print(f"{what:48} {(now - before) / KIB:6.1f} MiB {bound / MIB:6.1f} MiB")
        before = now
        allowed += bound

    kept += quiet(port, 1000)
    grown("1,000 connections that have made a call", 1000 * 24 * KIB)
    kept += heads(port, 300)
    grown("300 heads of 63 KiB that do not end", 300 * (2 * HEAD + 24 * KIB))
    more, refused = bodies(port, 200, MIB)
    kept += more
    # What is not counted of each; the memory that all have together; and what bodies have outgrown as they came, which is free
    # and goes back to the system in time.
    grown(f"200 bodies of 1 MiB without an end, {refused} refused", 200 * (HEAD + 2 * SMALL + 24 * KIB) + 2 * MEMORY)
    kept += unread(port, IN_FLIGHT - 200)
    grown("200 answers that nobody reads", 200 * (3 * HEAD + 4 * SMALL))
    print(f"{'in all':48} {(before - base) / KIB:6.1f} MiB {allowed / MIB:6.1f} MiB")
    if (before - base) * KIB > allowed:
        sys.exit("it took more than it may")
    for connection in kept:
        connection.close()
    again = bodies(port, 30, MIB)[0] + quiet(port, 1000)
    for connection in again:
        connection.close()
    print(f"after all have left, 30 bodies and 1,000 calls later: {(resident() - base) / KIB:.1f} MiB more than before")
    stop(child)


if __name__ == "__main__":
    try:
        main()
    finally:
        for child in started:
            if child.poll() is None:
                stop(child)
