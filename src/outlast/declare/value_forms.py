"""The forms of values that are kept outside of jobs: by pydantic, as the results of jobs have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from outlast.core.errors import ConfigurationError
from outlast.declare.annotations import globals_of, resolve
from outlast.declare.json_form import JsonForm

__all__ = ["JsonForms"]


class JsonForms:
    """Makes the forms of types."""

    def of(self, hint: Any) -> JsonForm:
        """Return the form of a type; raise ConfigurationError for one that cannot have a form."""
        return JsonForm.of(hint, where=f"values of type {hint!r}")

    def returned(self, function: Callable[..., Any]) -> Any:
        """Return the type that a function says that it returns, Any when it says none; raise ConfigurationError."""
        known: dict[str, Any] = getattr(function, "__annotations__", {})
        try:
            return resolve(known.get("return", Any), globals_of(function))
        except NameError as error:
            raise ConfigurationError(
                f"the return type of {getattr(function, '__qualname__', function)} is not found ({error}): "
                "define it at the top of the module (not under TYPE_CHECKING, not inside a function), or give type="
            ) from None
