"""What the pieces of the toolkit return may be the answer of a route, as it is."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.testclient import TestClient

from outlast import BoardEntry, Outlast, StoredObject, UserSession


def test_a_route_may_return_what_the_toolkit_returns() -> None:
    shop, app = Outlast("shop"), FastAPI()
    board, sessions, objects = shop.board("best"), shop.sessions(), shop.objects

    @app.get("/best")
    async def best() -> list[BoardEntry]:
        await board.add("product:7", 3)
        return await board.top()

    @app.get("/sessions")
    async def of_ann() -> list[UserSession]:
        session = await sessions.open(None)
        session.login("ann")
        session["device"] = "phone"
        await session.save()
        return await sessions.of_user("ann")

    @app.get("/object")
    async def stored() -> StoredObject:
        return await objects.put("a.txt", b"abc")

    with shop.testing(), TestClient(app) as client:
        assert client.get("/best").json() == [{"rank": 1, "member": "product:7", "score": 3}]
        [told] = client.get("/sessions").json()
        assert (told["user"], told["fields"], len(told["handle"])) == ("ann", {"device": "phone"}, 64)
        assert client.get("/object").json()["size"] == 3
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        assert {"BoardEntry", "UserSession", "StoredObject"} <= set(schemas)
