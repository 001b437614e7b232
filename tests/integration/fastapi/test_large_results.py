"""The route of a job whose large result is in the object store: its state does not depend on that store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI, Request

from outlast.fastapi import install
from tests.support.claims import claims_app, claims_in, switched
from tests.support.working import record, working


async def test_the_state_of_a_job_is_told_whatever_became_of_its_result(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    shop = claims_app(f"sqlite:{tmp_path}/jobs.db", folder)

    @shop.job(queue="work")
    async def make(size: int) -> str:
        return "r" * size

    def allow(request: Request) -> bool:
        return "key" in request.query_params

    app = FastAPI()
    install(app, shop, authorize=allow)
    place = switched(shop)
    async with shop:
        handle = await make.enqueue(3000)
        async with working(shop):
            await record(shop, handle)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:

            async def get(query: str) -> tuple[int, dict[str, Any]]:
                answer = await client.get(f"/outlast/jobs/{handle.id}{query}")
                return answer.status_code, answer.json()

            status, whole = await get("?key=1")
            assert (status, whole["state"], whole["result"], whole["error"]) == (200, "succeeded", "r" * 3000, None)
            place.away = True
            status, bare = await get("")
            assert (status, bare["state"]) == (200, "succeeded")
            assert "result" not in bare
            assert place.calls == 0, "who may not see the result costs no request"
            status, problem = await get("?key=1")
            assert (status, problem["code"]) == (503, "toolkit-unavailable")
            place.away = False
            shop.composer.claims.link._guard.renew()
            (file,) = claims_in(folder)
            file.write_bytes(file.read_bytes().replace(b"r", b"s"))
            status, damaged = await get("?key=1")
            assert (status, damaged["state"], damaged["result"]) == (200, "succeeded", None)
            assert damaged["error"].startswith("ObjectDamaged: ")
            file.unlink()
            status, gone = await get("?key=1")
            assert (status, gone["state"], gone["result"]) == (200, "succeeded", None)
            assert gone["error"].startswith("ObjectNotFound: ")
