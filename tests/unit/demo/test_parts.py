"""The witnesses of the demo can be trusted: the provider's book, the invoice, the journal and what the page is told."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec import structs

from outlast.core.events import JobEnded, JobPostponed, JobRetried, JobStarted, WorkerStalled
from outlast.core.guards.record import GuardRecord, GuardRules, GuardsView, probe_ended, took_probe
from outlast.demo.analytics import record_sale
from outlast.demo.board import Board
from outlast.demo.breaker import BreakerSeen, BreakerWatch
from outlast.demo.catalogue import Catalogue
from outlast.demo.customers import OrderAnswer
from outlast.demo.invoice import draw_invoice, is_whole
from outlast.demo.journal import Journal, JournalLine, Tail
from outlast.demo.mail import Mail
from outlast.demo.provider import Book, KeyReused
from outlast.demo.run_files import RunFiles, free_ports


def places(directory: Path) -> RunFiles:
    found = RunFiles(root=str(directory), shop=1, provider=2, smtp=3)
    found.save()
    return found


def test_a_repeated_key_gives_the_first_charge_and_takes_no_money(tmp_path: Path) -> None:
    book = Book(tmp_path / "book")
    first, new = book.charge("k", "order-1", 500, now=1.0)
    again, second = book.charge("k", "order-1", 500, now=2.0)
    book.close()
    assert (new, second) == (True, False)
    assert again == first
    assert [charge.order for charge in book.statement().charges] == ["order-1"]
    assert book.statement().repeats == 1


def test_a_key_that_stands_for_something_else_is_refused(tmp_path: Path) -> None:
    book = Book(tmp_path / "book")
    book.charge("k", "order-1", 500, now=1.0)
    with pytest.raises(KeyReused, match="order-1"):
        book.charge("k", "order-1", 501, now=2.0)
    book.close()


def test_the_book_survives_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "book"
    book = Book(path)
    book.charge("k", "order-1", 500, now=1.0)
    book.charge("k", "order-1", 500, now=2.0)
    book.close()
    with path.open("ab") as file:
        file.write(b'{"what":"charge","key":"torn"')
    book = Book(path)
    _, new = book.charge("k", "order-1", 500, now=3.0)
    _, other = book.charge("torn", "order-2", 700, now=4.0)
    book.close()
    assert (new, other) == (False, True)
    again = Book(path)
    again.close()
    assert len(again.statement().charges) == 2
    assert again.statement().repeats == 2


def test_an_invoice_is_a_whole_pdf_and_the_same_when_drawn_again() -> None:
    first = draw_invoice(order="order-1", item="Crème brûlée torch", cents=4_999, email="a@example.com")
    again = draw_invoice(order="order-1", item="Crème brûlée torch", cents=4_999, email="a@example.com")
    assert again == first
    assert is_whole(first)
    assert not is_whole(first[: len(first) // 2])


def test_a_tail_gives_each_line_once_and_only_whole_ones(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "log")
    assert tail.lines() == []
    with (tmp_path / "log").open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert tail.lines() == [b"one"]
        file.write(b"o\n")
    assert tail.lines() == [b"two"]
    assert tail.lines() == []


def test_the_journal_writes_what_starts_is_retried_is_put_off_and_ends(tmp_path: Path) -> None:
    journal = Journal(lambda: tmp_path / "runs")
    journal(JobStarted(id="q.1", queue="q", kind="k", attempt=1, waited=0.0))
    journal(JobRetried(id="q.1", queue="q", kind="k", attempt=1, at=5.0, error="down"))
    journal(JobPostponed(id="q.1", queue="q", kind="k", guard="payments", at=6.0))
    journal(WorkerStalled(holder="h", seconds=1.0))
    journal(JobEnded(id="q.1", queue="q", kind="k", state="succeeded", reason=None, seconds=1.0))
    runs = [msgspec.json.decode(line, type=JournalLine) for line in Tail(tmp_path / "runs").lines()]
    assert [run.what for run in runs] == ["started", "retried", "postponed", "ended"]
    journal.close()


def test_the_board_counts_orders_by_the_stage_they_reached(tmp_path: Path) -> None:
    spots = places(tmp_path)
    board = Board(spots, 4, 100.0, workers=2)
    for order in ("a", "b", "c", "d"):
        board.accept(OrderAnswer(order=order, job=f"payments.{order}", cents=500, replayed=False, seconds=0.004))
    book = Book(spots.charges)
    for order in ("a", "b", "d", "a"):
        book.charge(order, order, 500, now=1.0)
    book.close()
    Catalogue(spots.catalogue).has_invoice("a", "0" * 64)
    spots.mails.write_bytes(msgspec.json.encode(Mail(order="a", message_id="<1>", to="a@example.com", at=1.0)) + b"\n")
    record_sale(spots.sales, event="a-paid", order="a", cents=500)
    record_sale(spots.sales, event="b-paid", order="b", cents=500)
    ended = JournalLine(what="ended", job="payments.d", kind="take_payment", pid=1, at=1.0)
    spots.runs.write_bytes(msgspec.json.encode(ended) + b"\n")
    board.provider_down(102.0)
    board.look(104.0)
    snapshot = board.snapshot(104.0)
    assert snapshot.stages == "4312"
    assert board.unfinished() == ["b", "c", "d"]
    counts = snapshot.counts
    assert (counts.accepted, counts.paid, counts.events, counts.copies, counts.repeats) == (4, 3, 3, 4, 1)
    assert (counts.invoiced, counts.mailed, counts.counted) == (1, 1, 2)
    assert snapshot.series == [(4.0, 4, 3, 1, 1, 2)]
    assert snapshot.outages == [(2.0, None)]
    assert snapshot.answered_ms == 4.0
    assert board.provider_up(110.0) == 8.0
    assert board.snapshot(110.0).outages == [(2.0, 10.0)]


def test_the_board_counts_failed_runs_of_the_outage_until_the_breaker_has_closed(tmp_path: Path) -> None:
    board = Board(places(tmp_path), 3, 100.0, workers=2)
    journal = Journal(lambda: tmp_path / "runs.jsonl")
    failed = JobRetried(id="q.1", queue="q", kind="k", attempt=1, at=5.0, error="down")
    record = opened(GuardRecord(name="payments"))

    def look(now: float, *records: GuardRecord) -> None:
        list(board.breaker.look(GuardsView(now, "", records), waiting=0, at=now - 100))
        journal(failed)
        board.look(now)

    look(101.0)
    board.provider_down(102.0)
    look(103.0)
    board.provider_up(104.0)
    look(105.0, record)
    look(106.0, structs.replace(record, open=False, held="closed"))
    journal.close()
    counts = board.counts()
    assert (counts.retries, counts.in_outage) == (4, 2)
    assert board.snapshot(106.0).openings == [(5.0, 6.0)]


def opened(record: GuardRecord) -> GuardRecord:
    return structs.replace(record, open=True, generation=record.generation + 1, since=105.0, probe_at=107.0)


def test_each_change_of_the_breaker_is_told_once() -> None:
    watch = BreakerWatch("payments")
    rules = GuardRules(interval=2, lease=10, ramp=4)
    closed = GuardRecord(name="payments", generation=6, rules=rules)
    first = opened(closed)
    probing = took_probe(first, "a", 107.0)
    assert probing is not None
    failed = probe_ended(probing, "a", probing.generation, "failure", 107.5)
    again = took_probe(failed, "b", 110.0)
    assert again is not None
    over = probe_ended(again, "b", again.generation, "success", 110.5)
    told = [
        [text.partition(":")[0] for _, text in watch.look(GuardsView(now, "", (record,)), waiting=3, at=now - 100)]
        for record, now in [
            (closed, 104.0),
            (first, 105.0),
            (first, 106.0),
            (failed, 107.5),  # the look has missed the probe while it ran
            (again, 110.0),
            (over, 110.5),
            (over, 112.0),
            (over, 115.0),
            (over, 116.0),
        ]
    ]
    opens, closes = "the breaker opens", "the probe succeeds"
    assert told == [[], [opens], [], ["probe 1"], ["probe 2"], [closes], [], ["all slots run payments again"], []]
    assert (watch.openings, watch.probes) == ([(5.0, 10.5)], [7.5, 10.0])
    assert watch.seen == BreakerSeen(waiting=3)


def test_the_breaker_is_told_in_words() -> None:
    watch = BreakerWatch("payments")
    list(watch.look(GuardsView(106.0, "", (opened(GuardRecord(name="payments")),)), waiting=9, at=6.0))
    assert watch.seen == BreakerSeen(state="open", text="open for 1.0 s, next probe in 1.0 s", waiting=9)


def test_ports_lie_where_no_connection_starts() -> None:
    ports = free_ports(4, Random(1))
    assert len(set(ports)) == 4
    assert all(20_000 <= port < 32_768 for port in ports)
