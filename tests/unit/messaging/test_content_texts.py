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


def selection(title: str, *options: str) -> message_content_pb2.TemplateCardSelection:
    return message_content_pb2.TemplateCardSelection(
        key="key",
        title=title,
        options=[message_content_pb2.QuizOption(key="key", text=each) for each in options],
    )


@pytest.mark.parametrize(
    ("card", "texts"),
    [
        pytest.param(
            message_content_pb2.TemplateCardContent(
                source_text="Leave",
                title="Granted?",
                task_id="task-1",
                buttons=[message_content_pb2.TemplateCardButton(text="Yes", key="y")],
                button_selection=selection("For", "One day"),
                selections=[selection("Whose", "Mine"), selection("", "Ours", "Theirs")],
                menu=[message_content_pb2.TemplateCardButton(text="Mute", key="m")],
                submit_text="Send",
            ),
            "Granted? Leave Yes For One day Whose Mine Ours Theirs Mute Send",
            id="what can be pressed and chosen",
        ),
        pytest.param(
            message_content_pb2.TemplateCardContent(
                title="News",
                sub_title_text="below",
                quote_title="Who said",
                quote_text="what",
                image_text=message_content_pb2.TemplateCardImageText(title="In", text="short"),
                sections=[message_content_pb2.TemplateCardSection(title="First", text="this")],
                fields=[message_content_pb2.TemplateCardField(name="Where", value="here")],
                links=[message_content_pb2.TemplateCardLink(text="More", url="https://a.b")],
            ),
            "News below Who said what In short First this Where here More",
            id="what stands below its title",
        ),
    ],
)
def test_all_that_is_written_on_a_card_can_be_read(
    card: message_content_pb2.TemplateCardContent, texts: str
) -> None:
    """Its title first, and no keys and addresses."""
    assert " ".join(list_texts(Content(template_card=card))) == texts


def test_preview_of_a_card_is_its_title_as_long_as_there_is_one() -> None:
    """A title of blanks alone leaves it to what follows."""
    card = message_content_pb2.TemplateCardContent(
        source_text="Canteen", title="Lunch", selections=[selection("Where?", "Here")]
    )
    blank = message_content_pb2.TemplateCardContent(
        title=" ", buttons=[message_content_pb2.TemplateCardButton(text="Yes")]
    )

    assert build_preview(Content(template_card=card)) == "Lunch"
    assert build_preview(Content(template_card=blank)) == "Yes"


def test_preview_is_one_line_of_a_hundred_characters() -> None:
    assert build_preview(text(" a\n\n b\t c ")) == "a b c"
    assert build_preview(text("字" * 101)) == "字" * 100
    assert build_preview(text(" \n ")) == ""


def test_notes_are_what_has_a_number_from_fifty_on() -> None:
    note = Content(recall_note=conversation_note_pb2.RecallNote(sequence=1))

    assert [is_note(note), is_note(text("a")), is_note(Content())] == [True, False, False]
    assert [find_kind(note), find_kind(Content())] == ["recall_note", ""]
