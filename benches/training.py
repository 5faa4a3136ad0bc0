#!/usr/bin/env python3
"""What calls do, counted: release/transom.profdata, by which `release/cargo` has what they do most lie together and inlined.

    make profile      or        python3 benches/training.py

Builds Transom so that it counts which ways it takes, in a folder of its own, target/training, and runs it under load: the calls of
benches/compare at saturation, and a little of everything else, dialects, streams, TLS, tokens, limits, compression, errors, so that
none of it counts as never run. What no load's every call ran is left out of the profile, and compiled as without one.

The profile knows functions by their names. These hold the compiler's version, which is written beside it, and what cargo was asked
for: features, `--target`, profile. So it is built here as `make release` builds it. LLVM reads its own profiles alone: the
`llvm-profdata` comes with `rustup component add llvm-tools`, and must be of the compiler's version.
"""

import base64
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent / "compare"))

import compare
import cost
import gates
from compare import REST, ROOT

TRAINING = ROOT / "target" / "training"
RAW = TRAINING / "raw"
PROFILE = ROOT / "release" / "transom.profdata"
VERSION = ROOT / "release" / "rustc.version"
SECONDS = 3
CALLS = 500
FEW = 50

EVENT = "/api/v1/events/evt_rock_night"
EVENTS = "/api/v1/events"
WATCH = "/api/v1/events/evt-001:watch"
BOOKINGS = "/api/v1/bookings"
EVENT_RPC = "/ticket.TicketService/GetEventById"
WATCH_RPC = "/ticket.TicketService/WatchEvent"


def main():
    profdata = merger()
    # From nothing: what an earlier training has counted is not to be counted again.
    shutil.rmtree(TRAINING, ignore_errors=True)
    cargo("--package", "transom-benches", "--bin", "upstream")
    # What runs during the build, scripts and macros, counts too: nowhere.
    counting = {"RUSTFLAGS": f"-Cprofile-generate={RAW}", "LLVM_PROFILE_FILE": os.devnull}
    cargo("--package", "transom", "--target-dir", TRAINING, **counting)
    train(TRAINING / "release" / "transom")
    keep(profdata)
    VERSION.write_text(compiler("--version", "--verbose"))
    print(f"{PROFILE.relative_to(ROOT)}: {PROFILE.stat().st_size // 1024} KiB")


def merger():
    """The `llvm-profdata` of the compiler's LLVM; asked for before anything is built."""
    version = re.search(r"^LLVM version: (\d+)", compiler("--version", "--verbose"), re.MULTILINE)[1]
    beside = pathlib.Path(compiler("--print", "target-libdir").strip()).parent / "bin" / "llvm-profdata"
    for program in (beside, f"llvm-profdata-{version}"):
        if found := shutil.which(program):
            return found
    sys.exit(f"llvm-profdata of LLVM {version} is missing: rustup component add llvm-tools")


def compiler(*arguments):
    return subprocess.run(["rustc", *arguments], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def cargo(*arguments, **environment):
    command = ["cargo", "build", "--quiet", "--release", "--locked", *arguments]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **environment})


def train(binary):
    """Runs it under load, one gateway after the other; each leaves its counts when it ends."""
    compare.TRANSOM = binary
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[0], cores[-1]
    upstream = compare.start_upstream(last)
    RAW.mkdir(parents=True, exist_ok=True)
    os.environ["LLVM_PROFILE_FILE"] = str(RAW / "%p.profraw")

    def saturated(gateway, *cases):
        for case in cases:
            compare.saturate(gateway, last, SECONDS, case)
        return gateway

    plain = saturated(compare.start_transom(first, upstream), *REST)
    compare.grpc(plain, last, SECONDS, None)
    everything_else(plain, last)
    plain.process.stop()
    saturated(compare.start_cached(first, upstream), REST[1]).process.stop()
    limits = cost.config("trained", [upstream], cost.ENDPOINTS, cost.LIMITS)
    saturated(compare.start_transom(first, upstream, "trained", limits), REST[0]).process.stop()

    guarded = gates.transom(first, upstream, "gates", gates.AUTH, '"booking.BookingService/*": {}')
    for case in (REST[0], REST[2]):
        gates.drive(guarded, last, 1, case, gates.token())
    load(guarded, last, EVENT)
    load(guarded, last, EVENT, "authorization: Bearer a.b.c")
    guarded.process.stop()

    with tempfile.TemporaryDirectory() as folder:
        secure = over_tls(first, upstream, pathlib.Path(folder))
        load(secure, last, EVENT)
        load(secure, last, EVENT, http2=True)
        for _ in range(5):
            load(secure, last, EVENT, calls=100, clients=100)
        secure.process.stop()


def everything_else(gateway, core):
    """Each dialect, stream and coding, and what goes wrong."""
    for path in (EVENT, EVENTS):
        load(gateway, core, path, http2=True)
    for accepted in ("application/x-ndjson", "text/event-stream", "application/json"):
        load(gateway, core, WATCH, f"accept: {accepted}", calls=FEW)
    for coding in ("gzip", "br", "zstd"):
        load(gateway, core, EVENTS, f"accept-encoding: {coding}", calls=FEW)
    load(gateway, core, WATCH_RPC, "content-type: application/grpc", "te: trailers", body=enveloped(b""), calls=FEW, http2=True)
    for codec, event, empty in (("proto", b"\x0a\x0eevt_rock_night", b""), ("json", b'{"eventId":"evt_rock_night"}', b"{}")):
        load(gateway, core, EVENT_RPC, f"content-type: application/{codec}", "connect-protocol-version: 1", body=event)
        load(gateway, core, WATCH_RPC, f"content-type: application/connect+{codec}", body=enveloped(empty), calls=FEW)
        for rpc, message in ((EVENT_RPC, event), (WATCH_RPC, empty)):
            frame = enveloped(message)
            load(gateway, core, rpc, f"content-type: application/grpc-web+{codec}", body=frame, calls=FEW)
            load(gateway, core, rpc, f"content-type: application/grpc-web-text+{codec}", body=base64.b64encode(frame), calls=FEW)
    for body in (b"{", b'{"unknown": 1}', b'{"eventId": 1}'):
        load(gateway, core, BOOKINGS, "content-type: application/json", body=body, calls=FEW)
    for missing in ("/api/v1/nothing", "/api/v1/events/%zz", "/ticket.TicketService/Nothing"):
        load(gateway, core, missing, calls=FEW)


def keep(profdata):
    """The functions that calls ran; what ran less often than the smallest load has calls, and a start's work, is left out."""

    def merge(source, to, *arguments):
        subprocess.run([profdata, "merge", *arguments, "--output", to, source], check=True)

    text = TRAINING / "counts"
    merge(RAW, text, "--text", "--sparse")
    kind, *functions = re.split(r"\n(?=[^\n]+\n# Func Hash:\n)", text.read_text())
    text.write_text("\n".join([kind, *filter(often, functions)]))
    merge(text, PROFILE)


def often(function):
    """Whether one of its ways was taken by some load's every call. It is given as name, hash, number of counters, counters."""
    lines = function.splitlines()
    return max(map(int, lines[6:6 + int(lines[4])])) >= FEW


def load(gateway, core, path, *headers, calls=CALLS, clients=8, body=None, http2=False):
    """So many calls, whatever the answer; over TLS where the gateway speaks it."""
    arguments = [part for header in headers for part in ("-H", header)]
    arguments += [] if http2 else ["--h1"]
    with tempfile.NamedTemporaryFile() as file:
        if body is not None:
            file.write(body)
            file.flush()
            arguments += ["-d", file.name]
        scheme = "https" if gateway.name == "tls" else "http"
        compare.run(["h2load", "-t1", f"-c{clients}", f"-n{calls}", *arguments, f"{scheme}://127.0.0.1:{gateway.port}{path}"], core)


def over_tls(core, upstream, folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    config = cost.config("tls", [upstream], "", f"tls: {{ cert: {folder}/tls.crt, key: {folder}/tls.key }}\n")
    return compare.start_transom(core, upstream, "tls", config)


def enveloped(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


if __name__ == "__main__":
    try:
        main()
    finally:
        compare.stop_all()
