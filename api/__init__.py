"""FastAPI: collector, REST, WebSocket, dashboard, metrics."""
