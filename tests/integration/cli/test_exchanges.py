"""`outlast exchanges`, `outlast route` and `outlast topology prune`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outlast import Outlast, Settings
from tests.support.command import Project

MAIN = """from outlast import Outlast

shop = Outlast("shop")
orders = shop.exchange("orders")
alerts = shop.exchange("alerts", type="headers")
news = shop.exchange("news", type="fanout", unroutable="keep")


@shop.job(queue="billing", on=orders.binding("order.*.paid"))
async def write_invoice(order: int) -> None: ...


@shop.job(queue="mail", on=[orders.binding("order.eu.#"), orders.binding("order.#")])
async def thank(order: int) -> None: ...


@shop.job(queue="pager", on=alerts.binding(headers={"level": 5}))
async def page(alert: str) -> None: ...


@shop.job
async def plain() -> None: ...
"""
OTHER = """from outlast import Outlast

other = Outlast("other")
orders = other.exchange("orders")


@other.job(queue="audit", on=orders.binding("#"))
async def audit(order: int) -> None: ...
"""
LATER = MAIN.replace('[orders.binding("order.eu.#"), orders.binding("order.#")]', 'orders.binding("order.#")')


def opened(project: Project, text: str, name: str) -> None:
    """Let an app open the store of the project: it adds what the app declares."""
    names: dict[str, Any] = {}

    async def open_once() -> None:
        async with names[name]:
            await names[name].runtime()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTLAST_URL", project.url)
        exec(text, names)
        asyncio.run(open_once())


@pytest.fixture
def stored(project: Project) -> Project:
    """A store that two apps have opened."""
    project.write("main.py", MAIN)
    project.write("other.py", OTHER)
    opened(project, MAIN, "shop")
    opened(project, OTHER, "other")
    return project


def test_the_exchanges_of_all_apps_are_shown(stored: Project) -> None:
    assert stored.run("exchanges").out.splitlines() == [
        "exchange  type     bindings  queues                unroutable",
        "alerts    headers         1  pager                 refused",
        "news      fanout          0  -                     kept: 0     nothing is bound to it",
        "orders    topic           4  audit, billing, mail  refused",
    ]
    assert stored.run("exchanges", "orders").out.splitlines() == [
        "exchange  queue    binding         kind           app",
        'orders    audit    "#"             audit          other',
        'orders    billing  "order.*.paid"  write_invoice  shop',
        'orders    mail     "order.#"       thank          shop',
        'orders    mail     "order.eu.#"    thank          shop',
    ]
    found = {each["name"]: each for each in stored.run("exchanges", "--json").json["exchanges"]}
    assert list(found) == ["alerts", "news", "orders"]
    assert found["orders"]["queues"] == ["audit", "billing", "mail"]
    assert (found["news"]["type"], found["news"]["unroutable"], found["news"]["kept"]) == ("fanout", "keep", 0)
    (binding,) = found["alerts"]["bindings"]
    assert (binding["queue"], binding["kind"], binding["arguments"]["level"], binding["app"]) == (
        "pager", "page", 5, "shop",
    )  # fmt: skip
    ran = stored.run("exchanges", "ordres", "news")
    assert (ran.code, ran.out) == (6, "")
    assert ran.err == "nothing is bound to it\noutlast: ordres: no exchange of this name, did you mean 'orders'?\n"


async def test_what_is_kept_is_counted(stored: Project) -> None:
    app = Outlast("shop", settings=Settings(url=stored.url))
    news = app.exchange("news", type="fanout", unroutable="keep")
    async with app:
        assert (await news.publish("", "a")).kept
    assert "kept: 1" in stored.run("exchanges").out


def test_the_app_shows_what_the_store_does_not_have(stored: Project) -> None:
    more = MAIN.replace('"order.*.paid")', '["order.*.paid"])').replace(
        'on=orders.binding(["order.*.paid"])', 'on=[orders.binding("order.*.paid"), orders.binding("invoice")]'
    )
    stored.write("main.py", more.replace('"news", type="fanout"', '"news", type="direct"') + "shop.exchange('young')\n")
    rows = stored.run("exchanges", "--app", "main:shop").out.splitlines()[1:]
    assert rows[0].endswith("refused")
    assert rows[1].endswith(
        "declared with type='direct', unroutable='keep': outlast topology prune --exchange news removes the stored "
        "one, nothing is bound to it"
    )
    assert rows[2].endswith("1 binding of the app not in the store yet")
    assert rows[3].endswith("not in the store yet")
    found = stored.run("exchanges", "--app", "main:shop", "--json").json["exchanges"]
    assert [each["stored"] for each in found] == [True, True, True, False]
    assert [each["key"] for each in found[2]["new"]] == ["invoice"]
    rows = stored.run("exchanges", "--app", "other:other").out.splitlines()[1:]
    assert ["not declared by this app" in row for row in rows] == [True, True, False]


def test_the_declaration_is_shown_before_there_is_a_store(project: Project) -> None:
    project.write("main.py", MAIN)
    ran = project.run("exchanges", "--app", "main:shop")
    assert (ran.code, len(ran.out.splitlines())) == (3, 4)
    assert "no store at" in ran.err
    ran = project.run("route", "orders", "order.us.paid", "--app", "main:shop")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "2 queues: billing, mail")
    assert "this is by the declaration of the app" in ran.err
    assert project.run("route", "orders", "order.us.paid").code == 3


def test_a_route_says_why(stored: Project) -> None:
    assert stored.run("route", "orders", "order.us.paid").out.splitlines() == [
        "queue    copy  binding         why",
        'audit    yes   "#"             the pattern matches the key',
        'billing  yes   "order.*.paid"  the pattern matches the key',
        'mail     yes   "order.#"       the pattern matches the key',
        "mail     -     \"order.eu.#\"    word 2 of the key is 'us', and the pattern wants 'eu'",
        "3 queues: audit, billing, mail",
    ]
    found = stored.run("route", "orders", "order.eu.paid", "--json").json
    assert found["queues"] == ["audit", "billing", "mail"]
    assert [(each["queue"], each["matches"], each["copy"]) for each in found["bindings"]] == [
        ("audit", True, True), ("billing", True, True), ("mail", True, True), ("mail", True, False),
    ]  # fmt: skip
    assert stored.run("route", "news").out == "no queue: it would be kept in news-unroutable\n"


def test_a_route_looks_at_headers(stored: Project) -> None:
    ran = stored.run("route", "alerts", "-H", "level=3", "--header", "region=eu")
    assert ran.out.splitlines()[1:] == [
        "pager  -     level=5 x-match=\"all\"  header 'level' is 3, not 5",
        "no queue: it would be refused",
    ]
    assert stored.run("route", "alerts", "-H", "level=5.0").out.splitlines()[-1] == "1 queue: pager"
    assert stored.run("route", "alerts", "-H", 'level="5"').out.splitlines()[-1] == "no queue: it would be refused"
    headers = stored.run(
        "route", "alerts", "-H", "a=null", "-H", "b=true", "-H", "c=[1]", "-H", "d=x=y", "-H", "e=", "--json"
    ).json["headers"]
    assert headers == {"a": None, "b": True, "c": "[1]", "d": "x=y", "e": ""}


def test_a_route_that_is_wrong(stored: Project) -> None:
    ran = stored.run("route", "ordrs", "a")
    assert (ran.code, ran.out) == (6, "")
    assert ran.err == "outlast: ordrs: no exchange of this name, did you mean 'orders'?\n"
    for arguments, said in (
        (("orders", "a" * 256), "has 256 bytes of UTF-8"),
        (("alerts", "-H", "level"), "--header level: give NAME=VALUE"),
        (("alerts", "-H", "a=1", "-H", "a=2"), "--header a=2: a is given twice"),
        (("alerts", "-H", "outlast-key=a"), "names that begin with 'outlast-' are reserved"),
    ):
        ran = stored.run("route", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err


def test_a_prune_shows_and_with_yes_removes_what_the_app_declares_no_more(stored: Project) -> None:
    nothing = stored.run("topology", "prune", "--app", "main:shop", "--yes")
    assert (nothing.code, nothing.out) == (0, "app 'shop' declares all bindings that it has in the store\n")
    stored.write("main.py", LATER)
    shown = stored.run("topology", "prune", "--app", "main:shop")
    assert shown.out.splitlines() == [
        "         exchange  queue  binding",
        'binding  orders    mail   "order.eu.#"',
    ]
    assert (shown.code, shown.err) == (0, "outlast: nothing was removed: add --yes\n")
    assert len(stored.run("exchanges", "orders").out.splitlines()) == 5
    told = "bindings that main:shop does not declare any more still give events to queues: orders to mail\n"
    assert told in stored.run("doctor", "--no-integrity", "--app", "main:shop").out
    ran = stored.run("topology", "prune", "--app", "main:shop", "--yes")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "1 removed")
    assert len(stored.run("exchanges", "orders").out.splitlines()) == 4
    assert "does not declare any more" not in stored.run("doctor", "--no-integrity", "--app", "main:shop").out
    document = stored.run("topology", "prune", "--app", "main:shop", "--yes", "--json").json
    assert document == {"bindings": [], "exchanges": [], "bound": {}, "removed": 0}


def test_an_exchange_is_removed_by_name_when_nothing_is_bound_to_it(stored: Project) -> None:
    only = 'from outlast import Outlast\n\nshop = Outlast("shop")\n'
    stored.write("main.py", only)
    shown = stored.run("topology", "prune", "--app", "main:shop")
    assert [row.split()[:3] for row in shown.out.splitlines()[1:]] == [
        ["binding", "alerts", "pager"], ["binding", "orders", "billing"], *[["binding", "orders", "mail"]] * 2,
    ]  # fmt: skip
    for name in ("alerts", "news"):
        assert f"nothing else is bound to exchange '{name}': if no app publishes to it, remove it too" in shown.err
    ran = stored.run("topology", "prune", "--app", "main:shop", "--exchange", "orders", "--exchange", "news", "--yes")
    assert (ran.code, ran.out.splitlines()[-2:]) == (1, ["exchange  news      -        -", "5 removed"])
    assert "outlast: orders: other apps use it: they have 1 binding to it in the store" in ran.err
    assert [row.split()[0] for row in stored.run("exchanges").out.splitlines()[1:]] == ["alerts", "orders"]
    ran = stored.run("topology", "prune", "--app", "main:shop", "--exchange", "ordrs")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        6, "outlast: ordrs: no exchange of this name, did you mean 'orders'?",
    )  # fmt: skip
    stored.write("main.py", f'{only}shop.exchange("alerts", type="headers")\n')
    ran = stored.run("topology", "prune", "--app", "main:shop", "--exchange", "alerts", "--yes")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        1, "outlast: alerts: the app declares it: remove it from the code first",
    )  # fmt: skip


def test_an_exchange_can_be_declared_anew_with_another_type(stored: Project) -> None:
    direct = MAIN.replace('type="headers"', 'type="direct"').replace('headers={"level": 5}', '"level.5"')
    stored.write("main.py", direct)
    refused = stored.run("call", "main:shop", "plain")
    assert refused.code == 2
    assert "exchange 'alerts' has type='headers' in this store, and is declared with type='direct'" in refused.err
    ran = stored.run("topology", "prune", "--app", "main:shop", "--exchange", "alerts", "--yes")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "2 removed")
    opened(stored, direct, "shop")
    assert stored.run("route", "alerts", "level.5").out.splitlines()[-1] == "1 queue: pager"
    stored.write("main.py", MAIN.replace('shop.exchange("orders")', 'shop.exchange("orders", type="direct")'))
    ran = stored.run("topology", "prune", "--app", "main:shop", "--exchange", "orders", "--yes")
    assert ran.code == 1
    assert "stays while it has bindings of: other" in ran.err


def test_a_prune_needs_an_app(stored: Project) -> None:
    ran = stored.run("topology", "prune", "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert "give --app module:name" in ran.err
    assert "prune" in stored.run("topology", "--help").out


def test_the_bindings_of_an_app_that_has_retired_are_removed_by_its_name(stored: Project) -> None:
    publisher = Outlast("publisher", settings=Settings(url=stored.url))
    orders = publisher.exchange("orders")

    async def publish() -> None:
        async with publisher:
            await orders.publish("lost", 1)

    asyncio.run(publish())
    told = "if app 'other' is gone, first outlast topology prune --retired other"
    assert told in stored.run("doctor", "--no-integrity").out
    shown = stored.run("topology", "prune", "--retired", "other")
    assert shown.out.splitlines()[1:] == ['binding  orders    audit  "#"']
    assert (shown.code, shown.err.splitlines()[-1]) == (0, "outlast: nothing was removed: add --yes")
    ran = stored.run("topology", "prune", "--retired", "other", "--yes")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "1 removed")
    assert "audit" not in stored.run("exchanges", "orders").out
    for name in ("other", "shpo"):
        again = stored.run("topology", "prune", "--retired", name, "--yes")
        assert (again.code, again.out) == (6, "")
        assert again.err == (
            f"outlast: {name}: no app of this name has bindings in the store (those that have: 'shop')\n"
        )
    ran = stored.run("topology", "prune", "--app", "main:shop", "--retired", "shop", "--yes")
    assert ran.code == 2
    assert "--retired shop: it is the app of --app" in ran.err


def test_the_shell_completes_the_names(stored: Project) -> None:
    env = {"_OUTLAST_COMPLETE": "complete_bash", "COMP_CWORD": "2", "COMP_WORDS": "outlast route o"}
    assert stored.run(env=env).out.split() == ["orders"]
