"""The state of a run for the page and the terminal, read from the files that the processes write."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from typing import Literal

import msgspec

from outlast.demo.analytics import Sale
from outlast.demo.breaker import BreakerSeen, BreakerWatch
from outlast.demo.catalogue import Catalogue
from outlast.demo.customers import OrderAnswer, ScriptSeen
from outlast.demo.journal import JournalLine, Tail
from outlast.demo.ledger import Ledger
from outlast.demo.mail import Mail
from outlast.demo.provider import BookEntry
from outlast.demo.run_files import RunFiles
from outlast.demo.toolkit_watch import PieceSeen, ToolkitWatch

__all__ = ["Board", "JobCounts", "Incident", "Snapshot"]

SAMPLES, INCIDENTS = 600, 40
ACCEPTED, PAID, PARTLY, DONE = "1", "2", "3", "4"
COPIES = 3
"""The queues that get a copy of the event that an order is paid."""
Row = tuple[float, int, int, int, int, int]


class JobCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that reached each stage. repeats: requests that the provider recognised; retries: failed runs.

    events: orders whose event was published. copies: those of their copies that are done, of `COPIES` each.

    in_outage: of these while the provider was down, or the breaker not closed again. postponed: runs that met an open
    breaker and are put off; they use up no attempt.
    """

    accepted: int
    paid: int
    invoiced: int
    mailed: int
    counted: int
    events: int
    copies: int
    repeats: int
    retries: int
    in_outage: int
    postponed: int


class Incident(msgspec.Struct, frozen=True):
    """An event to show, `at` seconds after the start."""

    at: float
    kind: Literal["info", "down", "up", "killed", "done", "failed"]
    text: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state that the page shows. Times in seconds since the start of the run.

    stages: a digit for each order, in the order of acceptance: 1 accepted, 2 paid, 3 some copies of its event
    done, 4 all. series: rows of time, accepted, paid, invoiced, mailed, counted. outages: begin and end; end None while
    the outage lasts.
    toolkit_outages: the same of the toolkit's store; pieces: what each piece of it does now. replays:
    answers to orders that were sent again. invoice: the address of the last one, "" before the first.
    openings: the same of the breaker; probes: when each was made. routed_by: what gives the queues their events.
    """

    at: float
    planned: int
    outage: float
    counts: JobCounts
    stages: str
    series: Sequence[Row]
    outages: Sequence[tuple[float, float | None]]
    toolkit_outages: Sequence[tuple[float, float | None]]
    pieces: Sequence[PieceSeen]
    replays: int
    best_sellers: dict[str, int]
    invoice: str
    breaker: BreakerSeen
    openings: Sequence[tuple[float, float | None]]
    probes: Sequence[float]
    routed_by: str
    killed: Sequence[float]
    incidents: Sequence[Incident]
    per_second: float
    answered_ms: float | None
    workers: int
    staying: bool
    ledger: Ledger | None
    balances: bool | None


class Board:
    """Reads the files that provider, mail server, analytics and workers write, and the folder of invoices."""

    def __init__(self, files: RunFiles, planned: int, started: float, *, workers: int, outage: float = 0.0) -> None:
        self.accepted: dict[str, int] = {}
        self.mails: list[Mail] = []
        self.sales: list[Sale] = []
        self.planned = planned
        self.routed_by = "the store"
        self.staying = False
        self.ledger: Ledger | None = None
        self.outages: list[tuple[float, float | None]] = []
        self.breaker = BreakerWatch("payments")
        self.toolkit = ToolkitWatch()
        self.told: dict[str, set[str]] = {}
        """The jobs that the answers to each order have named."""
        self.replays = 0
        self.stale_refused = 0
        self.script = ScriptSeen()
        self.best_sellers: dict[str, int] = {}
        self._last_invoice = ""
        self.killed: list[float] = []
        self.incidents: deque[Incident] = deque(maxlen=INCIDENTS)
        self.answers: list[float] = []
        self.last_run: JournalLine | None = None
        self.started, self._workers, self._outage, self._files = started, workers, outage, files
        self._catalogue = Catalogue(files.catalogue)
        self._catalogue.make()
        self._paid: set[str] = set()
        self._invoiced: set[str] = set()
        self._mailed: set[str] = set()
        self._counted: set[str] = set()
        self._told: set[str] = set()  # orders whose payment job has ended, which published the event
        self._repeats = self._retries = self._in_outage = self._postponed = 0
        self._series: list[Row] = []
        self._provider, self._mail = Tail(files.charges), Tail(files.mails)
        self._sales, self._runs = Tail(files.sales), Tail(files.runs)

    @property
    def shop(self) -> str:
        """The URL of the shop."""
        return f"http://127.0.0.1:{self._files.shop}"

    def accept(self, answer: OrderAnswer) -> None:
        """Record that a customer was answered 202, for the first time or again."""
        self.replays += answer.replayed
        if answer.order not in self.accepted:
            self.accepted[answer.order] = answer.cents
            self.answers.append(answer.seconds)
        self.told.setdefault(answer.order, set()).add(answer.job)

    def note(self, kind: Literal["info", "down", "up", "killed", "done", "failed"], text: str, now: float) -> Incident:
        """Record an incident and return it."""
        incident = Incident(round(now - self.started, 1), kind, text)
        self.incidents.append(incident)
        return incident

    def provider_down(self, now: float) -> None:
        """Begin an outage."""
        self.outages.append((now - self.started, None))

    def provider_up(self, now: float) -> float:
        """End the outage; return its duration in seconds."""
        begin, _ = self.outages[-1]
        self.outages[-1] = (begin, now - self.started)
        return now - self.started - begin

    @property
    def down(self) -> bool:
        """Whether the provider is down."""
        return bool(self.outages) and self.outages[-1][1] is None

    def look(self, now: float) -> None:
        """Read the lines that were added since the last look, and add a point to the series."""
        for line in self._provider.lines():
            entry = msgspec.json.decode(line, type=BookEntry)
            self._paid.add(entry.order)
            self._repeats += entry.what == "repeat"
        invoices = list(self.invoices())
        self._invoiced, self._last_invoice = set(invoices), invoices[-1] if invoices else ""
        for line in self._mail.lines():
            mail = msgspec.json.decode(line, type=Mail)
            self.mails.append(mail)
            self._mailed.add(mail.order)
        for line in self._sales.lines():
            sale = msgspec.json.decode(line, type=Sale)
            self.sales.append(sale)
            self._counted.add(sale.order)
        outage = self.down or self.breaker.seen.state in ("open", "half-open")
        for line in self._runs.lines():
            run = msgspec.json.decode(line, type=JournalLine)
            self._retries += run.what == "retried"
            self._in_outage += run.what == "retried" and outage
            self._postponed += run.what == "postponed"
            if run.what == "started" and run.kind == "take_payment":
                self.last_run = run
            if run.what == "ended" and run.kind == "take_payment":
                self._told.add(run.job.partition(".")[2])
        # A worker that is killed may not have told of the end of a payment, but the copies of its event run.
        self._told |= self._invoiced | self._mailed | self._counted
        if self._series and not self.unfinished() and self.ledger is not None:
            return  # the run has ended and nothing is new: the chart ends here
        counts = self.counts()
        self._series.append(
            (round(now - self.started, 2), counts.accepted, counts.paid, counts.invoiced, counts.mailed, counts.counted)
        )
        if len(self._series) > SAMPLES:
            self._series = self._series[::2]

    def invoices(self) -> dict[str, str]:
        """Return the digest of each invoice by its order, as the shop has written it down."""
        return self._catalogue.invoices()

    def unfinished(self) -> list[str]:
        """Return the accepted orders that are not yet paid, invoiced, mailed and counted."""
        return [order for order in self.accepted if order not in self._paid or self._copies_of(order) < COPIES]

    def counts(self) -> JobCounts:
        """Count the orders by stage, and repeats and retries."""
        return JobCounts(
            accepted=len(self.accepted),
            paid=len(self._paid),
            invoiced=len(self._invoiced),
            mailed=len(self._mailed),
            counted=len(self._counted),
            events=len(self._told),
            copies=len(self._invoiced) + len(self._mailed) + len(self._counted),
            repeats=self._repeats,
            retries=self._retries,
            in_outage=self._in_outage,
            postponed=self._postponed,
        )

    def snapshot(self, now: float) -> Snapshot:
        """Return the state that the page draws."""
        at = now - self.started
        return Snapshot(
            at=round(at, 1),
            planned=self.planned,
            outage=self._outage,
            counts=self.counts(),
            stages="".join(self._stage(order) for order in self.accepted),
            series=self._series,
            outages=self.outages,
            toolkit_outages=self.toolkit.outages,
            pieces=self.toolkit.seen,
            replays=self.replays,
            best_sellers=self.best_sellers,
            invoice=f"{self.shop}/invoices/{self._last_invoice}" if self._last_invoice else "",
            breaker=self.breaker.seen,
            openings=self.breaker.openings,
            probes=self.breaker.probes,
            routed_by=self.routed_by,
            killed=self.killed,
            incidents=list(self.incidents),
            per_second=self._rate(at),
            answered_ms=round(statistics.median(self.answers) * 1000, 1) if self.answers else None,
            workers=self._workers,
            staying=self.staying,
            ledger=self.ledger,
            balances=None if self.ledger is None else self.ledger.balances,
        )

    def _stage(self, order: str) -> str:
        done = self._copies_of(order)
        if done:
            return DONE if done == COPIES else PARTLY
        return PAID if order in self._paid else ACCEPTED

    def _copies_of(self, order: str) -> int:
        """Return how many copies of the event of an order are done."""
        return (order in self._invoiced) + (order in self._mailed) + (order in self._counted)

    def _rate(self, at: float, window: float = 3.0) -> float:
        """Return the orders finished per second over the last `window` seconds."""
        recent = [(t, min(copies)) for t, _, _, *copies in self._series if t >= at - window]
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        return round((recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0]), 1)
