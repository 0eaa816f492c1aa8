"""The rules of template cards, after the open API's (document 90236), and of options. Pure."""

import re
from collections.abc import Sequence

from tieline.api.messaging.v1 import message_content_pb2
from tieline.chassis.fields import check_text
from tieline.messaging.contents.checks import (
    Violations,
    check_bytes,
    check_id,
    check_length,
    check_range,
    check_url,
)

Card = message_content_pb2.TemplateCardContent

MAX_FIELDS = 6
MAX_LINKS = 3
MAX_SECTIONS = 4
MAX_BUTTONS = 6
MAX_MENU = 3
MAX_SELECTIONS = 3
MAX_VOTE_OPTIONS = 20
MAX_SELECTION_OPTIONS = 10

_TASK_ID_PATTERN = re.compile(r"[0-9A-Za-z_\-@]{1,128}")
_MAX_BUTTON_STYLE = 4
_MAX_SOURCE_STYLE = 3
_ASPECT_RATIOS = (1.3, 2.25)

_NOTICES = (
    message_content_pb2.TEMPLATE_CARD_KIND_TEXT_NOTICE,
    message_content_pb2.TEMPLATE_CARD_KIND_NEWS_NOTICE,
)
_BUTTONS = message_content_pb2.TEMPLATE_CARD_KIND_BUTTON_INTERACTION
_VOTE = message_content_pb2.TEMPLATE_CARD_KIND_VOTE_INTERACTION
_MULTIPLE = message_content_pb2.TEMPLATE_CARD_KIND_MULTIPLE_INTERACTION
_KINDS = (*_NOTICES, _BUTTONS, _VOTE, _MULTIPLE)


def check_template_card(card: Card, path: str, violations: Violations) -> None:
    """Refuse a card whose template can't show it."""
    if card.kind not in _KINDS:
        violations[f"{path}.kind"] = "must be one of the templates"
        return
    _check_texts(card, path, violations)
    _check_task_id(card, path, violations)
    _check_links(card, path, violations)
    _check_news(card, path, violations)
    _check_interaction(card, path, violations)
    check_answering(card, path, violations)
    if card.kind in _NOTICES:
        for field in ("close_time", "changeable", "answer_visibility"):
            if getattr(card, field) != getattr(Card(), field):
                violations[f"{path}.{field}"] = "is for templates that are answered"


def check_options(
    options: Sequence[message_content_pb2.QuizOption],
    path: str,
    violations: Violations,
    minimum: int,
    maximum: int,
) -> None:
    """Refuse too few or too many options, or two of one key."""
    if not minimum <= len(options) <= maximum:
        violations[path] = f"must be {minimum} to {maximum} options"
        return
    for index, option in enumerate(options):
        check_id(option.key, f"{path}[{index}].key", violations, maximum=32)
        check_text(option.text, f"{path}[{index}].text", violations, minimum=1, maximum=128)
    if len({option.key for option in options}) < len(options):
        violations[path] = "must have different keys"


def check_answering(
    part: message_content_pb2.QuizContent | Card, path: str, violations: Violations
) -> None:
    """Refuse to let people know who chose what in a way that this version does not know."""
    if part.answer_visibility not in message_content_pb2.AnswerVisibility.values():
        violations[f"{path}.answer_visibility"] = "must be one of the known"


def _check_texts(card: Card, path: str, violations: Violations) -> None:
    check_text(card.source_text, f"{path}.source_text", violations, minimum=0, maximum=32)
    check_text(card.title, f"{path}.title", violations, minimum=1, maximum=64)
    check_length(card.description, f"{path}.description", violations, maximum=512)
    check_text(card.emphasis_title, f"{path}.emphasis_title", violations, minimum=0, maximum=32)
    check_text(card.emphasis_text, f"{path}.emphasis_text", violations, minimum=0, maximum=64)
    check_text(card.quote_title, f"{path}.quote_title", violations, minimum=0, maximum=64)
    check_length(card.quote_text, f"{path}.quote_text", violations, maximum=256)
    check_length(card.sub_title_text, f"{path}.sub_title_text", violations, maximum=256)
    check_range(card.source_style, f"{path}.source_style", violations, 0, _MAX_SOURCE_STYLE)


def _check_task_id(card: Card, path: str, violations: Violations) -> None:
    is_needed = card.kind not in _NOTICES or bool(card.menu)
    if (card.task_id or is_needed) and not _TASK_ID_PATTERN.fullmatch(card.task_id):
        violations[f"{path}.task_id"] = "must be 1 to 128 of 0-9 A-Z a-z _ - @"


def _check_links(card: Card, path: str, violations: Violations) -> None:
    if len(card.fields) > MAX_FIELDS:
        violations[f"{path}.fields"] = f"must be at most {MAX_FIELDS}"
    else:
        for index, field in enumerate(card.fields):
            where = f"{path}.fields[{index}]"
            check_text(field.name, f"{where}.name", violations, minimum=1, maximum=32)
            check_text(field.value, f"{where}.value", violations, minimum=0, maximum=128)
            check_url(field.url, f"{where}.url", violations, optional=True)
    if len(card.links) > MAX_LINKS:
        violations[f"{path}.links"] = f"must be at most {MAX_LINKS}"
    else:
        for index, link in enumerate(card.links):
            where = f"{path}.links[{index}]"
            check_text(link.text, f"{where}.text", violations, minimum=1, maximum=32)
            _check_target(link, ("url", "mini_program"), where, violations, is_needed=True)
    is_notice = card.kind in _NOTICES
    _check_target(card, ("card_url", "card_mini_program"), path, violations, is_needed=is_notice)
    check_url(card.source_icon_url, f"{path}.source_icon_url", violations, optional=True)
    check_url(card.quote_url, f"{path}.quote_url", violations, optional=True)
    has_picture = card.kind == message_content_pb2.TEMPLATE_CARD_KIND_NEWS_NOTICE
    check_url(card.picture_url, f"{path}.picture_url", violations, optional=not has_picture)


def _check_target(
    part: Card | message_content_pb2.TemplateCardLink,
    names: tuple[str, str],
    path: str,
    violations: Violations,
    *,
    is_needed: bool,
) -> None:
    """Refuse what leads to no page and to no mini program, or to both."""
    url, mini_program = names
    if not part.HasField(mini_program):  # type: ignore[arg-type]
        check_url(getattr(part, url), f"{path}.{url}", violations, optional=not is_needed)
        return
    if getattr(part, url):
        violations[f"{path}.{url}"] = f"must be empty beside {mini_program}"
    opened = getattr(part, mini_program)
    check_id(opened.app_id, f"{path}.{mini_program}.app_id", violations, maximum=64)
    check_bytes(opened.page, f"{path}.{mini_program}.page", violations, maximum=1024)


def _check_news(card: Card, path: str, violations: Violations) -> None:
    """Refuse too much around the picture, and any of it in templates that have none."""
    if card.kind != message_content_pb2.TEMPLATE_CARD_KIND_NEWS_NOTICE:
        for field in ("sections", "image_text", "picture_aspect_ratio"):
            if getattr(card, field) != getattr(Card(), field):
                violations[f"{path}.{field}"] = "is for the template with a picture"
        return
    if card.picture_aspect_ratio:
        where = f"{path}.picture_aspect_ratio"
        check_range(card.picture_aspect_ratio, where, violations, *_ASPECT_RATIOS)
    if card.HasField("image_text"):
        part, where = card.image_text, f"{path}.image_text"
        check_url(part.image_url, f"{where}.image_url", violations)
        check_text(part.title, f"{where}.title", violations, minimum=0, maximum=64)
        check_length(part.text, f"{where}.text", violations, maximum=256)
        check_url(part.url, f"{where}.url", violations, optional=True)
    if len(card.sections) > MAX_SECTIONS:
        violations[f"{path}.sections"] = f"must be at most {MAX_SECTIONS}"
        return
    for index, section in enumerate(card.sections):
        where = f"{path}.sections[{index}]"
        check_text(section.title, f"{where}.title", violations, minimum=1, maximum=64)
        check_length(section.text, f"{where}.text", violations, maximum=256)


def _check_interaction(card: Card, path: str, violations: Violations) -> None:
    fewest = 1 if card.kind == _BUTTONS else 0
    most = MAX_BUTTONS if card.kind == _BUTTONS else 0
    _check_buttons(card.buttons, f"{path}.buttons", violations, fewest, most)
    _check_buttons(card.menu, f"{path}.menu", violations, 0, MAX_MENU)
    chooses = card.kind in (_VOTE, _MULTIPLE)
    most = {_VOTE: 1, _MULTIPLE: MAX_SELECTIONS}.get(card.kind, 0)
    if not int(chooses) <= len(card.selections) <= most:
        violations[f"{path}.selections"] = f"must be {int(chooses)} to {most} for this template"
        return
    most_options = MAX_VOTE_OPTIONS if card.kind == _VOTE else MAX_SELECTION_OPTIONS
    for index, selection in enumerate(card.selections):
        _check_selection(selection, f"{path}.selections[{index}]", violations, most_options)
    if len({selection.key for selection in card.selections}) < len(card.selections):
        violations[f"{path}.selections"] = "must have different keys"
    _check_button_selection(card, f"{path}.button_selection", violations)
    check_text(
        card.submit_text,
        f"{path}.submit_text",
        violations,
        minimum=int(chooses),
        maximum=10 if chooses else 0,
    )


def _check_button_selection(card: Card, path: str, violations: Violations) -> None:
    if not card.HasField("button_selection"):
        return
    if card.kind != _BUTTONS:
        violations[path] = "is for the template with buttons"
        return
    selection = card.button_selection
    _check_selection(selection, path, violations, MAX_SELECTION_OPTIONS)
    if selection.multiple:
        violations[f"{path}.multiple"] = "must be false: one is chosen beside a button"


def _check_selection(
    selection: message_content_pb2.TemplateCardSelection,
    path: str,
    violations: Violations,
    most_options: int,
) -> None:
    check_id(selection.key, f"{path}.key", violations, maximum=64)
    check_text(selection.title, f"{path}.title", violations, minimum=0, maximum=64)
    check_options(selection.options, f"{path}.options", violations, 1, most_options)


def _check_buttons(
    buttons: Sequence[message_content_pb2.TemplateCardButton],
    path: str,
    violations: Violations,
    fewest: int,
    most: int,
) -> None:
    if not fewest <= len(buttons) <= most:
        violations[path] = f"must be {fewest} to {most} for this template"
        return
    for index, button in enumerate(buttons):
        where = f"{path}[{index}]"
        check_text(button.text, f"{where}.text", violations, minimum=1, maximum=32)
        check_bytes(button.key, f"{where}.key", violations, minimum=1, maximum=1024)
        check_range(button.style, f"{where}.style", violations, 0, _MAX_BUTTON_STYLE)
    if len({button.key for button in buttons}) < len(buttons):
        violations[path] = "must have different keys"
