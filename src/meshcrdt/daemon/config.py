"""Settings of the daemon: flags over variables over the file over defaults.

Every value remembers where it came from, so that an error names its source. Secrets are
no settings: no flag, variable or file key carries one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from meshcrdt.daemon import places
from meshcrdt.daemon.exits import CommandError, ExitCode
from meshcrdt.daemon.options import BY_NAME, OPTIONS, Kind, Option

DEFAULT_ORIGIN = "default"
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off", "")


@frozen
class Setting:
    """One value and where it came from: a flag, a variable, a file's key, or the default."""

    value: Any
    origin: str

    @property
    def given(self) -> bool:
        """True when somebody chose the value."""
        return self.origin != DEFAULT_ORIGIN


class Settings:
    """What the daemon was told; `settings.mtu` is a value, `settings.of("mtu")` its Setting."""

    def __init__(self, chosen: Mapping[str, Setting]) -> None:
        self._chosen = dict(chosen)

    def of(self, name: str) -> Setting:
        """Return a value with its origin."""
        return self._chosen[name]

    def replaced(self, others: Mapping[str, Setting]) -> Settings:
        """Return these settings with others in the place of some."""
        return Settings({**self._chosen, **others})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._chosen:
            raise AttributeError(name)
        return self._chosen[name].value


def load_settings(
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str],
    config_file: str | None,
    root: bool,
) -> Settings:
    """Join the four sources.

    `flags` holds checked values of the flags that were given, by option name. Raises
    CommandError: exit 1 for a bad variable or file, 2 for flags that contradict each other.
    """
    path = config_file or environ.get("MESHCRDT_CONFIG") or None
    from_file = _read_file(Path(path)) if path else {}
    chosen = {}
    for option in OPTIONS:
        if option.name in flags:
            chosen[option.name] = Setting(flags[option.name], option.flag)
        elif option.variable in environ:
            value = _from_text(option, environ[option.variable])
            chosen[option.name] = Setting(value, option.variable)
        elif option.name in from_file:
            origin = f"{path}: {option.name}"
            chosen[option.name] = Setting(
                _from_file(option, from_file[option.name], origin), origin
            )
        else:
            chosen[option.name] = Setting(option.default, DEFAULT_ORIGIN)
    _derive(chosen, environ, root=root)
    _agree(chosen)
    return Settings(chosen)


def _derive(chosen: dict[str, Setting], environ: Mapping[str, str], *, root: bool) -> None:
    """Fill in the defaults that depend on the host or on another value."""
    state_dir = chosen["state_dir"]
    if state_dir.given:
        chosen["state_dir"] = Setting(Path(state_dir.value).absolute(), state_dir.origin)
    else:
        default = places.default_state_dir(environ, root=root)
        chosen["state_dir"] = Setting(default, DEFAULT_ORIGIN)
    if chosen["api"].value is None:
        api = (
            places.unix_url(chosen["state_dir"].value / places.SOCKET_NAME)
            if state_dir.given
            else places.default_api(environ, root=root)
        )
        chosen["api"] = Setting(api, DEFAULT_ORIGIN)
    if chosen["dataplane"].value is None:
        chosen["dataplane"] = Setting("linux" if root else "none", DEFAULT_ORIGIN)
    if chosen["dataplane"].value == "linux" and not root:
        raise CommandError(
            f"{chosen['dataplane'].origin}: dataplane linux needs root; --dataplane none works",
            code=ExitCode.FEATURE_OFF,
        )


def _agree(chosen: Mapping[str, Setting]) -> None:
    """Refuse values that contradict each other; nothing was asked of anyone yet."""
    if chosen["no_dns"].value and chosen["dns_listen"].given:
        raise _contradiction(chosen, "no_dns", "dns_listen")
    if chosen["insecure"].value and chosen["join_file"].given:
        raise _contradiction(chosen, "insecure", "join_file")


def _contradiction(chosen: Mapping[str, Setting], first: str, second: str) -> CommandError:
    origins = (chosen[first].origin, chosen[second].origin)
    by_flags = origins == (BY_NAME[first].flag, BY_NAME[second].flag)
    return CommandError(
        f"{origins[0]} and {origins[1]} contradict each other: give one of them",
        code=ExitCode.USAGE if by_flags else ExitCode.FAILED,
    )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            table = tomllib.load(stream)
    except OSError as error:
        raise CommandError(f"configuration {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"configuration {path} is not TOML: {error}") from None
    known = {key.replace("-", "_"): value for key, value in table.items()}
    unknown = sorted(set(known) - set(BY_NAME))
    if unknown:
        raise CommandError(
            f"configuration {path} has the unknown key {unknown[0]!r}: "
            f"{', '.join(sorted(BY_NAME))} are accepted"
        )
    return known


def _from_text(option: Option, text: str) -> Any:
    """Read a variable; values of a list are separated by commas or white space."""
    match option.kind:
        case Kind.SWITCH:
            if text.lower() in _TRUE:
                return True
            if text.lower() in _FALSE:
                return False
            raise CommandError(f"{option.variable}: {text!r} is neither true nor false")
        case Kind.MANY:
            words = text.replace(",", " ").split()
            return tuple(_checked(option, word, option.variable) for word in words)
        case Kind.ONE:
            return _checked(option, text, option.variable)


def _from_file(option: Option, value: Any, origin: str) -> Any:
    match option.kind:
        case Kind.SWITCH:
            if not isinstance(value, bool):
                raise CommandError(f"{origin}: {value!r} is neither true nor false")
            return value
        case Kind.MANY:
            if not isinstance(value, list):
                raise CommandError(f"{origin}: {value!r} is not a list")
            return tuple(_checked(option, str(item), origin) for item in value)
        case Kind.ONE:
            if isinstance(value, (bool, list, dict)):
                raise CommandError(f"{origin}: {value!r} is not one value")
            return _checked(option, str(value), origin)


def _checked(option: Option, text: str, origin: str) -> Any:
    try:
        return option.check(text)
    except ValueError as error:
        raise CommandError(f"{origin}: {error}") from None
