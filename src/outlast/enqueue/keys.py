"""Computes the key and the unique key of a job from its arguments, by the rules of its kind and of the enqueue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import structs

from outlast.core.bounds import KEY_LIMIT, check_text, plain_text
from outlast.core.calls import unawaited
from outlast.core.codec import scrub
from outlast.core.errors import ConfigurationError, InvalidArguments, OutlastError
from outlast.core.registry import Declaration
from outlast.core.text import short, shown
from outlast.core.unique import Unique, stored_key
from outlast.declare.arguments import Arguments
from outlast.declare.options import Options
from outlast.declare.redaction import texts
from outlast.declare.signature import template_names

__all__ = ["key_of", "unique_of"]


def key_of(declaration: Declaration, arguments: Arguments, values: dict[str, Any], options: Options) -> str | None:
    """Return the key of a job, None for none. Raise ConfigurationError, InvalidArguments, errors of `key=` included."""
    if options.key is not None:
        return options.key
    rule = declaration.key
    if rule is None:
        return None
    complete = arguments.complete(values)
    if callable(rule):
        text = _text(declaration, arguments, values, "key", lambda: rule(**complete))
    else:
        if rule in arguments.redacted:
            raise ConfigurationError(f"job {declaration.kind!r}: key={rule!r} would show a redacted argument")
        text = _text(declaration, arguments, values, "key", lambda: complete[rule])
    if text is None:
        return None
    if len(text) > KEY_LIMIT:
        raise InvalidArguments(f"{declaration.kind}: its key has {len(text)} characters: make it at most {KEY_LIMIT}")
    check_text(text, f"{declaration.kind}: its key")
    return text


def unique_of(
    declaration: Declaration, arguments: Arguments, values: dict[str, Any], options: Options
) -> Unique | None:
    """Return the unique key of a job as the store compares it, None for none. Raise as `key_of` does, for `unique=`."""
    on_conflict = options.on_conflict or declaration.on_conflict
    given = options.unique
    if isinstance(given, Unique):
        replace = on_conflict == "replace" or (options.on_conflict is None and given.replace)
        key = _stored(declaration, given.key, given)
        return structs.replace(given, key=key, replace=replace, scope="kind")
    text = given
    if text is None:
        rule = declaration.unique
        if rule is None:
            if options.on_conflict == "replace":
                raise ConfigurationError(
                    f"job {declaration.kind!r}: on_conflict='replace' needs a unique key: give unique="
                )
            return None
        text = _declared(declaration, rule, arguments, values)
        if text is None:
            return None
    replace = on_conflict == "replace"
    return Unique(_stored(declaration, text), declaration.unique_until, declaration.unique_seconds, replace)


def _declared(
    declaration: Declaration, rule: str | Callable[..., str | None], arguments: Arguments, values: dict[str, Any]
) -> str | None:
    if callable(rule):
        complete = arguments.complete(values)
        return _text(declaration, arguments, values, "unique", lambda: rule(**complete))
    _check_shown(declaration, rule, arguments)
    if rule:
        complete = arguments.complete(values)
        return _text(declaration, arguments, values, "unique", lambda: rule.format_map(complete))
    return arguments.fingerprint(values)


def _stored(declaration: Declaration, text: str, given: Unique | None = None) -> str:
    key = stored_key(declaration.kind, text, "kind" if given is None else given.scope)
    if not text or len(key) > KEY_LIMIT:
        with_kind = f", with {declaration.kind + ':'!r} before it" if text and key != text else ""
        raise InvalidArguments(
            f"{declaration.kind}: its unique key has {len(key) if text else 0} characters{with_kind}: make it 1 to "
            f"{KEY_LIMIT}"
        )
    check_text(key, f"{declaration.kind}: its unique key")
    return key


def _text(
    declaration: Declaration,
    arguments: Arguments,
    values: dict[str, Any],
    setting: str,
    compute: Callable[[], object],
) -> str | None:
    """Return what a rule gives as text, None for None: a number has the text that `str` gives.

    Raise ConfigurationError that names the setting when user code raises. When the kind has a redacted argument, the
    values of all arguments are masked in it: any of them may be quoted. Errors of Outlast pass.
    """
    cause: Exception | None = None
    try:
        value = compute()
        if value is None:
            return None
        if isinstance(value, str):
            return plain_text(value)
        if not unawaited(value):
            return plain_text(str(value))
        problem = f"gave {shown(value)}: give a plain function that returns text or None"
    except OutlastError:
        raise
    except Exception as error:
        secrets = tuple(texts(tuple(values.values()), marked=True)) if arguments.redacted else ()
        problem = f"raised {type(error).__name__}: {_message_of(error, secrets)}"
        cause = None if arguments.redacted else error
    raise ConfigurationError(f"job {declaration.kind!r}: {setting}= {problem}") from cause


def _message_of(error: Exception, secrets: tuple[str, ...]) -> str:
    try:
        return short(scrub(str(error), secrets), 200)
    except Exception:
        return "(its text raises an error)"


def _check_shown(declaration: Declaration, rule: str, arguments: Arguments) -> None:
    """Raise ConfigurationError for a unique key that shows a redacted argument; a hash of a short one shows it too."""
    if not arguments.redacted:
        return
    named = template_names(rule, "unique") if rule else set(arguments.signature.names)
    if secret := named & set(arguments.redacted):
        raise ConfigurationError(
            f"job {declaration.kind!r}: unique={rule or True!r} would show the redacted {min(secret)!r}: name other "
            "parameters in a template, or give a callable"
        )
