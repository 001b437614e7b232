"""Say for each binding of an exchange whether it takes an event, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from outlast.core.exchanges.header_pairs import MATCH, equal, pairs_of
from outlast.core.exchanges.topics import MANY, ONE, words_of
from outlast.core.exchanges.values import Binding, ExchangeType, HeaderValue
from outlast.core.text import counted, shown

__all__ = ["Explanation", "explained"]


class Explanation(Struct, frozen=True):
    """One binding, whether it matches an event, and the reason in words.

    repeated: it matches, and an earlier binding of the same queue does too: the queue gets its one copy by that one.
    """

    binding: Binding
    matches: bool
    why: str
    repeated: bool = False


def explained(
    type_: ExchangeType, bindings: Iterable[Binding], key: str, headers: Mapping[str, HeaderValue]
) -> tuple[Explanation, ...]:
    """Return an explanation for each binding to an exchange of this type, in the order in which they are given."""
    answers: list[Explanation] = []
    taken: set[str] = set()
    for binding in bindings:
        matches, why = _verdict(type_, binding, key, headers)
        repeated = matches and binding.queue in taken
        if matches:
            taken.add(binding.queue)
        if repeated:
            why += "; the queue has its copy by an earlier binding"
        answers.append(Explanation(binding, matches, why, repeated))
    return tuple(answers)


def _verdict(type_: ExchangeType, binding: Binding, key: str, headers: Mapping[str, HeaderValue]) -> tuple[bool, str]:
    if type_ == "fanout":
        return True, "a fanout exchange gives each of its queues a copy"
    if type_ == "headers":
        return _of_headers(binding.arguments, headers)
    if type_ == "topic":
        return _of_topic(binding.key, key)
    if binding.key == key:
        return True, "the keys are equal"
    return False, f"the key is not {shown(binding.key)}"


def _of_topic(pattern: str, key: str) -> tuple[bool, str]:
    """Compare word by word. places: where in the pattern it may be after the words so far."""
    wanted, words = words_of(pattern), words_of(key)
    places = _with_skips(wanted, {0})
    for number, word in enumerate(words, 1):
        following = {place for place in places if place < len(wanted) and wanted[place] == MANY}
        following |= {place + 1 for place in places if place < len(wanted) and wanted[place] in (ONE, word)}
        if not following:
            return False, _mismatch(wanted, places, number, word)
        places = _with_skips(wanted, following)
    if len(wanted) in places:
        return True, "the keys are equal" if pattern == key else "the pattern matches the key"
    missing = shown(wanted[max(places)])
    return False, f"the key has {counted(len(words), 'word')}, and the pattern wants {missing} after them"


def _with_skips(wanted: Sequence[str], places: set[int]) -> set[int]:
    """Return these places and those behind each `#` that stands for no word."""
    reached = set(places)
    for place in range(len(wanted)):
        if place in reached and wanted[place] == MANY:
            reached.add(place + 1)
    return reached


def _mismatch(wanted: Sequence[str], places: set[int], number: int, word: str) -> str:
    """Say why no place goes on with this word of the key."""
    literals = sorted({shown(wanted[place]) for place in places if place < len(wanted)})
    if not literals:
        return f"the pattern ends before word {number} of the key, {shown(word)}"
    text = f"word {number} of the key is {shown(word)}, and the pattern wants {' or '.join(literals)}"
    partial = [each for each in wanted if len(each) > 1 and (ONE in each or MANY in each)]
    if partial:
        text += f" (in {shown(partial[0])} the sign stands for itself: '*' and '#' stand for words when they are alone)"
    return text


def _of_headers(arguments: Mapping[str, HeaderValue], headers: Mapping[str, HeaderValue]) -> tuple[bool, str]:
    asked = pairs_of(arguments)
    aside = ""
    if asked.ignored:
        names = ", ".join(map(shown, asked.ignored))
        aside = f" ({names} is not compared: give {MATCH}='{asked.match}-with-x')"
    if not asked.pairs:
        if asked.match == "all":
            return True, f"it has no pairs to compare, so it matches each event{aside}"
        return False, f"{MATCH} is 'any', and it has no pairs to compare, so it matches no event{aside}"
    fit = [name for name, wanted in asked.pairs.items() if name in headers and equal(wanted, headers[name])]
    unfit = [_difference(name, wanted, headers) for name, wanted in asked.pairs.items() if name not in fit]
    if asked.match == "any" and fit:
        return True, f"header {shown(fit[0])} matches, and any is enough{aside}"
    if asked.match == "all" and not unfit:
        return True, f"all {counted(len(fit), 'pair')} match{aside}" if len(fit) > 1 else f"its pair matches{aside}"
    return False, "; ".join(unfit) + aside


def _difference(name: str, wanted: HeaderValue, headers: Mapping[str, HeaderValue]) -> str:
    if name not in headers:
        return f"header {shown(name)} is missing"
    value = headers[name]
    text = f"header {shown(name)} is {shown(value)}, not {shown(wanted)}"
    if isinstance(value, str) != isinstance(wanted, str) or isinstance(value, bool) != isinstance(wanted, bool):
        text += f" ({_kind(value)}, not {_kind(wanted)})"
    return text


def _kind(value: HeaderValue) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "a number"
