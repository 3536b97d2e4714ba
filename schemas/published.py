"""The contract on the log for programs that are not ours: a JSON Schema for each topic, and all as AsyncAPI 3.0.

Made from the types that encode the records. `events` alone is written by others, so its schema says what is accepted,
which is more than what the types hold (`ts` as RFC 3339, unknown fields).
"""

from __future__ import annotations

import inspect
from typing import Any, Final

import msgspec

from schemas import topics
from schemas.campaigns import Campaign
from schemas.control import ControlRecord, OrderEntry
from schemas.corrections import Applied, Correction
from schemas.dead_letters import DeadLetter
from schemas.decisions import CLASSES, Decision
from schemas.events import (
    CHANNELS,
    EVENT_BYTES_MAX,
    EVENT_ID_PATTERN,
    ID_BYTES_MAX,
    MICROS_MAX,
    PLATFORMS,
    TEXT_BYTES_MAX,
    TS_MS_MAX,
    TS_MS_MIN,
    Event,
    EventType,
)
from schemas.kpis import KpiBatch, Verdicts
from schemas.live import LiveRecord
from schemas.receipts import Receipt
from schemas.serving import ServingWord

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

RECORDS: Final[dict[str, Any]] = {
    topics.EVENTS: Event,
    topics.DEAD_LETTERS: DeadLetter,
    topics.ORDER: OrderEntry,
    topics.CONTROL: ControlRecord,
    topics.DECISIONS: tuple(CLASSES.values()),
    topics.SERVING: ServingWord,
    topics.KPIS: KpiBatch,
    topics.VERDICTS: Verdicts,
    topics.LIVE: LiveRecord,
    topics.RECEIPTS: Receipt,
    topics.CORRECTIONS: Correction,
    topics.CORRECTIONS_APPLIED: Applied,
}
# Topic: what it holds, and the key that its messages have on Kafka.
_TOLD: Final = {
    topics.EVENTS: ("Impressions, clicks, conversions and leads as they were sent.", "campaign_id"),
    topics.DEAD_LETTERS: ("What was refused, with its raw text, reason and source.", None),
    topics.ORDER: ("For each partition of `events`, which control records and clock ticks fell where.", None),
    topics.CONTROL: ("What people set; compacted, the last record of a key wins.", "key"),
    topics.DECISIONS: ("Pause, resume, bid, budget, pacing and modifier changes, each with its reason.", None),
    topics.SERVING: ("What bidders are served; compacted, the last record of a key wins.", "key"),
    topics.KPIS: ("KPI windows, packed as columns; docs/topics.md has a decoder.", None),
    topics.VERDICTS: ("For each span of `events`, which were duplicates, late or dead.", None),
    topics.LIVE: ("Live rows for browsers and states of processes; losing one is harmless.", None),
    topics.RECEIPTS: ("What ad platforms answered to decisions.", None),
    topics.CORRECTIONS: ("Changes of what was counted, with their cause.", "campaign_id"),
    topics.CORRECTIONS_APPLIED: ("Corrections that came into force, and what became of each.", None),
}
# Only these take records from others; what another program writes elsewhere is left out or refused.
_WRITTEN_BY_OTHERS: Final = (topics.EVENTS,)


def topic_schema(topic: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one record of a topic; raises KeyError for a topic that there is not.

    >>> topic_schema("decisions")["title"]
    'Decision'
    """
    kinds = RECORDS[topic] if isinstance(RECORDS[topic], tuple) else (RECORDS[topic],)
    roots, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    root = _plain(roots[0] if len(roots) == 1 else {"title": Decision.__name__, "anyOf": list(roots)})
    definitions = {name: _without_doctests(_plain(schema)) for name, schema in components.items()}
    if topic == topics.EVENTS:
        definitions["Event"] = _event(definitions["Event"])
    if topic in (topics.CONTROL, topics.ORDER):
        definitions["CampaignRecord"]["properties"]["campaign"] = {"$ref": "#/$defs/Campaign"}
        definitions |= _campaign()
    name = root.get("$ref", "").rpartition("/")[2]
    top = definitions.pop(name) if name else root
    described = {"$schema": DIALECT, "$id": f"penstock/{topic}.json", "description": _TOLD[topic][0], **top}
    return described | ({"$defs": definitions} if definitions else {})


def asyncapi(version: str) -> dict[str, Any]:
    """All topics as one AsyncAPI 3.0 document; messages refer to the topics' schemas, `TOPIC.json` beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Penstock",
            "version": version,
            "description": "The log between Penstock's processes, on Kafka or in files: one JSON record a message. "
            "PENSTOCK_KAFKA_PREFIX goes before each address.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic: _channel(topic) for topic in topics.ALL},
        "operations": {
            _name("send" if topic in _WRITTEN_BY_OTHERS else "receive", topic): {
                # From the side of a program that is not ours: it sends events and receives everything else.
                "action": "send" if topic in _WRITTEN_BY_OTHERS else "receive",
                "channel": {"$ref": f"#/channels/{topic}"},
            }
            for topic in topics.ALL
        },
    }


def _channel(topic: str) -> dict[str, Any]:
    description, key = _TOLD[topic]
    message: dict[str, Any] = {"name": topic, "payload": {"$ref": f"./{topic}.json"}}
    if key is not None:
        message["bindings"] = {"kafka": {"key": {"type": "string", "description": f"the record's {key}"}}}
    return {"address": topic, "description": description, "messages": {_name("", topic): message}}


def _name(verb: str, topic: str) -> str:
    words = "".join(word.capitalize() for word in topic.split("."))
    return verb + words if verb else words[0].lower() + words[1:]


def _plain(schema: Any) -> Any:
    """Without OpenAPI's `discriminator`, which JSON Schema does not know: the constant of a tag says the same."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if isinstance(schema, dict):
        return {name: _plain(part) for name, part in schema.items() if name != "discriminator"}
    return schema


def _without_doctests(schema: dict[str, Any]) -> dict[str, Any]:
    """A docstring's text as a reader of a schema wants it: one paragraph a line, no examples in Python."""
    if "description" in schema:
        text = inspect.cleandoc(schema["description"]).partition(">>>")[0]
        schema["description"] = "\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))
    return schema


def _campaign() -> dict[str, Any]:
    schema = Campaign.model_json_schema(ref_template="#/$defs/{model}")
    return {name: _without_doctests(part) for name, part in (schema.pop("$defs", {}) | {"Campaign": schema}).items()}


def _event(schema: dict[str, Any]) -> dict[str, Any]:
    """What the collector accepts, as docs/events.md says it."""
    properties = {name: _may_be_null(name, given) for name, given in schema["properties"].items() if name != "extra"}
    properties["event_id"] = {"type": "string", "pattern": EVENT_ID_PATTERN}
    properties["type"] = {"enum": [kind.wire for kind in EventType]}
    properties["ts"] = {
        "description": "When it happened: milliseconds since 1970 UTC, or RFC 3339 with a zone.",
        "anyOf": [
            {"type": "integer", "minimum": TS_MS_MIN, "maximum": TS_MS_MAX},
            {"type": "string", "format": "date-time"},
        ],
    }
    for name in ("cost_micros", "revenue_micros"):
        properties[name] = {"type": "integer", "minimum": 0, "maximum": MICROS_MAX, "default": 0}
    return {
        "title": "Event",
        "type": "object",
        "description": f"At most {EVENT_BYTES_MAX} bytes. Unknown fields are kept and never refused.",
        "properties": properties,
        "required": ["event_id", "type", "ts"],
        "if": {"properties": {"type": {"not": {"const": "lead"}}}},
        "then": {"required": ["campaign_id"], "properties": {"campaign_id": {"type": "string", "minLength": 1}}},
    }


def _may_be_null(name: str, given: dict[str, Any]) -> dict[str, Any]:
    if name == "channel":
        return {"enum": [*CHANNELS, "", None]}
    if name == "platform":
        return {"enum": [*PLATFORMS, "", None]}
    if name == "lead":
        return given
    bytes_max = ID_BYTES_MAX if name == "campaign_id" else TEXT_BYTES_MAX
    return {"type": ["string", "null"], "maxLength": bytes_max}
