"""Scenario files: TOML that reads as prose, into a `Scenario` and back into plain data.

An error names the file, the key, the value and what is accepted. Times are texts such as
"500ms", "2s" and "10m", or numbers of seconds; shares are numbers from 0 to 1 or texts such
as "5 %". docs/simulator.md lists every key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin

from attrs import Attribute, AttrsInstance, asdict, evolve, fields, resolve_types

from meshcrdt.base.limits import Limits
from meshcrdt.errors import UsageError
from meshcrdt.sim.expect import Asserted, Bounds
from meshcrdt.sim.fault_list import Faults
from meshcrdt.sim.scenario import Pace, Region, RegionLoss, Scenario, Traffic
from meshcrdt.sim.steps import ACTIONS, Step
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.heartbeats import Detection

T = TypeVar("T")
R = TypeVar("R", bound=AttrsInstance)

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")

SECTIONS = (
    "about",
    "cluster",
    "limits",
    "network",
    "faults",
    "traffic",
    "step",
    "expect",
    "asserted",
)
CLUSTER = {
    "nodes": "nodes",
    "topology": "topology",
    "islands": "islands",
    "discovery": "discovery",
    "detection": "detection",
    "start_every": "start_every_s",
    "held_back": "held_back",
    "warm_up": "warm_up_s",
    "runs_for": "duration_s",
    "settles_for": "settle_s",
    "commands_every": "command_every_s",
    "ranges": "universes",
    "round": "round_s",
    "trace": "trace",
}
"""Key of [cluster] -> field of Scenario; `pace` chooses the limits beside."""

SWITCHES: dict[str, type[Enum]] = {"discovery": Discovery, "detection": Detection}


NETWORK = ("latency", "spread", "loss", "jitter", "bandwidth", "region", "between")


def read_scenario(text: str, *, name: str = "scenario", seed: int = 0) -> Scenario:
    """Read a scenario file; raises UsageError that names `name`, the key and what is accepted."""
    try:
        return _Reader(name).scenario(tomllib.loads(text), seed)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is not TOML: {error}") from None


class _Reader:
    """Reads one file, and knows its name when something is wrong."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _wrong(self, where: str, value: object, accepted: str) -> UsageError:
        return UsageError(f"{self._name}: {where} is {value!r}: {accepted} accepted")

    def _unknown(self, where: str, keys: Mapping[str, Any], accepted: Any) -> None:
        for key in keys:
            if key not in accepted:
                place = f"{where}.{key}" if where else key
                listed = ", ".join(accepted)
                raise UsageError(f"{self._name}: {place} is not known: {listed} are accepted")

    def _table(self, whole: dict[str, Any], key: str) -> dict[str, Any]:
        value = whole.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, value, f"a table [{key}] is")
        return dict(value)

    def _tables(self, whole: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
        value = whole.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self._wrong(where, value, f"tables [[{where}]] are")
        return [dict(each) for each in value]

    def scenario(self, whole: dict[str, Any], seed: int) -> Scenario:
        """Return the scenario of a whole file."""
        self._unknown("", whole, SECTIONS)
        values = self._cluster(self._table(whole, "cluster"))
        values["limits"] = self._limits(self._table(whole, "limits"), values["limits"])
        faults = self._table(whole, "faults")
        values |= self._network(self._table(whole, "network"), faults)
        values["faults"] = self._record(Faults, faults, "faults")
        if "traffic" in whole:
            values["traffic"] = self._record(Traffic, self._table(whole, "traffic"), "traffic")
        steps = self._tables(whole, "step", "step")
        values["steps"] = tuple(self._step(step, f"step {n}") for n, step in enumerate(steps, 1))
        values["expect"] = self._record(Bounds, self._table(whole, "expect"), "expect")
        quoted = self._tables(whole, "asserted", "asserted")
        values["asserted"] = tuple(
            self._asserted(each, f"asserted {n}") for n, each in enumerate(quoted, 1)
        )
        about = self._of_kind(whole.get("about", ""), str, "about")
        try:
            return Scenario(seed=seed, name=self._name, about=about.strip(), **values)
        except ValueError as error:
            raise UsageError(f"{self._name}: {_reason(error)}") from None

    def _cluster(self, table: dict[str, Any]) -> dict[str, Any]:
        pace = self._of_kind(table.pop("pace", Pace.SLOW.value), Pace, "cluster.pace")
        self._unknown("cluster", table, (*CLUSTER, "pace"))
        by_name = {each.name: each for each in fields(resolve_types(Scenario))}
        values: dict[str, Any] = {"limits": pace.limits, "command_every_s": 0.0}
        for key, value in table.items():
            where = f"cluster.{key}"
            if key in SWITCHES:
                # TOML calls a switch by words, the code by an enum of words.
                values[key] = self._of_kind(value, SWITCHES[key], where)
            elif key == "ranges":
                texts = value if isinstance(value, list) else [value]
                values["universes"] = tuple(self._of_kind(each, str, where) for each in texts)
            else:
                values[CLUSTER[key]] = self._value(by_name[CLUSTER[key]], value, where)
        return values

    def _limits(self, table: dict[str, Any], limits: Limits) -> Limits:
        self._unknown("limits", table, [each.name for each in fields(Limits)])
        changes: dict[str, Any] = {
            key: self._time(value, f"limits.{key}")
            if key.endswith("_s")
            else self._of_kind(value, int, f"limits.{key}")
            for key, value in table.items()
        }
        try:
            return evolve(limits, **changes)
        except ValueError as error:
            raise UsageError(f"{self._name}: limits: {error}") from None

    def _network(self, table: dict[str, Any], faults: dict[str, Any]) -> dict[str, Any]:
        self._unknown("network", table, NETWORK)
        values: dict[str, Any] = {}
        for key in ("loss", "jitter"):
            if key in table and key in faults:
                raise UsageError(
                    f"{self._name}: {key} is in [network] and in [faults]: say it once"
                )
            if key in table:
                faults[key] = table[key]
        latency = table.get("latency")
        if isinstance(latency, list) and len(latency) == 2:
            low, high = (self._time(each, "network.latency") for each in latency)
            values |= {"latency_s": low, "latency_max_s": high}
        elif latency is not None:
            values["latency_s"] = self._time(latency, "network.latency")
        if "spread" in table:
            values["latency_spread"] = self._share(table["spread"], "network.spread")
        if "bandwidth" in table:
            rate = self._of_kind(table["bandwidth"], int, "network.bandwidth")
            values["bandwidth_bytes_s"] = float(rate)
        values["regions"] = tuple(
            self._record(Region, each, f"network.region {n}")
            for n, each in enumerate(self._tables(table, "region", "network.region"), 1)
        )
        values["region_losses"] = tuple(
            self._record(RegionLoss, each, f"network.between {n}")
            for n, each in enumerate(self._tables(table, "between", "network.between"), 1)
        )
        return values

    def _step(self, table: dict[str, Any], where: str) -> Step:
        action = table.pop("do", None)
        if not isinstance(action, str) or action not in ACTIONS:
            raise self._wrong(f"{where}.do", action, f"{', '.join(ACTIONS)} are")
        return self._record(ACTIONS[action], table, f"{where} ({action})")

    def _asserted(self, table: dict[str, Any], where: str) -> Asserted:
        by = self._of_kind(table.pop("by", None), str, f"{where}.by")
        says = self._of_kind(table.pop("says", ""), str, f"{where}.says")
        return Asserted(by=by, says=says, bounds=self._record(Bounds, table, where))

    def _record(self, kind: type[R], table: dict[str, Any], where: str) -> R:
        """Return a record whose fields are the keys of a table; `_s` is not written."""
        by_key = {_key(each.name): each for each in fields(resolve_types(kind))}
        self._unknown(where, table, by_key)
        values = {
            by_key[key].name: self._value(by_key[key], value, f"{where}.{key}")
            for key, value in table.items()
        }
        try:
            return kind(**values)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self._name}: {where}: {_reason(error)}") from None

    def _value(self, field: Attribute[Any], value: object, where: str) -> Any:
        if field.metadata.get("kind") == "share":
            return self._share(value, where)
        if field.metadata.get("kind") == "seconds" or "seconds_max" in field.name:
            return self._time(value, where)
        kind = field.type
        if get_origin(kind) is Union or str(get_origin(kind)) == "<class 'types.UnionType'>":
            (kind,) = (each for each in get_args(kind) if each is not type(None))
        assert isinstance(kind, type)
        return self._of_kind(value, kind, where)

    def _of_kind(self, value: object, kind: type[T], where: str) -> T:
        if issubclass(kind, Enum):
            choices = {each.value: each for each in kind}
            if not isinstance(value, str) or value not in choices:
                raise self._wrong(where, value, f"{', '.join(map(str, choices))} are")
            return choices[value]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return kind(value)  # type: ignore[call-arg]
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        words = {
            int: "a whole number is",
            float: "a number is",
            str: "a text is",
            bool: "true and false are",
        }
        raise self._wrong(where, value, words.get(kind, f"{kind.__name__} is"))

    def _time(self, value: object, where: str) -> float:
        accepted = 'a time such as "500ms", "2s" or "10m", or a number of seconds, is'
        if isinstance(value, str):
            found = _TIME.fullmatch(value)
            if found is not None:
                return float(found[1]) * UNITS_S[found[2]]
        elif isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
        raise self._wrong(where, value, accepted)

    def _share(self, value: object, where: str) -> float:
        accepted = 'a share from 0 to 1, or a text such as "5 %", is'
        number: object = value
        if isinstance(value, str):
            found = _PERCENT.fullmatch(value)
            number = float(found[1]) / 100 if found is not None else None
        if isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1:
            return float(number)
        raise self._wrong(where, value, accepted)


def _key(name: str) -> str:
    """Return how a field is written: a file says units beside its numbers."""
    return "size" if name == "size_bytes" else name.removesuffix("_s")


def _reason(error: Exception) -> str:
    """Return what a validator says, without the record and the attribute that it shows too."""
    return str(error.args[0]) if error.args else str(error)


def plain(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as JSON can hold it; limits only where they are not those of its pace."""

    def simple(_: object, __: object, value: Any) -> Any:
        if isinstance(value, tuple):
            return list(value)
        return value.value if isinstance(value, Enum) else value

    whole = asdict(scenario, value_serializer=simple)
    pace = Pace.PUBLISHED if scenario.limits == Pace.PUBLISHED.limits else Pace.SLOW
    default = asdict(pace.limits)
    whole["limits"] = {
        key: value for key, value in asdict(scenario.limits).items() if value != default[key]
    }
    whole["pace"] = pace.value
    actions = {kind: name for name, kind in ACTIONS.items()}
    whole["steps"] = [
        {"do": actions[type(step)], **told}
        for step, told in zip(scenario.steps, whole["steps"], strict=True)
    ]
    default_faults = asdict(Faults())
    whole["faults"] = {
        key: value for key, value in whole["faults"].items() if value != default_faults[key]
    }
    return whole
