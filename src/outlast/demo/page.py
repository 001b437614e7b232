"""Serve the demo's live page on loopback: three static files, the state as JSON, and the actions of the buttons."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from outlast.demo.board import Snapshot

__all__ = ["Action", "make_page", "page_server"]

Action = Callable[[], Awaitable[None]]

_FILES: Mapping[str, str] = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_page(snapshot: Callable[[], Snapshot], actions: Mapping[str, Action]) -> Starlette:
    """Return the app: GET /, GET /state, and POST /do/<name> for each action, accepted only from the page itself."""

    async def static(request: Request) -> Response:
        return FileResponse(Path(__file__).with_name(_FILES[request.url.path]), headers=_HEADERS)

    async def state(_: Request) -> Response:
        return Response(msgspec.json.encode(snapshot()), media_type="application/json", headers=_HEADERS)

    async def act(request: Request) -> Response:
        # Any web page can send a POST to loopback; only this one has this origin with a loopback host name.
        host = request.headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in {"127.0.0.1", "localhost"}:
            return JSONResponse({"error": "use the address that the demo printed"}, 403)
        if request.headers.get("origin") != f"http://{host}":
            return JSONResponse({"error": "use the buttons of the page"}, 403)
        action = actions.get(request.path_params["name"])
        if action is None or not snapshot().staying:
            return JSONResponse({"error": "the buttons work only after the run, with --stay"}, 409)
        await action()
        return Response(status_code=204)

    routes = [Route(path, static) for path in _FILES]
    return Starlette(routes=[*routes, Route("/state", state), Route("/do/{name}", act, methods=["POST"])])


class _PageServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the orchestrator: uvicorn would stop only itself."""
        yield


def page_server(app: Starlette, port: int) -> uvicorn.Server:
    """Return a server for `app` on loopback. Run its `serve()` as a task; set `should_exit` to end it."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    return _PageServer(config)
