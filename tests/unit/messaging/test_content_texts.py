import pytest

from tieline.api.messaging.v1 import conversation_note_pb2, message_content_pb2, messaging_pb2
from tieline.messaging.contents.texts import build_preview, find_kind, is_note, list_texts

Content = messaging_pb2.MessageContent


def text(value: str) -> Content:
    return Content(text=messaging_pb2.TextContent(text=value))


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        pytest.param(text("hello"), ["hello"], id="text"),
        pytest.param(
            Content(file=message_content_pb2.FileContent(name="plan.pdf")), ["plan.pdf"], id="file"
        ),
        pytest.param(
            Content(location=message_content_pb2.LocationContent(address="Main Street")),
            ["Main Street"],
            id="empty fields are left out",
        ),
        pytest.param(
            Content(
                quiz=message_content_pb2.QuizContent(
                    question="Which?", options=[message_content_pb2.QuizOption(text="This")]
                )
            ),
            ["Which?", "This"],
            id="quiz",
        ),
        pytest.param(
            Content(
                merged_forward=messaging_pb2.MergedForwardContent(
                    title="Talk", messages=[messaging_pb2.ForwardedMessage(content=text("said"))]
                )
            ),
            ["Talk", "said"],
            id="forwarded messages",
        ),
        pytest.param(
            Content(image=message_content_pb2.ImageContent(media_id="m")), [], id="picture"
        ),
        pytest.param(
            Content(recall_note=conversation_note_pb2.RecallNote(sequence=1)), [], id="note"
        ),
        pytest.param(Content(), [], id="nothing that is known here"),
    ],
)
def test_what_can_be_read(content: Content, texts: list[str]) -> None:
    assert list_texts(content) == texts


def test_preview_is_one_line_of_a_hundred_characters() -> None:
    assert build_preview(text(" a\n\n b\t c ")) == "a b c"
    assert build_preview(text("字" * 101)) == "字" * 100
    assert build_preview(text(" \n ")) == ""


def test_notes_are_what_has_a_number_from_fifty_on() -> None:
    note = Content(recall_note=conversation_note_pb2.RecallNote(sequence=1))

    assert [is_note(note), is_note(text("a")), is_note(Content())] == [True, False, False]
    assert [find_kind(note), find_kind(Content())] == ["recall_note", ""]
