#!/usr/bin/env python3
"""What a message of a stream costs beside a call: a million small messages through REST NDJSON, and unary GETs, in turn.

    python3 benches/compare/streams.py [--repetitions 3] [--messages 1000000]        needs wrk, curl and the Python package h2

Transom has one worker on the first core; the load and what is behind it have the last. The CPU time is the gateway's own
(utime + stime), so it matters little that the stream's server is a script. Everything started here is ended here.
"""

import argparse
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = ROOT / "target" / "release"
EXAMPLE = ROOT / "examples" / "booking" / "bench.yaml"
TICK = os.sysconf("SC_CLK_TCK")
# ticket.EventAvailability { event_id: "evt-001", available_seats: 500, reserved_seats: 10, sold_seats: 100 }
MESSAGE = b"\x0a\x07evt-001\x10\xf4\x03\x18\x0a\x20\x64"
FRAME = b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE
CHUNK = 16384 // len(FRAME)


def give(connection, messages):
    """One connection of a gRPC server that answers every call with so many messages, as fast as its windows allow."""
    import h2.config
    import h2.connection
    import h2.events

    http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    http2.initiate_connection()
    connection.sendall(http2.data_to_send())
    left = {}
    while data := connection.recv(65536):
        for event in http2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                watch = b"WatchEvent" in dict(event.headers)[b":path"]
                head = [(":status", "200"), ("content-type", "application/grpc")]
                http2.send_headers(event.stream_id, head if watch else [*head, ("grpc-status", "12")], end_stream=not watch)
                if watch:
                    left[event.stream_id] = messages
            elif isinstance(event, h2.events.StreamReset):
                left.pop(event.stream_id, None)
        for stream in list(left):
            while left[stream] and http2.local_flow_control_window(stream) >= CHUNK * len(FRAME):
                count = min(CHUNK, left[stream])
                http2.send_data(stream, FRAME * count)
                left[stream] -= count
                connection.sendall(http2.data_to_send())
            if not left[stream]:
                http2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
                del left[stream]
        connection.sendall(http2.data_to_send())


def serve(port, messages):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        threading.Thread(target=give, args=(listener.accept()[0], messages), daemon=True).start()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(core, port, command, **environment):
    child = subprocess.Popen(
        ["taskset", "-c", str(core), *map(str, command)],
        env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return child
        except OSError:
            time.sleep(0.05)
    child.terminate()
    sys.exit(f"{command[0]} does not listen")


def gateway(core, tickets):
    port = free_port()
    variables = {"HOST": "127.0.0.1", "PORT": str(port), "ADMIN_PORT": str(free_port()), "WORKERS": "1"}
    child = start(
        core, port, [BINARIES / "transom", "serve", "--config", EXAMPLE],
        **variables, GRPC_TICKET_SERVICE_URL=f"127.0.0.1:{tickets}",
    )
    time.sleep(0.5)
    return child, f"http://127.0.0.1:{port}/api/v1/events"


def cpu(child):
    fields = pathlib.Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def main():
    arguments = argparse.ArgumentParser(description="messages of a stream beside calls")
    arguments.add_argument("--repetitions", type=int, default=3)
    arguments.add_argument("--messages", type=int, default=1_000_000)
    arguments.add_argument("--serve", type=int, help="be the stream's server on this port")
    arguments = arguments.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.messages)
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[0], cores[-1]
    calls, stream = free_port(), free_port()
    children = []
    try:
        replies = ROOT / "benches" / "compare" / "replies"
        descriptors = ROOT / "descriptors" / "booking.binpb"
        children.append(start(last, calls, [BINARIES / "upstream", f"127.0.0.1:{calls}", descriptors, replies]))
        children.append(start(last, stream, [sys.executable, __file__, "--serve", stream, "--messages", arguments.messages]))
        unary, events = gateway(first, calls)
        children.append(unary)
        streaming, watched = gateway(first, stream)
        children.append(streaming)
        for _ in range(arguments.repetitions):
            before = cpu(unary)
            load = ["taskset", "-c", str(last), "wrk", "-t1", "-c32", "-d2s", f"{events}/evt_rock_night"]
            count = int(re.search(r"(\d+) requests", subprocess.run(load, capture_output=True, text=True).stdout)[1])
            get = (cpu(unary) - before) / count * 1e6
            before = cpu(streaming)
            read = ["curl", "-sS", "-m", "60", "-H", "accept: application/x-ndjson", f"{watched}/evt-001:watch"]
            lines = subprocess.run(read, capture_output=True).stdout.count(b"\n")
            if lines != arguments.messages:
                sys.exit(f"{lines} messages of {arguments.messages} came")
            message = (cpu(streaming) - before) / lines * 1e6
            print(f"GET {get:.1f} µs ({count}), a message {message:.2f} µs ({lines}): 1/{get / message:.0f}")
    finally:
        for child in reversed(children):
            child.terminate()


main()
