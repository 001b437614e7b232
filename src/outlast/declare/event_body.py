"""The body of an event as JSON, by the type of the value that is published: a model, a dataclass or plain data."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from outlast.core.bounds import NESTED_LIMIT
from outlast.core.codec import nested_levels
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.declare.redaction import is_redacted

if TYPE_CHECKING:
    from outlast.declare.json_form import JsonForm

__all__ = ["event_body"]

_PLAIN: Final = (dict, list, str, int, float, bool, type(None))
_FIX: Final = (
    "publish a model or a dataclass whose fields have exact types, or plain data (text, finite numbers, lists, "
    "dicts with text as keys)"
)


def event_body(exchange: str, event: object) -> tuple[Raw, bool]:
    """Return an event as JSON, from which a value of its type is read back equal, and whether its type is redacted.

    Raise InvalidArguments that names the place in the event which would arrive changed, or not at all.
    """
    where = f"event for exchange {exchange!r}"
    kind: Any = Any if type(event) in _PLAIN else type(event)
    try:
        form = _form(kind)
        body = form.write(form.validate(event))
    except ConfigurationError as error:
        problem = str(error)
    except ValueError as error:  # NotKept, or pydantic's ValidationError, which would show the value
        path, what = getattr(error, "path", ""), getattr(error, "what", "its value does not fit its own type")
        problem = f"{where}: event{path}: {what}"
    except Exception as error:  # a validator is user code
        problem = f"{where}: a validator raised {type(error).__name__}"
    else:
        if nested_levels(body) < NESTED_LIMIT:  # one level more in the arguments of a job
            return Raw(body), _is_redacted(kind)
        problem = f"{where}: it is nested deeper than {NESTED_LIMIT - 1} levels"
    raise InvalidArguments(f"{problem}: {_FIX}")


@lru_cache(maxsize=256)
def _form(kind: Any) -> JsonForm:
    from outlast.declare.json_form import JsonForm

    return JsonForm.of(kind, where=f"events of type {getattr(kind, '__qualname__', kind)}")


@lru_cache(maxsize=256)
def _is_redacted(kind: Any) -> bool:
    """Return whether the type of an event, or a field in it, is marked as `Redacted`."""
    return is_redacted(kind, inside=True)
