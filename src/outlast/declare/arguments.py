"""The arguments of one kind: validate and encode them at enqueue, decode and validate them again at the run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, get_args

from msgspec import Raw

from outlast.core.calls import unawaited
from outlast.core.errors import ConfigurationError, InvalidArguments, OutlastError
from outlast.core.kinds import Upgrade
from outlast.core.registry import Declaration
from outlast.declare.redaction import Redacted, is_redacted, refuse_unkept, texts
from outlast.declare.signature import Signature, hints_of

if TYPE_CHECKING:
    from pydantic import ValidationError

    from outlast.declare.json_form import JsonForm

__all__ = ["Arguments", "Redacted"]

_FIX: Final = (
    "annotate it with its exact type, or pass plain data (text, finite numbers, lists, dicts with text as keys)"
)


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
        """Return the arguments of a call as JSON, by name; raise InvalidArguments that names the parameter.

        Those of an older version are plain JSON data by name, as that version stored them.
        """
        if self._upgrades:
            return self._bind_older(kwargs)
        return Raw(self.encode(self.validate(args, kwargs)))

    def _bind_older(self, values: dict[str, Any]) -> Raw:
        from outlast.core.codec import encode_value

        body = encode_value(values)
        try:
            self.load(body)
            return body
        except OutlastError:
            raise
        except Exception as error:  # a validator is user code
            problem = f"{self._kind}: a validator raised {type(error).__name__}"
        raise InvalidArguments(problem)

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
            problem, cause = self._problem(error), None
        except Exception as error:  # a validator is user code
            problem, cause = f"{self._kind}: a validator raised {type(error).__name__}", error
        # Not inside: the context would carry the input, redacted values included.
        raise InvalidArguments(problem) from (None if self._redacted else cause)

    def some(self, values: dict[str, Any], *, stored: Mapping[str, Any] | None = None) -> Raw:
        """Return some of the arguments as JSON, to change them in a stored job; the others may be missing.

        Raise InvalidArguments that names the parameter. Those of an older version can be checked only together with
        the other `stored` ones.
        """
        if self._upgrades:
            from outlast.core.codec import encode_value

            if stored is not None:
                self._bind_older({**stored, **values})
            return encode_value(values)
        if self._validate is None:
            self._build()
        part = copy.copy(self)
        part._form = self._form_of(self._hints(), optional=self.signature.names)
        part._validate = part._form.validate
        return part.bind((), values)

    def encode(self, values: dict[str, Any]) -> bytes:
        """Return validated values as JSON from which `load` makes equal ones.

        Raise InvalidArguments that names the place in an argument which would arrive changed, or not at all.
        """
        if self._validate is None:
            self._build()
        try:
            return self._form.write(values)
        except ValueError as error:  # NotKept
            problem = self._refusal(error, values)
        raise InvalidArguments(problem)

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

    def fingerprint(self, values: dict[str, Any], body: bytes) -> str:
        """Return a hash that is equal for equal calls, with defaults passed or left out. body: of `encode`."""
        from outlast.declare.fingerprint import fingerprint

        return fingerprint(values, self.signature.defaults, body)

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

    def stored_secrets(self, raw: Raw, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the texts to mask in a failure: of the arguments in `raw` that are marked now, and those in `names`.

        They are of the stored arguments: a handler may have changed those that it got. They are loaded once more for
        the forms of their types. If that fails (a validator or an upgrade raises), all of a marked argument is masked.
        Never raises.
        """
        import msgspec

        marked = set(names)
        with suppress(BaseException):  # its types are not found: this is the failure to report
            marked |= set(self.redacted)
        found: set[str] = set()
        if not marked:
            return ()
        partly: set[str] = set()
        with suppress(BaseException):  # validators, and the texts of what they return, are user code
            found.update(self.secrets(self.load(raw)))
            partly = {name for name in self._redacted if not is_redacted(self._hints()[name])}
        with suppress(BaseException):  # not JSON: then no error text can contain its values
            stored = msgspec.json.decode(raw, type=dict[str, Any])
            found.update(text for name in marked - partly for text in texts(stored.get(name), marked=True))
        return tuple(found)

    def dump_result(self, value: Any) -> Raw | None:
        """Return a handler's result as JSON from which `load_result` makes an equal one, None for None.

        A value that does not fit the declared return type is kept as plain data, if it is plain data. Raise
        InvalidArguments for a value that would be read changed, or not at all.
        """
        if value is None:
            return None
        if type(value) in self._simple_results and (type(value) is not int or -(2**63) <= value < 2**64):
            from outlast.core.codec import encode_value

            try:
                return encode_value(value)
            except UnicodeEncodeError:  # half a character: refused below
                pass
        return self._dump_typed(value)

    def load_result(self, raw: Raw | None) -> Any:
        """Return a kept result as the handler's return type; as plain data where it does not fit that type."""
        if raw is None:
            return None
        import msgspec

        try:
            return self._result.read(bytes(raw))
        except Exception:  # validators are user code, and the type may have changed since
            return msgspec.json.decode(raw)

    def _refusal(self, error: ValueError, values: dict[str, Any]) -> str:
        """Return the problem of values that are not kept, without any value; of a redacted argument only its name."""
        path = getattr(error, "path", "").removeprefix(".") or self._culprit(values)
        for name in self._redacted:
            if path.startswith((f"{name}.", f"{name}[")):
                path = name
        return f"{self._kind}: {path}: {error}: {_FIX}"

    def _culprit(self, values: dict[str, Any]) -> str:
        """Return the name of the argument that is not kept, by trying each alone."""
        form = self._form_of(self._hints(), optional=self.signature.names)
        for name, value in values.items():
            try:
                form.write({name: value})
            except ValueError:  # NotKept
                return name
        return "arguments"

    def _build(self) -> Callable[[Any], dict[str, Any]]:
        """Resolve the types and make the validators; raise ConfigurationError for a type that cannot be kept."""
        hints = self._hints()
        self._hints = lambda: hints
        for name in self.signature.names:
            refuse_unkept(hints[name], f"job {self._kind!r}: parameter {name!r}")
        self._form = form = self._form_of(hints, optional=self.signature.defaults)
        self._load: Callable[[bytes], dict[str, Any]] = form.read
        if self._upgrades:
            self._load = lambda body: form.read(_upgraded(self._kind, body, self._upgrades))
        self._redacted = tuple(name for name in self.signature.names if is_redacted(hints[name], inside=True))
        self._validate = form.validate
        return self._validate

    def _form_of(self, hints: dict[str, Any], *, optional: Container[str]) -> JsonForm:
        """Return the JSON form of the arguments; those in `optional` may be missing."""
        from outlast.declare.json_form import JsonForm

        fields = {name: hints[name] for name in self.signature.names}
        return JsonForm.of_fields(self._kind, fields, optional=optional, where=f"job {self._kind!r}: a type")

    @cached_property
    def _result(self) -> JsonForm:
        from outlast.declare.json_form import JsonForm

        return JsonForm.of(self._hints()["return"], where=f"job {self._kind!r}: its return type")

    @cached_property
    def _simple_results(self) -> tuple[type, ...]:
        """The types of results that need no check."""
        from outlast.declare.json_form import is_exact

        hint = self._hints()["return"]
        if hint is Any:
            return (str, int, bool)
        return tuple(kind for kind in (str, int, bool) if is_exact(hint) and kind in (hint, *get_args(hint)))

    def _dump_typed(self, value: Any) -> Raw:
        from outlast.core.codec import encode_value
        from outlast.declare.json_form import NotKept
        from outlast.declare.readback import a_or_an, difference

        path = ""
        try:
            return Raw(self._result.write(self._result.validate(value)))
        except NotKept as error:
            path, problem = error.path, error.what
        except ConfigurationError as error:
            problem = str(error)
        except Exception:  # validators are user code
            problem = "it is neither of the declared return type nor plain data"
        with suppress(Exception):  # it has no JSON form, or cannot be read
            body = encode_value(value)
            if difference(value, self.load_result(body)) is None:
                return body
        raise InvalidArguments(
            f"{self._kind}: its result, {a_or_an(type(value))}: {path and path.removeprefix('.') + ': '}{problem}: "
            "annotate the return type exactly, return plain data, or set result_ttl=0, which keeps no result"
        )

    def _problem(self, error: ValueError) -> str:
        """Return the problem without any value; for a redacted argument also without the message of its validator."""
        from pydantic import ValidationError

        if not isinstance(error, ValidationError):
            return f"{self._kind}: {type(error).__name__}"
        return f"{self._kind}: " + "; ".join(self._details(error))

    def _details(self, error: ValidationError) -> list[str]:
        from outlast.declare.json_form import MOST_DIGITS, path_of
        from outlast.declare.options import instead_of

        problems = []
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
            path = path_of(item["loc"]).removeprefix(".") or "arguments"
            if item["type"] == "extra_forbidden" and path in (need.name for need in self.signature.needs):
                problems.append(f"{path}: is injected when the job runs, so it cannot be passed")
            elif item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
                takes = f"{path}: no such parameter (it takes {', '.join(self.signature.names) or 'none'})"
                problems.append(takes + instead_of(path, self._kind))
            elif item["type"] == "missing" and len(item["loc"]) == 1:
                problems.append(f"{path}: missing")
            elif item["loc"] and item["loc"][0] in self._redacted:
                problems.append(f"{item['loc'][0]}: does not fit its type ({item['type']})")
            elif item["type"] == "int_parsing_size":  # of an Enum member too, whose value is not an int
                problems.append(f"{path}: Input should be a valid integer, of at most {MOST_DIGITS} digits")
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
        if unawaited(values) or not isinstance(values, Mapping):
            raise InvalidArguments(f"{step} returned a {type(values).__name__}: return the arguments as a dict")
    try:
        return msgspec.json.encode(values)
    except (TypeError, ValueError) as error:
        raise InvalidArguments(f"{step} returned a value without a JSON form: {error}") from error
