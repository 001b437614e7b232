"""The template of the route that has served a request, with the prefixes of routers and mounts: "/{tenant}/items/{id}".

A template is made of declared text alone. What a client sends is never part of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from fastapi import routing
from starlette.routing import BaseRoute, WebSocketRoute

__all__ = ["RouteTemplates"]

_REBUILD: Final = 1.0
"""Seconds between two looks at the routes for one that is not known: an app may add routes while it serves."""


_NOT_FOUND: Final = (404, 405)


@dataclass(frozen=True, slots=True)
class _RouteNode:
    """A route, or (inner is not None) a mount. pattern None: a mount by host, whose inner routes see the whole path.

    opaque: it is a mount of something whose routes are not known, such as a folder of files.
    """

    route: Any
    template: str
    pattern: re.Pattern[str] | None
    methods: Collection[str] = ()
    inner: Sequence[_RouteNode] | None = None
    opaque: bool = False

    def serves(self, method: str, status: int | None) -> bool:
        """Tell whether it serves this method, or has served a request with this status."""
        return (method in self.methods or not self.methods) and not (self.opaque and status in _NOT_FOUND)


class RouteTemplates:
    """The templates of an app's routes. routes: returns those of the app as they are now."""

    def __init__(self, routes: Callable[[], Sequence[BaseRoute]]) -> None:
        self._routes = routes
        self._nodes: Sequence[_RouteNode] = ()
        self._unique: dict[int, tuple[_RouteNode, str]] = {}
        """By the identity of its route, each leaf that is in one place only, with its whole template."""
        self._seen: set[int] = set()
        """The identity of each route and mount. The nodes hold them, so that no other one gets it."""
        self._built_at: float | None = None

    def of_served(self, scope: Mapping[str, Any], path: str, root_path: str, status: int) -> str | None:
        """Return the template of the route that has served a request, None if none has: no path or method fits.

        scope: as the app has left it. path, root_path: as they were before the app got the request.
        """
        route = scope.get("route")
        if route is None and "endpoint" not in scope and status in _NOT_FOUND:
            return None
        if self._built_at is None or (route is not None and id(route) not in self._seen):
            self._build()
        known = self._unique.get(id(route)) or _found(self._nodes, _inside(path, root_path), scope["method"])
        return known[1] if known is not None and known[0].serves(scope["method"], status) else None

    def of_path(self, path: str, method: str) -> str | None:
        """Return the template of the route that would serve this path and method."""
        if self._built_at is None:
            self._build()
        found = _found(self._nodes, path, method)
        return None if found is None else found[1]

    def _build(self) -> None:
        now = monotonic()
        if self._built_at is not None and now < self._built_at + _REBUILD:
            return
        self._nodes = _nodes(self._routes())
        places: dict[int, list[tuple[_RouteNode, str]]] = {}
        for node, template in _placed(self._nodes, ""):
            places.setdefault(id(node.route), []).append((node, template))
        self._seen = set(places)
        self._unique = {key: each[0] for key, each in places.items() if len(each) == 1 and each[0][0].inner is None}
        self._built_at = now


def _nodes(routes: Iterable[BaseRoute]) -> list[_RouteNode]:
    return [node for each in _flattened(routes) if (node := _node(*each)) is not None]


def _flattened(routes: Iterable[BaseRoute]) -> Iterator[tuple[Any, Any]]:
    """Yield each route as it was declared, and as it is served. Newer FastAPI keeps included routers as they are."""
    contexts: Any = getattr(routing, "iter_route_contexts", None)
    if contexts is None:
        yield from ((each, each) for each in routes)
    else:
        yield from ((each.original_route, each) for each in contexts(list(routes)))


def _node(route: Any, served: Any) -> _RouteNode | None:
    if isinstance(route, WebSocketRoute):
        return None
    inner = getattr(served, "routes", None)
    pattern = getattr(served, "path_regex", None)
    if pattern is None:
        return _RouteNode(route, "", None, inner=_nodes(inner)) if inner else None
    if hasattr(route, "endpoint"):
        return _RouteNode(route, served.path_format, pattern, getattr(served, "methods", None) or ())
    return _RouteNode(route, served.path, pattern, inner=_nodes(inner) if inner else None, opaque=not inner)


def _placed(nodes: Iterable[_RouteNode], before: str) -> Iterator[tuple[_RouteNode, str]]:
    """Yield each route and mount with its whole template."""
    for node in nodes:
        template = before + node.template
        yield node, template
        yield from _placed(node.inner or (), template)


def _found(nodes: Iterable[_RouteNode], path: str, method: str, before: str = "") -> tuple[_RouteNode, str] | None:
    """Return the first route that fits, as Starlette chooses, and its template: a mount that fits is not left again."""
    for node in nodes:
        if node.pattern is None:
            if (found := _found(node.inner or (), path, method, before)) is not None:
                return found
        elif (fits := node.pattern.match(path)) is not None:
            template = before + node.template
            if node.inner is not None:
                return _found(node.inner, "/" + fits.group("path"), method, template)
            if node.serves(method, None):
                return node, template
    return None


def _inside(path: str, root_path: str) -> str:
    """Return the part of the path that the app's routes see."""
    if root_path and (path == root_path or path.startswith(root_path + "/")):
        return path[len(root_path) :]
    return path
