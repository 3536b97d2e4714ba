"""`penstock bench openrtb`: bid requests against one api process on one core, sent by wrk at a fixed rate."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

from benchmarks.stack import Stack, stack

CAMPAIGNS: Final = 50
CONNECTIONS: Final = 10
# Until the flow has said what is to be served; its first start compiles.
_WITHIN_S: Final = 300.0
_LOOK_S: Final = 0.05
# wrk sends as fast as it can; a delay before each request of a connection makes a rate of it.
_SCRIPT: Final = """
local body = [==[%s]==]
request = function() return wrk.format("POST", "/openrtb2/bid", {["Content-Type"]="application/json"}, body) end
delay = function() return %d end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99),
    summary.errors.status + summary.errors.timeout + summary.errors.read + summary.errors.connect))
end
"""


def measure(rate: int, seconds: int, data_dir: Path) -> dict[str, Any]:
    """Send `rate` requests a second; latencies in milliseconds as wrk saw them.

    Raises RuntimeError when wrk is not installed or the bidder does not bid.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed (apt-get install wrk)")
    with stack(data_dir, parts=("api", "flow")) as running:
        _pin(running.processes["api"].pid, {0})
        for number in range(CAMPAIGNS):
            _put(running, number)
        answer = _first_bid(running)
        printed = _run_wrk(wrk, running.url, rate, seconds)
    requests, duration_us, p50, p95, p99, errors = (int(n) for n in printed)
    return {
        "requests": requests,
        "requests_per_second": round(requests / (duration_us / 1e6), 1),
        "campaigns": CAMPAIGNS,
        "bid_price": answer["seatbid"][0]["bid"][0]["price"],
        "p50_ms": p50 / 1_000,
        "p95_ms": p95 / 1_000,
        "p99_ms": p99 / 1_000,
        "errors": errors,
    }


def _run_wrk(wrk: str, url: str, rate: int, seconds: int) -> list[str]:
    delay_ms = max(0, round(1_000 * CONNECTIONS / rate) - 1)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT % (json.dumps(_request()), delay_ms))
        script.flush()
        command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script.name, url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=lambda: _pin(0, {1}))
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk said nothing of use:\n{done.stdout}\n{done.stderr}")
    return list(found.groups())


def _pin(pid: int, cores: set[int]) -> None:
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(pid, cores & usable or usable)


def _put(running: Stack, number: int) -> None:
    definition = {
        "campaign_id": f"rtb-{number}", "name": f"rtb {number}", "currency": "USD",
        "bidding": {"strategy": "manual", "bid_micros": 1_000_000 + 10_000 * number},
        "creatives": [{"creative_id": f"cr-{number}", "width": 300, "height": 250, "markup": "<a></a>",
                       "landing_domains": ["shop.example"]}],
    }  # fmt: skip
    url = f"{running.url}/api/v1/campaigns/rtb-{number}"
    request = urllib.request.Request(url, json.dumps(definition).encode(), {"Content-Type": "application/json"})
    request.method = "PUT"
    urllib.request.urlopen(request, timeout=10).close()


def _first_bid(running: Stack) -> dict[str, Any]:
    """Definitions reach the bidder through the log: ask until the best of them bids."""
    best = (1_000_000 + 10_000 * (CAMPAIGNS - 1)) / 1e6
    deadline_s = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline_s:
        request = urllib.request.Request(f"{running.url}/openrtb2/bid", json.dumps(_request()).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            loaded: dict[str, Any] = json.loads(answer.read())
        if "seatbid" in loaded and loaded["seatbid"][0]["bid"][0]["price"] == best:
            return loaded
        time.sleep(_LOOK_S)
    raise RuntimeError(f"the bidder never made the best bid; last answer: {loaded}")


def _request() -> dict[str, Any]:
    """A request of a usual size."""
    return {
        "id": "80ce30c53c16e6ede735f123ef6e32361bfc7b22", "at": 2, "cur": ["USD"], "tmax": 120,
        "imp": [{"id": "1", "bidfloor": 0.03, "tagid": "agltb3B1Yi1pbmNyDQsSBFNpdGUY7fD0FAw",
                 "banner": {"w": 300, "h": 250, "pos": 1, "format": [{"w": 300, "h": 250}, {"w": 320, "h": 50}]}}],
        "site": {"id": "102855", "cat": ["IAB3-1"], "domain": "www.foobar.example",
                 "page": "http://www.foobar.example/1234.html",
                 "publisher": {"id": "8953", "name": "foobar.example", "domain": "foobar.example"}},
        "device": {"ua": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_6_8) AppleWebKit/537.13", "ip": "192.0.2.7",
                   "devicetype": 2, "geo": {"country": "USA", "region": "CA"}},
        "user": {"id": "55816b39711f9b5acf3b90e313ed29e51665623f"},
    }  # fmt: skip
