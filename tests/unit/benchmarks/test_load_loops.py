from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from benchmarks.load_loops import MOST_SAMPLES, SAMPLE_EVERY, ClosedLoop, Connection, Loop, OpenLoop, Record
from benchmarks.load_response import Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Wire:
    """The other end of a connection, in place of a transport."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.requests: list[bytes] = []
        self.open = True

    def write(self, request: bytes) -> None:
        self.requests.append(request)

    def close(self) -> None:
        self.open = False

    abort = close

    def answer(self, text: bytes = OK) -> None:
        self.connection.data_received(text)

    def end(self, fault: Exception | None = None) -> None:
        self.open = False
        self.connection.connection_lost(fault)


class World:
    """A clock that is set by hand, the connections asked for, and the one alarm."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wires: list[Wire] = []
        self.asked = 0
        self.alarm = math.inf
        self.alarms: list[float] = []

    def clock(self) -> float:
        return self.now

    def connect(self) -> None:
        self.asked += 1

    def wake_at(self, when: float) -> None:
        self.alarm = when
        self.alarms.append(when)

    def join(self, loop: Loop) -> Wire:
        connection = Connection(loop)
        wire = Wire(connection)
        self.wires.append(wire)
        connection.connection_made(cast(asyncio.BaseTransport, wire))
        return wire

    def pass_to(self, now: float, loop: OpenLoop) -> None:
        """Let time pass, ringing the alarm whenever it is due."""
        while self.alarm <= now:
            self.now, self.alarm = max(self.now, self.alarm), math.inf
            loop.send_due()
        self.now = now


@pytest.fixture
def world() -> World:
    return World()


def closed(
    world: World, *, clients: int = 1, requests: Sequence[bytes] = (b"a", b"b"), timeout_s: float = 10.0
) -> ClosedLoop:
    return ClosedLoop(
        requests, Record(len(requests)), most=clients, timeout_s=timeout_s, clock=world.clock, connect=world.connect
    )


def opened(
    world: World, times: Sequence[float], *, connections: int = 1, most: int = 1, timeout_s: float = 10.0
) -> OpenLoop:
    """An open loop that has its connections and has begun."""
    loop = OpenLoop(
        (b"a", b"b"),
        Record(2, len(times)),
        np.array(times),
        most=most,
        timeout_s=timeout_s,
        clock=world.clock,
        connect=world.connect,
        wake_at=world.wake_at,
    )
    for _ in range(connections):
        world.join(loop)
    loop.start(0.0)
    return loop


def test_each_client_sends_when_it_has_its_answer(world: World) -> None:
    loop = closed(world, clients=2, requests=(b"a", b"b", b"c"))
    first, second = world.join(loop), world.join(loop)
    world.now = 1.0
    second.answer()
    world.now = 3.0
    first.answer()
    assert (first.requests, second.requests) == ([b"a", b"a"], [b"b", b"c"])
    assert loop.record.sent.tolist() == [0.0, 0.0, 1.0, 3.0]
    assert loop.record.done.tolist() == [3.0, 1.0, math.inf, math.inf]
    assert loop.record.status.tolist() == [200, 200, 0, 0]


def test_a_closed_loop_ends_with_its_last_answer(world: World) -> None:
    loop = closed(world)
    loop.stop = 1.0
    wire = world.join(loop)
    assert not loop.finished()
    world.now = 1.5
    assert not loop.finished()
    wire.answer()
    assert loop.finished()
    assert wire.requests == [b"a"]


def test_a_client_whose_server_hangs_up_comes_back(world: World) -> None:
    loop = closed(world)
    world.join(loop).end()
    assert (loop.record.status.tolist(), world.asked) == ([0], 1)
    world.join(loop).answer()
    assert loop.record.status.tolist() == [0, 200, 0]


def test_a_client_whose_server_ends_the_connection_politely_loses_nothing(world: World) -> None:
    loop = closed(world)
    wire = world.join(loop)
    wire.answer(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert not wire.open
    wire.end()
    assert (loop.record.status.tolist(), world.asked) == ([200], 1)


def test_each_answer_is_read_for_itself(world: World) -> None:
    loop = closed(world)
    wire = world.join(loop)
    for text in (OK, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", OK):
        wire.answer(text)
    assert loop.record.status.tolist() == [200, 503, 200, 0]


def test_a_body_that_ends_with_the_connection_is_an_answer(world: World) -> None:
    loop = closed(world)
    wire = world.join(loop)
    wire.answer(b"HTTP/1.1 200 OK\r\n\r\nhello")
    world.now = 2.0
    wire.end()
    assert (loop.record.status.tolist(), loop.record.done.tolist()) == ([200], [2.0])
    assert loop.record.bodies == [(0, b"hello")]


def test_a_body_that_ends_with_a_reset_is_none(world: World) -> None:
    loop = closed(world)
    wire = world.join(loop)
    wire.answer(b"HTTP/1.1 200 OK\r\n\r\nhello")
    wire.end(ConnectionResetError())
    assert loop.record.status.tolist() == [0]


def test_a_client_that_cannot_connect_tries_again_at_the_next_sweep(world: World) -> None:
    loop = closed(world)
    world.join(loop).end()
    loop.not_joined()
    assert world.asked == 1
    loop.sweep(0.1)
    loop.sweep(0.2)
    assert world.asked == 2


def test_no_client_comes_back_after_the_end(world: World) -> None:
    loop = closed(world)
    loop.stop = 1.0
    wire = world.join(loop)
    world.now = 1.0
    wire.end()
    loop.sweep(1.1)
    assert (world.asked, loop.finished()) == (0, True)


@pytest.mark.parametrize("late", [b"", OK[:10]], ids=["nothing", "a beginning"])
def test_what_takes_too_long_is_given_up_and_its_connection_too(world: World, late: bytes) -> None:
    loop = closed(world, timeout_s=1.0)
    wire = world.join(loop)
    wire.answer(late)
    loop.sweep(1.0)
    assert wire.open
    loop.sweep(1.5)
    assert not wire.open
    assert (loop.record.status.tolist(), loop.record.done.tolist()) == ([0], [1.5])


def test_what_is_no_http_costs_the_connection(world: World) -> None:
    loop = closed(world)
    wire = world.join(loop)
    wire.answer(b"no http\r\n\r\n")
    assert not wire.open
    wire.end()
    assert loop.record.status.tolist() == [0]


def test_an_open_loop_sends_at_its_times(world: World) -> None:
    loop = opened(world, [0.5, 1.0, 1.5])
    for now in (0.75, 1.25, 1.75):
        world.pass_to(now, loop)
        world.wires[0].answer()
    assert loop.record.sent.tolist() == [0.5, 1.0, 1.5]
    assert loop.record.done.tolist() == [0.75, 1.25, 1.75]
    assert world.wires[0].requests == [b"a", b"b", b"a"]


def test_an_open_loop_ends_with_its_last_answer(world: World) -> None:
    loop = opened(world, [0.5])
    assert not loop.finished()
    world.pass_to(0.5, loop)
    assert not loop.finished()
    world.wires[0].answer()
    assert loop.finished()


def test_one_alarm_is_set_for_each_request_that_is_not_due(world: World) -> None:
    loop = opened(world, [0.0, 0.5, 1.0, 1.5], connections=2, most=2)
    world.pass_to(0.75, loop)
    loop.sweep(0.75)
    for wire in world.wires:
        wire.answer()
    assert world.alarms == [0.5, 1.0]


def test_an_open_loop_does_not_wait_for_answers(world: World) -> None:
    loop = opened(world, [0.1, 0.2, 0.3], connections=3, most=3)
    world.pass_to(1.0, loop)
    assert loop.record.sent.tolist() == [0.1, 0.2, 0.3]
    assert [len(wire.requests) for wire in world.wires] == [1, 1, 1]


def test_a_stall_is_in_every_request_that_was_due_meanwhile(world: World) -> None:
    loop = opened(world, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    wire = world.wires[0]
    wire.answer()
    # The second request is answered only at 4.5 s; the later ones find no connection until then.
    world.pass_to(4.5, loop)
    for _ in range(4):
        wire.answer()
    world.pass_to(5.0, loop)
    wire.answer()
    due = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert (np.array(loop.record.done) - due).tolist() == [0.0, 3.5, 2.5, 1.5, 0.5, 0.0]
    assert loop.record.sent.tolist() == [0.0, 1.0, 4.5, 4.5, 4.5, 5.0]


def test_the_pool_grows_by_what_is_due_and_no_further_than_its_most(world: World) -> None:
    loop = opened(world, [0.0, 0.1, 0.2, 0.3, 0.4], connections=1, most=3)
    world.pass_to(0.1, loop)
    loop.sweep(0.1)
    assert world.asked == 1
    world.pass_to(0.4, loop)
    loop.sweep(0.4)
    loop.sweep(0.4)
    assert world.asked == 2
    late = world.join(loop)
    assert late.requests == [b"b"]
    assert loop.record.sent[1] == 0.4


def test_connections_take_turns(world: World) -> None:
    loop = opened(world, [1.0, 2.0, 3.0, 4.0], connections=3, most=3)
    for now in (1.0, 2.0, 3.0, 4.0):
        world.pass_to(now, loop)
        next(wire for wire in world.wires if wire.connection.slot >= 0).answer()
    assert [len(wire.requests) for wire in world.wires] == [2, 1, 1]


def test_a_request_that_was_never_sent_is_given_up_in_time(world: World) -> None:
    loop = opened(world, [0.0, 0.5, 3.0], timeout_s=1.0)
    world.pass_to(1.25, loop)
    loop.sweep(1.25)
    loop.sweep(1.75)
    assert loop.record.sent.tolist() == [0.0, math.inf, math.inf]
    assert loop.record.done.tolist() == [1.25, 1.75, math.inf]
    assert not loop.finished()


def test_an_idle_connection_that_ends_is_replaced_when_it_is_missed(world: World) -> None:
    loop = opened(world, [1.0])
    world.wires[0].end()
    assert world.asked == 0
    world.pass_to(1.0, loop)
    assert world.asked == 1
    assert world.join(loop).requests == [b"a"]


def test_an_answer_to_no_request_costs_the_connection(world: World) -> None:
    loop = opened(world, [1.0])
    world.wires[0].answer(OK.replace(b"200 OK", b"408 Request Timeout"))
    assert not world.wires[0].open
    assert loop.record.refused == {}


def test_an_alarm_that_rings_early_is_set_again(world: World) -> None:
    loop = opened(world, [1.0])
    world.now, world.alarm = 0.999, math.inf
    loop.send_due()
    assert world.alarm == 1.0


def test_every_connection_is_closed_at_the_end(world: World) -> None:
    loop = opened(world, [1.0], connections=2, most=2)
    loop.close()
    assert [wire.open for wire in world.wires] == [False, False]


def answered(status: int, body: bytes) -> Response:
    response = Response()
    assert response.feed(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
    return response


def test_the_first_answer_to_every_request_is_kept_and_some_others() -> None:
    record = Record(3, 10 * SAMPLE_EVERY)
    for slot in range(10 * SAMPLE_EVERY):
        record.answered(slot, 1.0, answered(200, b"%d" % slot))
    kept = [int(body) for _, body in record.bodies]
    assert kept == [0, 1, 2, *range(SAMPLE_EVERY, 10 * SAMPLE_EVERY, SAMPLE_EVERY)]
    assert [index for index, _ in record.bodies] == [slot % 3 for slot in kept]


def test_the_sample_has_an_end() -> None:
    record = Record(1, 1)
    for _ in range(MOST_SAMPLES + 10):
        record.answered(0, 1.0, answered(200, b""))
    assert len(record.bodies) == MOST_SAMPLES + 1


def test_a_refusal_is_no_answer_to_keep_but_the_first_of_its_status_is_told() -> None:
    record = Record(1, 3)
    for slot, response in enumerate((answered(429, b"late"), answered(429, b"later"), answered(200, b"ok"))):
        record.answered(slot, 1.0, response)
    assert record.refused == {429: b"late"}
    assert record.bodies == [(0, b"ok")]
