"""Where serving state lives: Redis, or the memory of the api."""

from __future__ import annotations

from cli.doctor.finding import TIMEOUT_S, Finding, first_line, without_password
from cli.settings import Settings


def check_redis(settings: Settings) -> Finding:
    """Redis answers, where it is configured."""
    if not settings.redis:
        return Finding("serving state", True, "memory of the api")
    import redis

    try:
        redis.Redis.from_url(settings.redis, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S).ping()
    except (redis.RedisError, ValueError) as error:
        return Finding("serving state", False, f"Redis: {first_line(error)}", "is Redis up and PENSTOCK_REDIS right?")
    return Finding("serving state", True, f"Redis at {without_password(settings.redis)}")
