"""The families of metrics that processes count by themselves: their names, labels and how those of several workers are put together.

What lives here: the list. What never does: counting (`swift.telemetry.metric_table`), and what is only looked at when somebody asks
(`swift.telemetry.node_metrics`). No label is ever a name that clients choose: not an account, a container, an object or an address.

Spec: none (the reference has no such thing); insights of operations.md.
"""

from __future__ import annotations

from typing import NamedTuple

COUNTER, GAUGE, LARGEST = (
    "counter",
    "gauge",
    "largest",
)  # gauges are summed over workers; of LARGEST the largest one is shown


class Family(NamedTuple):
    """A counter or a gauge. `labels` that begin with `process`: who counts, put in by the table."""

    text: str
    labels: tuple[str, ...]
    kind: str = COUNTER


class Histogram(NamedTuple):
    """Durations. `bounds`: seconds, upper ends of buckets, to which the last one without an end is added."""

    text: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]


REQUESTS = "swift_request_duration_seconds"
RECEIVED = "swift_request_body_bytes"
SENT = "swift_response_body_bytes"
BACKEND_WAIT = "swift_backend_wait_seconds"
NODE_WAITS = "swift_backend_node_waits"
NODE_SECONDS = "swift_backend_node_wait_seconds"
BACKEND_ERRORS = "swift_backend_errors"
LOOP_LAG = "swift_event_loop_lag_seconds"
LIMITED_NODES = "swift_error_limited_nodes"
CONNECTIONS = "swift_connections"
CONNECTION_PLACES = "swift_connection_places"
REQUESTS_IN_HAND = "swift_requests_in_hand"
REQUEST_PLACES = "swift_request_places"
REFUSED = "swift_refused"
DEVICE_CALLS = "swift_device_calls"
DEVICE_STUCK = "swift_device_stuck"
LOG_MESSAGES = "swift_log_messages"
LOG_DROPPED = "swift_log_messages_dropped"

HISTOGRAMS: dict[str, Histogram] = {
    REQUESTS: Histogram(
        "Requests answered, from the head to the last byte of the response.",
        ("server", "method", "status", "policy"),
        (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
    ),
    BACKEND_WAIT: Histogram(
        "Waits for the first byte of a storage server's answer.",
        ("process", "type", "method", "status"),
        (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0),
    ),
    LOOP_LAG: Histogram(
        "How late green threads were to get their turn, looked at once a second.",
        ("process",),
        (0.005, 0.025, 0.1, 0.5, 2.5),
    ),
}

FAMILIES: dict[str, Family] = {
    RECEIVED: Family("Bytes of bodies that came with requests.", ("server", "method")),
    SENT: Family("Bytes of bodies that went out with responses.", ("server", "method")),
    NODE_WAITS: Family("Answers of a storage server.", ("process", "node")),
    NODE_SECONDS: Family("Seconds waited for the first bytes of its answers, in all.", ("process", "node")),
    BACKEND_ERRORS: Family(
        "Requests that a storage server did not answer as it should: connect, timeout, broken, or a status from 500 on.",
        ("process", "node", "device", "error"),
    ),
    LIMITED_NODES: Family(
        "Devices that a worker leaves alone because they failed too often.", ("process",), LARGEST
    ),
    CONNECTIONS: Family("Connections of clients, by state: open or waiting.", ("server", "state"), GAUGE),
    CONNECTION_PLACES: Family("Connections that may be open (max_clients).", ("server",), GAUGE),
    REQUESTS_IN_HAND: Family("Requests, by state: working or waiting.", ("server", "state"), GAUGE),
    REQUEST_PLACES: Family("Requests that may be worked on (max_requests).", ("server",), GAUGE),
    REFUSED: Family("Clients told to come back later, by what was full.", ("server", "what")),
    DEVICE_CALLS: Family("Calls that wait for a device or are inside of it.", ("process", "device"), GAUGE),
    DEVICE_STUCK: Family(
        "1 while a device hangs: it finishes nothing of what it was given.", ("process", "device"), LARGEST
    ),
    LOG_MESSAGES: Family("Messages in the log, from WARNING on.", ("process", "level")),
    LOG_DROPPED: Family("Log messages that could not be delivered.", ("process",)),
}
