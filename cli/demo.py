"""`penstock demo`: plays the seeded market against a running api, in closed loop with what the campaigns serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

import typer

from schemas.health import Loop, Progress
from schemas.serving import Serving

STEP_MS: Final = 100
# The served state is read this often: what is won in between is the spend in flight.
SERVING_EVERY_MS: Final = 200
# At the first start a thin history is played, so that charts have a past.
HISTORY_MS: Final = 6 * 3_600_000
HISTORY_STEP_MS: Final = 10_000
HISTORY_THIN: Final = 0.03
BATCH_EVENTS: Final = 2_000
# A request that fails is tried again for this long before the demonstration gives up.
PATIENCE_S: Final = 60.0


def demo(
    url: Annotated[str, typer.Option(help="Where the api listens; else where the settings put it.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the market.")] = 7,
    seconds: Annotated[float, typer.Option(help="Stop after this many seconds; 0: run until ended.")] = 0.0,
    api_key: Annotated[str, typer.Option(envvar="PENSTOCK_API_KEY", help="API key, when the api needs one.")] = "",
) -> None:
    """Play a seeded market of twelve campaigns against a running api."""
    import httpx
    import numpy as np

    from cli.demo_campaigns import MARKET
    from cli.logs import set_up
    from cli.progress import reporting
    from cli.replay import destination
    from cli.settings import Settings
    from ingest.market import Market

    url, api_key = destination(url, api_key)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=30.0) as client:
        first_start = ensure_campaigns(client, today=datetime.now(UTC).date().isoformat())
        start_ms = _now_ms()
        market = Market(MARKET, rng=np.random.default_rng([seed, start_ms // 1_000]), run=f"d{start_ms:x}")
        if first_start:
            for batch in history(market, end_ms=start_ms):
                post(client, batch)
        end_ms = start_ms + round(1_000 * seconds) if seconds else None
        set_up("demo", Settings())
        progress = Progress()
        progress.ready()
        with reporting(Settings().data_dir, "demo", progress):
            play(client, market, start_ms=start_ms, end_ms=end_ms, health=progress.loop("market"))


def ensure_campaigns(client: Any, *, today: str) -> bool:
    """Put the campaigns that are missing, and give the flash deal enough for FLASH_SECONDS more. True: first start."""
    from cli.demo_campaigns import CAMPAIGNS, FLASH

    known = {c["campaign_id"]: c for c in _campaigns(client)}
    for definition in CAMPAIGNS:
        wanted = dict(definition)
        if wanted["campaign_id"] == "summer-launch":
            wanted["start_ms"] = _now_ms() + 30 * 86_400_000
        if wanted["campaign_id"] == FLASH:
            wanted["daily_budget_micros"] = flash_budget_micros(known.get(FLASH), today, _now_ms())
            wanted["name"] = f"Flash deal, {today} only"
        elif wanted["campaign_id"] in known:
            continue
        _retry(partial(client.put, f"/api/v1/campaigns/{wanted['campaign_id']}", json=wanted)).raise_for_status()
    return FLASH not in known


def flash_budget_micros(current: dict[str, Any] | None, today: str, now_ms: int) -> int:
    """FLASH_SECONDS of the spend of this hour, on top of what the flash deal had before when it already ran today."""
    from cli.demo_campaigns import FLASH, FLASH_SECONDS, MARKET
    from ingest.market import traffic_factor

    demand = next(d for d in MARKET if d.campaign_id == FLASH)
    # About two thirds of its auctions are won, at about the median price.
    auctions = FLASH_SECONDS * demand.auctions_per_second * traffic_factor(now_ms, demand.time_zone)
    step = round(auctions * 0.66 * demand.price_median_micros / 1_000)
    if current is None or today not in current["name"]:
        return step
    return int(current["daily_budget_micros"]) + step


def history(market: Any, *, end_ms: int) -> Iterator[list[dict[str, Any]]]:
    """Batches of a thin past, up to end_ms; the flash deal starts only now."""
    from cli.demo_campaigns import FLASH

    states = _definition_states()
    states.pop(FLASH)
    pending: list[dict[str, Any]] = []
    for at in range(end_ms - HISTORY_MS, end_ms - HISTORY_STEP_MS, HISTORY_STEP_MS):
        pending += market.step(at, at + HISTORY_STEP_MS, states, thin=HISTORY_THIN)
        if len(pending) >= BATCH_EVENTS:
            yield pending
            pending = []
    if pending:
        yield pending


def play(client: Any, market: Any, *, start_ms: int, end_ms: int | None, health: Loop | None = None) -> None:
    """Real time from start_ms on: steps of STEP_MS, each event sent when it happens."""
    at, read_at, states = start_ms, 0, {}
    health = health if health is not None else Loop("market")
    while end_ms is None or at < end_ms:
        now = _now_ms()
        health.turn()
        if now - read_at >= SERVING_EVERY_MS:
            health.waits_for("an answer of the api")
            states = serving_states(client)
            health.goes_on()
            read_at = now
        # After a sleep of the machine the market does not catch up on hours at once.
        at = max(at, now - 5_000)
        if now - at < STEP_MS:
            time.sleep((STEP_MS - (now - at)) / 1_000)
            continue
        events = market.step(at, now, states)
        at = now
        for first in range(0, len(events), BATCH_EVENTS):
            health.waits_for("an answer of the api")
            post(client, events[first : first + BATCH_EVENTS])
            health.goes_on()
            health.did(len(events))


def serving_states(client: Any) -> dict[str, Serving]:
    """What every campaign serves now."""
    import msgspec

    answer = _retry(lambda: client.get("/api/v1/serving"))
    answer.raise_for_status()
    states = msgspec.json.decode(answer.content, type=list[Serving])
    return {state.campaign_id: state for state in states}


def post(client: Any, events: list[dict[str, Any]]) -> None:
    """Send events and wait until the log has them."""
    import orjson

    body = b"\n".join(orjson.dumps(event) for event in events)
    headers = {"Content-Type": "application/x-ndjson"}
    answer = _retry(lambda: client.post("/api/v1/events", content=body, headers=headers))
    if answer.status_code != 202:
        typer.echo(f"the collector refused {len(events)} events: {answer.status_code} {answer.text[:300]}", err=True)


def _definition_states() -> dict[str, Serving]:
    from cli.demo_campaigns import CAMPAIGNS

    return {c["campaign_id"]: _definition_state(c) for c in CAMPAIGNS}


def _definition_state(campaign: dict[str, Any]) -> Serving:
    return Serving(
        org_id="default",
        campaign_id=campaign["campaign_id"],
        bid_micros=campaign["bidding"]["bid_micros"],
        currency=campaign["currency"],
    )


def _campaigns(client: Any) -> list[dict[str, Any]]:
    answer = _retry(lambda: client.get("/api/v1/campaigns"))
    answer.raise_for_status()
    listed = answer.json()
    rows = listed["campaigns"] if isinstance(listed, dict) else listed
    return [row.get("campaign", row) for row in rows]


def _retry(request: Callable[[], Any]) -> Any:
    """Ask until there is an answer other than 429 or 503, for PATIENCE_S at most."""
    import httpx

    deadline = time.monotonic() + PATIENCE_S
    while True:
        wait = 0.5
        try:
            answer = request()
            if answer.status_code not in (429, 503) or time.monotonic() > deadline:
                return answer
            wait = float(answer.headers.get("Retry-After", wait))
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
        time.sleep(min(wait, 5.0))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
