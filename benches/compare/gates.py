#!/usr/bin/env python3
"""What the gates cost a call: who may come in and how often, none of it and all of it, beside Envoy with the same filters.

    python3 benches/compare/gates.py [--repetitions 5] [--seconds 2] [--without-envoy]     after: make compared

Every gateway stands on the first core and the load on the last, in turn, as in `compare.py`; 64 connections are in flight. One
token, verified once and found again after that, two of its claims injected, a limit by user in memory and one by client; for the
POST the standard rules of its message (`buf.validate`) too. Then one limit by client in a real Redis, exact and leased. What is
printed is the gateway's CPU time a call, and what it is more than without. Envoy has jwt_authn and local_ratelimit.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import statistics
import tempfile
import time

import compare
from compare import DESCRIPTORS, HERE, REST, ROOT

SECRET = "a-secret-for-a-benchmark-0123456789-0123456789"
BENCH = ROOT / "examples" / "booking" / "bench.yaml"
OPEN = '"booking.BookingService/*": { validate: off }'

AUTH = f"""
auth:
  jwt: {{ algorithms: [HS256], secret: "{SECRET}", issuer: bench, audience: [booking] }}
  inject: {{ sub: x-user-id, login: x-user-login }}
rate_limits:
  public: {{ by: client, rate: 1000000/s }}
  users: {{ by: user, rate: 1000000/s }}
"""


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token():
    claims = {"iss": "bench", "aud": "booking", "sub": "user-7", "login": "ada", "exp": int(time.time()) + 3600}
    parts = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{parts}.{encode(hmac.new(SECRET.encode(), parts.encode(), hashlib.sha256).digest())}"


def transom(core, upstream, name, more, rules):
    text = BENCH.read_text().replace("../../descriptors/booking.binpb", str(DESCRIPTORS))
    file = ROOT / "target" / f"compare-{name}.yaml"
    file.write_text(text.replace(OPEN, rules) + more)
    return compare.start_transom(core, upstream, name, file)


def envoy_with_filters(core, upstream):
    """Envoy as in compare.py, with the two filters before its transcoder."""
    keys = json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "k": encode(SECRET.encode())}]})
    filters = f"""
                  - name: envoy.filters.http.jwt_authn
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
                      providers:
                        bench:
                          issuer: bench
                          audiences: [booking]
                          forward: true
                          local_jwks: {{ inline_string: '{keys}' }}
                          claim_to_headers:
                            - {{ header_name: x-user-id, claim_name: sub }}
                            - {{ header_name: x-user-login, claim_name: login }}
                          jwt_cache_config: {{ jwt_cache_size: 100 }}
                      rules:
                        - match: {{ prefix: "/" }}
                          requires: {{ provider_name: bench }}
                  - name: envoy.filters.http.local_ratelimit
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
                      stat_prefix: bench
                      token_bucket: {{ max_tokens: 1000000, tokens_per_fill: 1000000, fill_interval: 1s }}
                      filter_enabled: {{ default_value: {{ numerator: 100 }} }}
                      filter_enforced: {{ default_value: {{ numerator: 100 }} }}
"""
    template = HERE / "envoy.yaml"
    text = template.read_text().replace("                http_filters:\n", "                http_filters:" + filters, 1)
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "envoy.yaml").write_text(text)
        compare.HERE, before = pathlib.Path(folder), compare.HERE
        try:
            return compare.start_envoy(core, upstream)
        finally:
            compare.HERE = before


def redis(core):
    port = compare.free_port()
    process = compare.Process("redis", core, ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
    process.wait_for(port)
    return f'redis: {{ url: "redis://127.0.0.1:{port}" }}\n'


def drive(gateway, core, seconds, case, shown):
    """CPU µs a call, of 64 that are always in flight."""
    name, method, path, body = case
    script = pathlib.Path(tempfile.gettempdir()) / f"gates-{os.getpid()}.lua"
    script.write_text(
        f'wrk.method = "{method}"\nwrk.headers["content-type"] = "application/json"\n'
        f'wrk.headers["authorization"] = "Bearer {shown}"\n' + (f"wrk.body = [==[{body}]==]\n" if body else "")
    )
    before = gateway.process.cpu()
    text = compare.run(["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{gateway.port}{path}"], core)
    script.unlink()
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{gateway.name} {name}: {text}")
    return (gateway.process.cpu() - before) / int(re.search(r"(\d+) requests in", text)[1]) * 1e6


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repetitions", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=2)
    arguments.add_argument("--without-envoy", action="store_true")
    arguments = arguments.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[0], cores[-1]
    upstream, store, shown = compare.start_upstream(last), redis(last), token()
    limit = "rate_limits: {{ public: {{ by: client, rate: 1000000/s, mode: {} }} }}\n"
    gateways = [
        transom(first, upstream, "none", "", OPEN),
        transom(first, upstream, "gates", AUTH, '"booking.BookingService/*": {}'),
        transom(first, upstream, "redis-exact", store + limit.format("exact"), OPEN),
        transom(first, upstream, "redis-leased", store + limit.format("leased"), OPEN),
    ]
    if not arguments.without_envoy:
        gateways += [compare.start_envoy(first, upstream), envoy_with_filters(first, upstream)]
        gateways[-1].name = "envoy-gates"
    figures = {}
    for repetition in range(arguments.repetitions + 1):
        for case in (REST[0], REST[2]):
            for gateway in gateways:
                cpu = drive(gateway, last, arguments.seconds if repetition else 1, case, shown)
                if repetition:  # the first is a warm-up
                    figures.setdefault((case[0], gateway.name), []).append(cpu)
    print(f"{time.strftime('%Y-%m-%d')}; {arguments.repetitions} × {arguments.seconds} s, 64 in flight\n")
    print(f"{'case':<8}{'gateway':<14}{'CPU µs/call':>12}{'more':>8}   min–max")
    for case in (REST[0], REST[2]):
        for gateway in gateways:
            values = figures[case[0], gateway.name]
            than = figures[case[0], "envoy" if gateway.name.startswith("envoy") else "none"]
            more = statistics.median(values) - statistics.median(than)
            print(f"{case[0]:<8}{gateway.name:<14}{statistics.median(values):>12.1f}{more:>+8.1f}   {min(values):.1f}–{max(values):.1f}")


if __name__ == "__main__":
    try:
        main()
    finally:
        compare.stop_all()
