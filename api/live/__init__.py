"""The live hub: a WebSocket that tells browsers the last state of every campaign as it changes.

The api mounts it in two lines: `live_routes(hub, keys)` among its routes, `async with hub.following()` in its lifespan.
"""

from api.live.hub import LiveHub
from api.live.routes import live_routes

__all__ = ["LiveHub", "live_routes"]
