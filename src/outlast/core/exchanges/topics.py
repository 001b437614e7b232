"""Topic exchanges: which patterns match a routing key, found by a trie over their words."""

from __future__ import annotations

from typing import Final

__all__ = ["MANY", "ONE", "TopicTrie", "words_of"]

ONE: Final = "*"
"""The word of a pattern that stands for exactly one word, also an empty one."""
MANY: Final = "#"
"""The word of a pattern that stands for any number of words, also for none."""


def words_of(text: str) -> list[str]:
    """Return the words of a routing key or of a pattern: "a..b" has three, one of them empty; "" has none."""
    return text.split(".") if text else []


class TopicTrie:
    """Patterns with a number each; `match` returns the numbers of those that match a key.

    The semantics are those of RabbitMQ 3.10. The cost is at most words of the key x nodes of the trie: all ways to
    divide the key among several `#` are followed at the same time, where the server follows one after the other.
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root = _Node(loops=False)

    def add(self, number: int, pattern: str) -> None:
        """Add a pattern with its number."""
        node = self._root
        for word in words_of(pattern):
            node = node.child(word)
        if node.numbers is None:
            node.numbers = []
        node.numbers.append(number)

    def match(self, key: str) -> list[int]:
        """Return the numbers of the patterns that match the key, each once, in no order."""
        active = _reached([self._root], [])
        for word in words_of(key):
            stepped: list[_Node] = []
            staying: list[_Node] = []
            for node in active:
                if node.loops:
                    staying.append(node)
                if node.words is not None and (child := node.words.get(word)) is not None:
                    stepped.append(child)
                if node.one is not None:
                    stepped.append(node.one)
            active = _reached(stepped, staying)
            if not active:
                break
        return [number for node in active for number in node.numbers or ()]


class _Node:
    """The end of one path of words. loops: its last word is `#`, so that it takes further words itself."""

    __slots__ = ("loops", "many", "numbers", "one", "words")

    def __init__(self, *, loops: bool) -> None:
        self.loops = loops
        self.one: _Node | None = None
        self.many: _Node | None = None
        # None while they are empty: each object more makes the pauses of the garbage collector longer.
        self.words: dict[str, _Node] | None = None
        self.numbers: list[int] | None = None

    def child(self, word: str) -> _Node:
        """Return the node of this path and one word more, made on first use."""
        if word == ONE:
            self.one = self.one or _Node(loops=False)
            return self.one
        if word == MANY:
            self.many = self.many or _Node(loops=True)
            return self.many
        if self.words is None:
            self.words = {}
        if (child := self.words.get(word)) is None:
            child = self.words[word] = _Node(loops=False)
        return child


def _reached(stepped: list[_Node], staying: list[_Node]) -> list[_Node]:
    """Return these nodes and those that a `#` for no word leads to.

    Only a node of `#` can be reached in two ways: by staying in it, and from the node before it. Each is returned once.
    """
    reached = stepped + staying
    held = set(staying)
    for node in reached:  # it grows meanwhile: a `#` may follow a `#`
        if (many := node.many) is not None and many not in held:
            held.add(many)
            reached.append(many)
    return reached
