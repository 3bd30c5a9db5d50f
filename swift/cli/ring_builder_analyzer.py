"""swift-ring-builder-analyzer: plays a scenario of changes on a builder in memory and tells how rebalances go.

Spec ring 12: the form of scenarios and of the output. A scenario is checked whole before anything is done.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swift.ring.builder import MAX_BALANCE, RingBuilder
from swift.ring.devices import parse_add_value
from swift.ring.errors import RingError

EXIT_SUCCESS, EXIT_ERROR = 0, 1
MIN_PART_HOURS = 1
_MAX_REBALANCES = 1000  # a round that has not settled by then never will


class InvalidScenario(ValueError):
    """The scenario is not of the form of spec ring 12; the text says where."""


Action = Callable[[RingBuilder], None]


@dataclass(frozen=True)
class Scenario:
    part_power: int
    replicas: float
    overload: float
    random_seed: int
    rounds: list[list[Action]]


# ---- reading a scenario


def _number(
    document: dict[str, Any], key: str, kind: type, fits: Callable[[Any], bool], range_text: str
) -> Any:
    if key not in document:
        raise InvalidScenario(f"{key} missing")
    try:
        value = kind(document[key])
    except (ValueError, TypeError, OverflowError):
        raise InvalidScenario(f"{key} was not a number: {document[key]!r}")
    if not fits(value):
        raise InvalidScenario(f"{key} must be {range_text}, but was {document[key]}")
    return value


def parse_scenario(text: str) -> Scenario:
    """Raises InvalidScenario."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidScenario(f"Invalid JSON in scenario file: {error}")
    if not isinstance(document, dict):
        raise InvalidScenario("Scenario must be a JSON object, not array or string")
    part_power = _number(document, "part_power", int, lambda n: 1 <= n <= 32, "between 1 and 32")
    replicas = _number(document, "replicas", float, lambda n: 1 <= n < math.inf, "at least 1")
    overload = _number(document, "overload", float, lambda n: 0 <= n < math.inf, "non-negative")
    seed = _number(document, "random_seed", int, lambda n: True, "a number")
    if "rounds" not in document:
        raise InvalidScenario("rounds missing")
    if not isinstance(document["rounds"], list):
        raise InvalidScenario("rounds must be an array")
    rounds = []
    for index, commands in enumerate(document["rounds"]):
        if not isinstance(commands, list):
            raise InvalidScenario(f"round {index} not an array")
        rounds.append([_action(command, index, at) for at, command in enumerate(commands)])
    return Scenario(part_power, replicas, overload, seed, rounds)


def _action(command: Any, round_index: int, command_index: int) -> Action:
    where = f"(round {round_index}, command {command_index})"
    if not isinstance(command, list) or not command or not isinstance(command[0], str):
        raise InvalidScenario(f"Command was not an array that begins with a name {where}: {command!r}")
    if command[0] not in _COMMANDS:
        raise InvalidScenario(f"Unknown command {where}: {command[0]}")
    make, count = _COMMANDS[command[0]]
    if len(command) != count + 1:
        raise InvalidScenario(f"Wrong number of arguments {where}: {command[0]} takes {count}")
    return make(where, *command[1:])


def _weight(value: Any, where: str) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        raise InvalidScenario(f"Invalid weight {where}: {value!r}")
    if weight < 0:
        raise InvalidScenario(f"Invalid weight {where}: cannot be negative")
    if not math.isfinite(weight):
        raise InvalidScenario(f"Invalid weight {where}: {value!r}")
    return weight


def _device_id(value: Any, where: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InvalidScenario(f"Invalid device ID {where}: {value!r}")


def _add(where: str, device: Any, weight: Any) -> Action:
    try:
        dev = parse_add_value(str(device))
    except ValueError as error:
        raise InvalidScenario(f"Invalid device specifier {where}: {error}")
    dev["weight"] = _weight(weight, where)
    if dev["region"] is None:
        dev["region"] = 1
    dev["replication_ip"] = dev["replication_ip"] or dev["ip"]
    dev["replication_port"] = dev["replication_port"] or dev["port"]

    def act(builder: RingBuilder) -> None:
        builder.add_dev(dict(dev))

    return act


def _remove(where: str, dev_id: Any) -> Action:
    number = _device_id(dev_id, where)
    return lambda builder: builder.remove_dev(number)


def _set_weight(where: str, dev_id: Any, weight: Any) -> Action:
    number, value = _device_id(dev_id, where), _weight(weight, where)
    return lambda builder: builder.set_dev_weight(number, value)


def _save(where: str, path: Any) -> Action:
    if not isinstance(path, str) or not path:
        raise InvalidScenario(f"Invalid file name {where}: {path!r}")
    return lambda builder: builder.save(path)


_COMMANDS: dict[str, tuple[Callable[..., Action], int]] = {
    "add": (_add, 2),
    "remove": (_remove, 1),
    "set_weight": (_set_weight, 2),
    "save": (_save, 1),
}


_FORM = """\
A scenario is a JSON object; after the commands of each round the builder is rebalanced until it settles:

  {"part_power": 10, "replicas": 3, "overload": 0.1, "random_seed": 203,
   "rounds": [
     [["add", "r1z1-10.0.0.1:6200/sda", 100], ["add", "r1z2-10.0.0.2:6200/sda", 100],
      ["add", "r1z3-10.0.0.3:6200/sda", 100]],
     [["set_weight", 0, 150], ["save", "/tmp/after-2.builder"]],
     [["remove", 2]]
   ]}

Commands: ["add", "DEVICE as swift-ring-builder add takes it", WEIGHT], ["set_weight", ID, WEIGHT], ["remove", ID],
["save", "FILE"]. Ids count from 0 in the order of the adds.
"""


# ---- playing it


def run_scenario(scenario: Scenario) -> None:
    """Prints one line a rebalance. Raises RingError, ValueError (e.g. unknown devices), OSError (save)."""
    builder = RingBuilder(scenario.part_power, scenario.replicas, MIN_PART_HOURS)
    builder.set_overload(scenario.overload)
    for index, actions in enumerate(scenario.rounds, 1):
        print(f"Round {index}")
        for act in actions:
            act(builder)
        _rebalance_until_settled(builder, str(scenario.random_seed))


def _rebalance_until_settled(builder: RingBuilder, seed: str) -> None:
    previous: float | None = None
    for count in range(1, _MAX_REBALANCES + 1):
        moved, balance, removed = builder.rebalance(seed=seed)
        print(f"\tRebalance {count}: moved {moved} parts, balance is {balance:.6f}, {removed} removed devs")
        builder.pretend_min_part_hours_passed()
        if count > 1 and previous is not None:
            hopeless = previous == MAX_BALANCE and balance == MAX_BALANCE
            if (not moved and not removed) or (abs(previous - balance) < 1 and not hopeless):
                return
        previous = balance


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(
        prog=os.path.basename(argv[0]),
        description="Play a scenario of changes on a ring builder in memory.",
        epilog=_FORM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-c", "--check", action="store_true", help="only check the scenario")
    parser.add_argument("scenario", help="scenario file (JSON)")
    options = parser.parse_args(argv[1:])
    try:
        with open(options.scenario, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        print(f"Error opening scenario {options.scenario}: {error}", file=sys.stderr)
        return EXIT_ERROR
    try:
        scenario = parse_scenario(text)
    except InvalidScenario as error:
        print(f"Invalid scenario {options.scenario}: {error}", file=sys.stderr)
        return EXIT_ERROR
    if options.check:
        return EXIT_SUCCESS
    try:
        run_scenario(scenario)
    except (RingError, ValueError, LookupError, OSError) as error:
        print(f"Scenario {options.scenario} failed: {error}", file=sys.stderr)
        return EXIT_ERROR
    return EXIT_SUCCESS
