"""The arguments of one kind: validate and encode them at enqueue, decode and validate them again at the run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NotRequired, cast

from msgspec import Raw

from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.kinds import Upgrade
from outlast.core.registry import Declaration
from outlast.declare.redaction import Redacted, is_redacted, refuse_unkept, texts
from outlast.declare.signature import Signature, hints_of

if TYPE_CHECKING:
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic_core import CoreConfig

__all__ = ["Arguments", "Redacted"]

_PLAIN: Final = (int, str, bool, float, type(None))
_CONFIG: Final[dict[str, Any]] = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    # Without it NaN and infinity would be stored as null, and refused or lost at the run.
    "ser_json_inf_nan": "strings",
}
"""The pydantic configuration outside models; a model has its own."""


class Arguments:
    """The arguments of one kind, by pydantic's lax rules ("7" is an int). Types are resolved on first use.

    An argument that the caller leaves out is not stored: the handler's default at the run applies. So a default may
    change, and a parameter with a default may be added or removed, while jobs wait.
    """

    def __init__(self, handler: Callable[..., Any], signature: Signature, *, kind: str) -> None:
        self.signature = signature
        self._kind = kind
        self._upgrades: tuple[tuple[int, Upgrade], ...] = ()
        self._hints: Callable[[], dict[str, Any]] = lambda: hints_of(handler, signature, kind)
        self._validate: Callable[[Any], dict[str, Any]] | None = None
        self._redacted: tuple[str, ...] = ()

    def of_version(self, version: int, declaration: Declaration) -> Arguments:
        """Return the arguments of jobs of an older version, which `load` upgrades."""
        if version == declaration.version:
            return self
        older = copy.copy(self)
        older._upgrades = tuple((each, declaration.upgrades[each]) for each in range(version, declaration.version))
        older._validate = None
        return older

    @property
    def redacted(self) -> tuple[str, ...]:
        """The arguments that must not be shown: marked `Annotated[T, Redacted]`, or with a marked field."""
        if self._validate is None:
            self._build()
        return self._redacted

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Raw:
        """Return the arguments of a call as JSON, by name; raise InvalidArguments that names the parameter."""
        return Raw(self._encode(self.validate(args, kwargs)))

    def validate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call as typed values, by name; raise InvalidArguments that names the parameter."""
        validate = self._validate
        if validate is None:
            validate = self._build()
        if args:
            names = self.signature.names
            if len(args) > len(names):
                raise InvalidArguments(
                    f"{self._kind}: {len(args)} positional arguments, and it takes {len(names)} ({', '.join(names)})"
                )
            values = dict(zip(names, args, strict=False))
            if kwargs:
                if twice := values.keys() & kwargs.keys():
                    raise InvalidArguments(f"{self._kind}: {min(twice)}: given twice, by position and by name")
                values |= kwargs
        else:
            values = kwargs
        try:
            return validate(values)
        except ValueError as error:  # pydantic's ValidationError
            problem = self._problem(error)
        raise InvalidArguments(problem)  # outside: the cause would carry the input, redacted values included

    def some(self, values: dict[str, Any]) -> Raw:
        """Return some of the arguments as JSON, to change them in a stored job; the others may be missing.

        Raise InvalidArguments that names the parameter.
        """
        if self._validate is None:
            self._build()
        adapter = self._adapter(self._hints(), optional=self.signature.names)
        try:
            found = adapter.validator.validate_python(values)
            body = _writer(adapter)(found, by_alias=False, round_trip=True, warnings="error")
            adapter.validator.validate_json(body, by_alias=True, by_name=True)  # refuse JSON that does not fit
            return Raw(body)
        except ValueError as error:
            problem = self._problem(error)
        raise InvalidArguments(problem)

    def encode(self, values: dict[str, Any]) -> bytes:
        """Return validated values as JSON; raise InvalidArguments when one has no JSON form."""
        if self._validate is None:
            self._build()
        return self._encode(values)

    def load(self, raw: Raw) -> dict[str, Any]:
        """Return stored arguments as typed values, by name; raise InvalidArguments that names the parameter."""
        if self._validate is None:
            self._build()
        try:
            return self._load(bytes(raw))
        except InvalidArguments:  # from an upgrade
            raise
        except ValueError as error:
            problem = self._problem(error)
        raise InvalidArguments(problem)

    def complete(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return `values`, with the defaults of missing arguments."""
        return {**self.signature.defaults, **values}

    def fingerprint(self, values: dict[str, Any]) -> str:
        """Return a hash that is equal for equal calls (`declare.fingerprint`), with defaults passed or left out."""
        import json

        from outlast.declare.fingerprint import fingerprint

        return fingerprint(values, self.signature.defaults, lambda: json.loads(self.encode(values)))

    def secrets(self, values: dict[str, Any]) -> tuple[str, ...]:
        """Return the texts of all redacted values in `values`, in each form that a traceback may show."""
        if not self.redacted:
            return ()
        found: set[str] = set()
        for name in self._redacted:
            if name in values:
                value, marked = values[name], is_redacted(self._hints()[name])
                # A plain dict does not show which keys a TypedDict marks: then the whole value is secret.
                found.update(set(texts(value, marked=marked)) or texts(value, marked=True))
        return tuple(found)

    def dump_result(self, value: Any) -> Raw | None:
        """Return a handler's result as JSON, None for None; raise InvalidArguments when it has no JSON form.

        A value that does not fit the declared return type is kept unchanged.
        """
        if value is None:
            return None
        if type(value) is str or type(value) is int or type(value) is bool:
            from outlast.core.codec import encode_value

            return encode_value(value)
        from pydantic_core import to_json

        try:
            return Raw(self._result.dump_json(value, warnings="error", round_trip=True))
        except ValueError:
            pass
        try:
            return Raw(to_json(value, bytes_mode="base64", inf_nan_mode="strings"))
        except ValueError as error:
            raise InvalidArguments(
                f"{self._kind}: its result, a {type(value).__name__}, has no JSON form ({error}): return plain data, a "
                "model or a dataclass"
            ) from None

    def load_result(self, raw: Raw | None) -> Any:
        """Return a kept result as the handler's return type; raise InvalidArguments when it does not fit."""
        if raw is None:
            return None
        try:
            return self._result.validate_json(bytes(raw), by_alias=True, by_name=True)
        except ValueError:
            pass
        raise InvalidArguments(f"{self._kind}: its kept result does not fit the declared return type")

    def _encode(self, values: dict[str, Any]) -> bytes:
        try:
            return self._dump(values)
        except ValueError as error:  # from pydantic, when writing or reading back
            culprit = self._culprit(error, values)
        raise InvalidArguments(
            f"{self._kind}: {culprit}: its value has no JSON form that reads back as its type: pass plain data, a "
            "model or a dataclass"
        )

    def _culprit(self, error: ValueError, values: dict[str, Any]) -> str:
        """Return the name of the argument that has no JSON form."""
        from pydantic import ValidationError

        if isinstance(error, ValidationError):
            return str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        for name, value in values.items():
            try:
                self._dump({name: value})
            except ValidationError:
                continue  # only because the other arguments are missing
            except ValueError:
                return name
        return "arguments"

    def _build(self) -> Callable[[Any], dict[str, Any]]:
        """Resolve the types and make the validators; raise ConfigurationError for a type that cannot be kept."""
        hints = self._hints()
        self._hints = lambda: hints
        for name in self.signature.names:
            refuse_unkept(hints[name], f"job {self._kind!r}: parameter {name!r}")
        adapter = self._adapter(hints, optional=self.signature.defaults)
        validator = adapter.validator
        validate_json = validator.validate_json
        to_json = _writer(adapter)

        def dump(values: dict[str, Any]) -> bytes:
            # By name and without computed fields. An error for a value that was changed after its validation.
            body = to_json(values, by_alias=False, round_trip=True, warnings="error")
            if b"null" in body:
                load(body)  # a NaN in a model is written as null: refuse it here, not at the run
            return body

        def load(body: bytes) -> dict[str, Any]:
            # Other senders may use the aliases of a model; `dump` writes the field names.
            values: dict[str, Any] = validate_json(body, by_alias=True, by_name=True)
            return values

        plain = all(hints[name] in _PLAIN for name in self.signature.names)
        self._dump: Callable[[dict[str, Any]], bytes] = to_json if plain else dump
        self._load: Callable[[bytes], dict[str, Any]] = load
        if self._upgrades:
            self._load = lambda body: load(_upgraded(self._kind, body, self._upgrades))
        self._redacted = tuple(name for name in self.signature.names if is_redacted(hints[name], inside=True))
        self._validate = validator.validate_python
        return self._validate

    def _adapter(self, hints: dict[str, Any], *, optional: Container[str]) -> TypeAdapter[dict[str, Any]]:
        """Return the validator of the arguments; those in `optional` may be missing."""
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError
        from typing_extensions import TypedDict

        make: Any = TypedDict  # type checkers accept literal fields only
        fields = {name: NotRequired[hints[name]] if name in optional else hints[name] for name in self.signature.names}
        shape = make(self._kind, fields)
        shape.__pydantic_config__ = {"extra": "forbid", **_CONFIG}
        try:
            return TypeAdapter(shape)
        except PydanticUserError as error:
            raise ConfigurationError(f"job {self._kind!r}: a type cannot be kept as JSON: {error}") from None

    @cached_property
    def _result(self) -> TypeAdapter[Any]:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUserError

        hint = self._hints()["return"]
        try:
            return TypeAdapter(hint, config=cast("ConfigDict", _CONFIG))
        except PydanticUserError as error:
            if error.code != "type-adapter-config-unused":
                raise ConfigurationError(
                    f"job {self._kind!r}: its return type cannot be kept as JSON: {error}"
                ) from None
            return TypeAdapter(hint)

    def _problem(self, error: ValueError) -> str:
        """Return the problem without any value; for a redacted argument also without the message of its validator."""
        from pydantic import ValidationError

        if not isinstance(error, ValidationError):
            return f"{self._kind}: {type(error).__name__}"
        return f"{self._kind}: " + "; ".join(self._details(error))

    def _details(self, error: ValidationError) -> list[str]:
        problems = []
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
            path = ".".join(map(str, item["loc"])) or "arguments"
            if item["type"] == "extra_forbidden" and path in (need.name for need in self.signature.needs):
                problems.append(f"{path}: is injected when the job runs, so it cannot be passed")
            elif item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
                problems.append(f"{path}: no such parameter (it takes {', '.join(self.signature.names) or 'none'})")
            elif item["type"] == "missing" and len(item["loc"]) == 1:
                problems.append(f"{path}: missing")
            elif item["loc"] and item["loc"][0] in self._redacted:
                problems.append(f"{item['loc'][0]}: does not fit its type ({item['type']})")
            else:
                problems.append(f"{path}: {item['msg']}")
        return problems


def _upgraded(kind: str, body: bytes, upgrades: tuple[tuple[int, Upgrade], ...]) -> bytes:
    """Upgrade stored arguments to the current version; raise InvalidArguments that names the failed step."""
    import msgspec

    values: Mapping[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    for version, upgrade in upgrades:
        step = f"{kind}: the upgrade from version {version} to {version + 1}"
        try:
            values = upgrade(dict(values))
        except Exception as error:
            raise InvalidArguments(f"{step} failed: {type(error).__name__}: {error}") from error
        if not isinstance(values, Mapping):
            raise InvalidArguments(f"{step} returned a {type(values).__name__}: return the arguments as a dict")
    try:
        return msgspec.json.encode(values)
    except (TypeError, ValueError) as error:
        raise InvalidArguments(f"{step} returned a value without a JSON form: {error}") from error


def _writer(adapter: TypeAdapter[Any]) -> Callable[..., bytes]:
    """Return the JSON writer. Made here, since pydantic does not apply a TypedDict's configuration to its fields."""
    from pydantic_core import SchemaSerializer

    return SchemaSerializer(adapter.core_schema, cast("CoreConfig", _CONFIG)).to_json
