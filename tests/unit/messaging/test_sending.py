from contextvars import Context, copy_context

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis import calls
from tieline.chassis.calls import Call
from tieline.chassis.outbox import MAX_PAYLOAD_BYTES
from tieline.messaging.contents.rules import MAX_CONTENT_BYTES, MAX_FORWARD_BYTES
from tieline.messaging.sending.batches import MAX_EVENT_MESSAGES, build_events


def message(
    sequence: int, *, conversation_id: str = "c1", said: str = "x"
) -> messaging_pb2.Message:
    proto = messaging_pb2.Message(
        corp_id="w" * 64,
        conversation_id=conversation_id,
        sequence=sequence,
        client_message_id="m" * 64,
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=said)),
    )
    proto.sender.id = "u" * 64
    proto.create_time.GetCurrentTime()
    return proto


def test_messages_of_one_corp_are_one_event_in_order_of_each_conversation() -> None:
    messages = [message(1), message(1, conversation_id="c2"), message(2)]
    other = message(1)
    other.corp_id = "other"

    events = list(build_events([*messages[:2], other, *messages[2:]]))

    told = [messaging_pb2.MessagesSent.FromString(event.payload) for event in events]
    assert [event.corp_id for event in events] == ["other", "w" * 64]
    assert [(m.conversation_id, m.sequence) for m in told[1].messages] == [
        ("c1", 1),
        ("c2", 1),
        ("c1", 2),
    ]


def caused_by(priority: int, *, span_id: int = 0) -> Context:
    """Return the context of a call, sampled where it has a span."""
    context = copy_context()
    call = Call(method="/t/m", request_id=f"r{priority}", priority=priority)
    context.run(calls.current.set, call)
    if span_id:
        sampled = SpanContext(7, span_id, is_remote=False, trace_flags=TraceFlags(1))
        spanning = trace.set_span_in_context(NonRecordingSpan(sampled))
        context.run(otel_context.attach, spanning)
    return context


def test_callers_of_one_class_share_an_event_and_a_sampled_call_has_its_own() -> None:
    """The order of each conversation stays, though a caller's messages are cut in two by it."""
    normal, also_normal = caused_by(3 * 128 + 5), caused_by(3 * 128 + 9)
    high, sampled = caused_by(2 * 128), caused_by(2 * 128, span_id=5)
    of = [normal, also_normal, high, high, sampled, sampled, high, None]
    messages = [message(number) for number in range(1, len(of) + 1)]
    causes = {id(m): cause for m, cause in zip(messages, of, strict=True) if cause is not None}

    events = list(build_events(messages, causes))

    told = [[m.sequence for m in _read(event.payload)] for event in events]
    assert told == [[1, 2], [3, 4], [5, 6], [7], [8]]
    assert [event.cause for event in events] == [normal, high, sampled, high, None]


@pytest.mark.parametrize(
    ("count", "size_bytes", "event_count"),
    [
        pytest.param(MAX_EVENT_MESSAGES, 100, 1, id="full"),
        pytest.param(MAX_EVENT_MESSAGES + 1, 100, 2, id="one more"),
        pytest.param(24, MAX_CONTENT_BYTES, 1, id="as many of the largest as it holds"),
        pytest.param(100, MAX_FORWARD_BYTES, 8, id="forwards at their largest"),
    ],
)
def test_messages_fit_into_events(count: int, size_bytes: int, event_count: int) -> None:
    said = "x" * size_bytes
    messages = [message(10**15 + n, conversation_id="c" * 64, said=said) for n in range(count)]

    events = list(build_events(messages))

    assert len(events) == event_count
    assert max(len(event.payload) for event in events) <= MAX_PAYLOAD_BYTES
    told = [m.sequence for event in events for m in _read(event.payload)]
    assert told == [10**15 + n for n in range(count)]


def _read(payload: bytes) -> list[messaging_pb2.Message]:
    return list(messaging_pb2.MessagesSent.FromString(payload).messages)
