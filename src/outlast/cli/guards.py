"""`outlast guards`: show the guards and who waits for them; open, close and reset them by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from msgspec.structs import asdict

from outlast.cli import completion
from outlast.cli.common_options import CommonOptions, DefaultGroup, command
from outlast.cli.output import show
from outlast.cli.output.answers import print_answers
from outlast.cli.store_access import find_store, on_store
from outlast.core.errors import StoreMissing
from outlast.core.exitcodes import NOT_FOUND
from outlast.core.guards.permits import PermitsInUse
from outlast.core.guards.record import GuardCommand, GuardsView, Vote
from outlast.core.store.control import Answer
from outlast.core.text import clean, counted, duration

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.admin.guards import GuardStatus
    from outlast.core.store.store import Store

__all__ = ["register"]

group = typer.Typer(cls=DefaultGroup, help="Show the guards; open, close and reset them by hand.")
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Guards.", autocompletion=completion.guards)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The guard.", autocompletion=completion.guards)]

_STYLES: Final = {"open": "bold red", "half-open": "bold yellow", "closed": "green"}
_SCOPES: Final = {"": "no breaker", "process": "each process alone", "key": "each key of each process alone"}
_STATE: Final = ("guard", "state", "for", "next probe", "calls", "failed", "slow")
_WAITING: Final = ("bulkhead", "waiting jobs", "longest wait")


def register(root: typer.Typer) -> None:
    """Add the commands."""
    root.add_typer(group, name="guards")


@command(group, "list")
def list_(options: CommonOptions) -> None:
    """Show every guard that has opened, is held or is needed by a queue; with --app also those that were never used."""
    access = find_store(options)
    found, absent = _states(access)
    if options.json:
        show.json({"guards": [_document(each) for each in found]})
    else:
        policies = any(each.policies for each in found)
        show.table(
            (*_STATE, *_WAITING, *(["policies"] if policies else []), ""),
            (_row(each, policies=policies) for each in found),
            empty=f"no guards in {access.shown}: it knows one that has opened, or that a queue needs; "
            "--app module:name shows those that the app declares",
        )
    if absent is not None:
        raise absent


def _row(status: GuardStatus, *, policies: bool) -> list[show.Cell]:
    calls = status.calls
    waiting = sum(status.queues.values())
    return [
        status.name,
        (status.state, _STYLES[status.state]) if status.scope == "all" else "-",
        "-" if status.seconds is None else duration(status.seconds),
        "-" if status.next_probe is None else f"in {duration(status.next_probe)}" if status.next_probe else "due",
        calls.calls if calls.calls else "-",
        _part(calls.failures, calls.calls),
        _part(calls.slow, calls.calls),
        _bulkhead(status.permits),
        waiting if status.queues else "-",
        duration(status.oldest) if status.oldest else "-",
        *([", ".join(status.policies) or "-"] if policies else []),
        (", ".join(_remarks(status)), "bold yellow"),
    ]


def _remarks(status: GuardStatus) -> list[str]:
    remarks = []
    if status.held:
        remarks.append(f"held {status.held} by an operator")
    if status.state == "half-open":
        remarks.append("a probe is running")
    if 0 < status.share < 1:
        remarks.append(f"makes {status.share:.0%} of the calls until the ramp ends")
    if status.asking:
        remarks.append("its processes vote")
    if status.scope != "all":
        remarks.append(_SCOPES[status.scope])
    elif not status.known:
        remarks.append("has never opened")
    if status.queues:
        remarks.append(f"needed by {', '.join(status.queues)}")
    return remarks


def _bulkhead(permits: Sequence[PermitsInUse]) -> str:
    """Return how many calls of these processes run and wait, in words."""
    if not permits:
        return "-"
    waiting = sum(each.waiting for each in permits)
    used = f"{sum(each.used for each in permits)} of {sum(each.of for each in permits)}"
    return f"{used}, {waiting} wait" if waiting else used


def _part(number: int, calls: int) -> str:
    return f"{number / calls:.0%}" if calls else "-"


def _document(status: GuardStatus) -> dict[str, Any]:
    return {
        **asdict(status),
        "votes": [_vote(each) for each in status.votes],
        "rules": asdict(status.rules),
        "permits": [asdict(each) for each in status.permits],
    }


def _vote(vote: Vote) -> dict[str, Any]:
    return {
        "process": vote.voter,
        "open": vote.open,
        "calls": vote.calls,
        "failures": vote.failures,
        "slow": vote.slow,
    }


@command(group, "show")
def show_(options: CommonOptions, name: Name) -> None:
    """Show everything about one guard: its state, the votes of the processes, its rules and policies."""
    access = find_store(options)
    found, absent = _states(access)
    status = next((each for each in found if each.name == name), None)
    if status is None:
        if absent is not None:
            raise absent
        show.note(f"outlast: {clean(name)}: {_unknown(name, [each.name for each in found])}")
        raise typer.Exit(NOT_FOUND)
    if options.json:
        show.json(_document(status))
        return
    rules = status.rules
    rates = [("failed", rules.failure_rate), ("slow", rules.slow_rate)]
    opens = " or ".join(f"{rate:.0%} {what}" for what, rate in rates if rate is not None)
    show.facts(
        (
            ("guard", status.name),
            (
                "state",
                (status.state, _STYLES[status.state]) if status.scope == "all" else _SCOPES[status.scope],
            ),
            ("why", status.why),
            ("for", "" if status.why or status.seconds is None else duration(status.seconds)),
            ("held", f"{status.held}, until outlast guards reset {status.name}" if status.held else ""),
            ("probe", status.probe_by and f"by {status.probe_by}"),
            ("calls made", f"{status.share:.0%}" if status.share < 1 else "all"),
            ("needed by", ", ".join(f"{queue} ({counted(n, 'waiting job')})" for queue, n in status.queues.items())),
            ("oldest job", f"ready for {duration(status.oldest)}" if status.oldest else ""),
            ("opens at", f"{opens} of at least {counted(rules.minimum, 'call')}"),
            ("for all at", f"more than {rules.quorum:.0%} of the processes"),
            ("probe every", f"{rules.interval:g} s, waited for {rules.lease:g} s"),
            ("ramp", f"{rules.ramp:g} s"),
            *((setting, words) for setting, words in status.policies.items()),
        )
    )
    for vote in status.votes:
        calls = f"{counted(vote.calls, 'call')}, {vote.failures} failed, {vote.slow} slow"
        show.say(f"  {clean(vote.voter)}  {'open' if vote.open else 'closed'}  {calls}")
    for each in status.permits:
        show.say(f"  {clean(each.process)}  bulkhead: {_bulkhead([each])}")


def _states(access: StoreAccess) -> tuple[list[GuardStatus], StoreMissing | None]:
    """Return the guards; those of the app alone, and the error, if there is no store yet."""
    from outlast.admin.guards import guards_of, states_of

    declared = {} if access.app is None else access.app.registry.guards
    try:
        return on_store(access, lambda store: states_of(store, declared)), None
    except StoreMissing as error:
        if not declared:
            raise
        return guards_of(GuardsView(0.0, "", ()), {}, declared), error


def _changing(name: GuardCommand, done: str, unchanged: str) -> Callable[..., None]:
    """Return the command that makes this change."""

    def run(options: CommonOptions, names: Names) -> None:
        access = find_store(options)
        known, answers = on_store(access, lambda store: _command(store, access, names, name))
        print_answers(
            names,
            answers,
            json=options.json,
            done=done,
            unchanged=unchanged,
            noun="guard",
            unknown=lambda missing: _unknown(missing, known),
        )

    return run


async def _command(
    store: Store, access: StoreAccess, names: list[str], change: GuardCommand
) -> tuple[list[str], list[Answer]]:
    """Make the change; return the known names and the answers. An error of one name changes none."""
    from outlast.admin.guards import command_guard, rules_to_share, states_of

    declared = {} if access.app is None else access.app.registry.guards
    known = [each.name for each in await states_of(store, declared)]
    rules = {name: rules_to_share(name, declared.get(name)) for name in names}
    answers = []
    for name in names:
        if name in known:
            changed = await command_guard(store.guards, name, change, rules[name])
            answers.append(Answer(ok=True, changed=int(changed)))
        else:
            answers.append(Answer(ok=False, why="unknown"))
    return known, answers


def _unknown(name: str, known: list[str]) -> str:
    """Return why there is no such guard, and what to do."""
    from outlast.admin.guards import nearest

    near = nearest(name, known)
    if near:
        return f"no guard of this name, did you mean {near!r}?"
    return (
        "no guard of this name: the store knows one that has opened, or that a queue needs; "
        "for another give --app module:name, which declares it"
    )


_CHANGES: Final[tuple[tuple[GuardCommand, str, str, str], ...]] = (
    (
        "open",
        "Make no call to what it guards, in any process, until reset or close. Its queues wait.",
        "is held open: no process makes its calls",
        "is held open already",
    ),
    (
        "close",
        "Make all calls, whatever comes of them, in every process, until reset or open.",
        "is held closed: every call is made",
        "is held closed already",
    ),
    (
        "reset",
        "Let the guard go by its calls again. One that is open, also in one process alone, closes and ramps up.",
        "is closed and goes by its calls",
        "is closed and goes by its calls",
    ),
)
for _name, _help, _done, _unchanged in _CHANGES:
    command(group, _name, help=_help)(_changing(_name, _done, _unchanged))
