from typing import Any

import pytest

from tieline.api.messaging.v1 import message_content_pb2
from tieline.messaging.contents.template_cards import check_template_card

Card = message_content_pb2.TemplateCardContent

TEXT = message_content_pb2.TEMPLATE_CARD_KIND_TEXT_NOTICE
NEWS = message_content_pb2.TEMPLATE_CARD_KIND_NEWS_NOTICE
BUTTONS = message_content_pb2.TEMPLATE_CARD_KIND_BUTTON_INTERACTION
VOTE = message_content_pb2.TEMPLATE_CARD_KIND_VOTE_INTERACTION
MULTIPLE = message_content_pb2.TEMPLATE_CARD_KIND_MULTIPLE_INTERACTION
URL = "https://example.com/"


def buttons(count: int) -> list[message_content_pb2.TemplateCardButton]:
    return [message_content_pb2.TemplateCardButton(text="Yes", key=f"k{n}") for n in range(count)]


def selections(count: int, option_count: int) -> list[message_content_pb2.TemplateCardSelection]:
    options = [
        message_content_pb2.QuizOption(key=f"o{n}", text="this") for n in range(option_count)
    ]
    return [
        message_content_pb2.TemplateCardSelection(key=f"s{n}", options=options)
        for n in range(count)
    ]


def fields(count: int) -> list[message_content_pb2.TemplateCardField]:
    return [message_content_pb2.TemplateCardField(name="Place", value="3F") for _ in range(count)]


def links(count: int) -> list[message_content_pb2.TemplateCardLink]:
    return [message_content_pb2.TemplateCardLink(text="More", url=URL) for _ in range(count)]


def text_notice(**more: Any) -> dict[str, Any]:
    return {"kind": TEXT, "title": "t", "card_url": URL, **more}


def news(**more: Any) -> dict[str, Any]:
    return {"kind": NEWS, "title": "t", "card_url": URL, "picture_url": URL, **more}


def sections(count: int) -> list[message_content_pb2.TemplateCardSection]:
    return [message_content_pb2.TemplateCardSection(title="Then", text="a\nb")] * count


def opens(app_id: str = "wx1", **more: str) -> message_content_pb2.TemplateCardMiniProgram:
    return message_content_pb2.TemplateCardMiniProgram(app_id=app_id, **more)


def image_text(image_url: str = URL, **more: str) -> message_content_pb2.TemplateCardImageText:
    return message_content_pb2.TemplateCardImageText(image_url=image_url, **more)


def link_to(url: str = "", **more: Any) -> list[message_content_pb2.TemplateCardLink]:
    return [message_content_pb2.TemplateCardLink(text="More", url=url, **more)]


def beside_buttons(count: int, **more: Any) -> dict[str, Any]:
    [selection] = selections(1, count)
    selection.MergeFrom(message_content_pb2.TemplateCardSelection(**more))
    card = {"kind": BUTTONS, "title": "t", "task_id": "1", "buttons": buttons(2)}
    return {**card, "button_selection": selection}


@pytest.mark.parametrize(
    ("card", "wrong"),
    [
        pytest.param(text_notice(), None, id="text"),
        pytest.param(text_notice(title=""), "c.title", id="no title"),
        pytest.param(text_notice(card_url=""), "c.card_url", id="leads nowhere"),
        pytest.param(text_notice(fields=fields(6), links=links(3)), None, id="full"),
        pytest.param(text_notice(fields=fields(7)), "c.fields", id="seven lines"),
        pytest.param(text_notice(links=links(4)), "c.links", id="four links"),
        pytest.param(text_notice(buttons=buttons(1)), "c.buttons", id="text with a button"),
        pytest.param(text_notice(task_id="a b"), "c.task_id", id="task id with a gap"),
        pytest.param(text_notice(menu=buttons(1)), "c.task_id", id="menu needs a task id"),
        pytest.param(text_notice(menu=buttons(3), task_id="t@1"), None, id="menu"),
        pytest.param({"title": "t"}, "c.kind", id="no template"),
        pytest.param(
            text_notice(
                source_icon_url=URL,
                source_style=3,
                quote_title="q",
                quote_url=URL,
                sub_title_text="a\nb",
            ),
            None,
            id="source, quotation and what stands under",
        ),
        pytest.param(text_notice(source_icon_url="ftp://x"), "c.source_icon_url", id="no icon"),
        pytest.param(text_notice(source_style=4), "c.source_style", id="fifth colour"),
        pytest.param(text_notice(quote_title="q" * 65), "c.quote_title", id="long quote title"),
        pytest.param(text_notice(quote_url="x"), "c.quote_url", id="quotation leads nowhere"),
        pytest.param(text_notice(sub_title_text="s" * 257), "c.sub_title_text", id="long under"),
        pytest.param(
            news(sections=sections(4), image_text=image_text(url=URL), picture_aspect_ratio=1.3),
            None,
            id="full news",
        ),
        pytest.param(news(sections=sections(5)), "c.sections", id="five paragraphs"),
        pytest.param(news(picture_aspect_ratio=1.29), "c.picture_aspect_ratio", id="narrow"),
        pytest.param(news(picture_aspect_ratio=2.26), "c.picture_aspect_ratio", id="wide"),
        pytest.param(
            news(picture_aspect_ratio=float("nan")), "c.picture_aspect_ratio", id="no number"
        ),
        pytest.param(news(image_text=image_text("")), "c.image_text.image_url", id="no picture"),
        pytest.param(text_notice(sections=sections(1)), "c.sections", id="text with paragraphs"),
        pytest.param(text_notice(image_text=image_text()), "c.image_text", id="text with picture"),
        pytest.param(
            text_notice(card_url="", card_mini_program=opens(page="p?a=1")), None, id="opens"
        ),
        pytest.param(text_notice(card_mini_program=opens()), "c.card_url", id="leads to two"),
        pytest.param(
            text_notice(card_url="", card_mini_program=opens("")),
            "c.card_mini_program.app_id",
            id="opens nothing",
        ),
        pytest.param(text_notice(links=link_to(mini_program=opens())), None, id="link opens"),
        pytest.param(text_notice(links=link_to()), "c.links[0].url", id="link leads nowhere"),
        pytest.param(
            text_notice(links=link_to(mini_program=opens(page="p" * 1025))),
            "c.links[0].mini_program.page",
            id="long page",
        ),
        pytest.param({**text_notice(), "kind": NEWS}, "c.picture_url", id="news has a picture"),
        pytest.param(
            {"kind": BUTTONS, "title": "t", "task_id": "1", "buttons": buttons(6)}, None, id="six"
        ),
        pytest.param(
            {"kind": BUTTONS, "title": "t", "task_id": "1", "buttons": buttons(7)},
            "c.buttons",
            id="seven buttons",
        ),
        pytest.param({"kind": BUTTONS, "title": "t", "task_id": "1"}, "c.buttons", id="no button"),
        pytest.param(
            {"kind": BUTTONS, "title": "t", "task_id": "1", "buttons": buttons(1) * 2},
            "c.buttons",
            id="one key twice",
        ),
        pytest.param(
            {"kind": BUTTONS, "title": "t", "buttons": buttons(1)}, "c.task_id", id="no task id"
        ),
        pytest.param(beside_buttons(10), None, id="ten options beside buttons"),
        pytest.param(
            beside_buttons(11), "c.button_selection.options", id="eleven options beside buttons"
        ),
        pytest.param(
            beside_buttons(0), "c.button_selection.options", id="no options beside buttons"
        ),
        pytest.param(
            beside_buttons(2, multiple=True),
            "c.button_selection.multiple",
            id="several beside buttons",
        ),
        pytest.param(
            text_notice(button_selection=selections(1, 2)[0]),
            "c.button_selection",
            id="selection beside no buttons",
        ),
        pytest.param(
            {
                "kind": VOTE,
                "title": "t",
                "task_id": "1",
                "selections": selections(1, 20),
                "submit_text": "Vote",
            },
            None,
            id="vote",
        ),
        pytest.param(
            {
                "kind": VOTE,
                "title": "t",
                "task_id": "1",
                "selections": selections(2, 2),
                "submit_text": "Vote",
            },
            "c.selections",
            id="two votes on a card",
        ),
        pytest.param(
            {
                "kind": MULTIPLE,
                "title": "t",
                "task_id": "1",
                "selections": selections(3, 10),
                "submit_text": "Send",
            },
            None,
            id="three selections",
        ),
        pytest.param(
            {
                "kind": MULTIPLE,
                "title": "t",
                "task_id": "1",
                "selections": selections(1, 11),
                "submit_text": "Send",
            },
            "c.selections[0].options",
            id="eleven options",
        ),
        pytest.param(
            {"kind": MULTIPLE, "title": "t", "task_id": "1", "selections": selections(1, 2)},
            "c.submit_text",
            id="nothing to send it with",
        ),
    ],
)
def test_card_can_be_shown_by_its_template(card: dict[str, Any], wrong: str | None) -> None:
    violations: dict[str, str] = {}

    check_template_card(Card(**card), "c", violations)

    assert set(violations) == ({wrong} if wrong else set())
