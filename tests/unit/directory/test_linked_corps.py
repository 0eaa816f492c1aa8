"""What of a linked corp's member is shown."""

import pytest

from tieline.directory.linked_corps.rules import LinkedMember, Share, ShareScope, hide_fields

MEMBER = LinkedMember("an", "An", "Annie", "Nurse", "picture", "13800000001", "an@example.com", [2])


@pytest.mark.parametrize(
    ("mobile", "email", "gets_contact_details", "hidden_fields", "shown"),
    [
        (True, True, True, (), "alias position avatar_media_id mobile email"),
        (True, False, True, (), "alias position avatar_media_id mobile"),
        (False, True, True, (), "alias position avatar_media_id email"),
        (False, False, True, (), "alias position avatar_media_id"),
        (True, True, False, (), "alias position"),
        (False, False, False, (), "alias position"),
        (True, True, True, ("mobile", "alias"), "position avatar_media_id email"),
        (True, True, False, ("position",), "alias"),
    ],
)
def test_a_field_is_shown_where_link_rules_and_right_all_allow_it(
    mobile: bool,
    email: bool,
    gets_contact_details: bool,
    hidden_fields: tuple[str, ...],
    shown: str,
) -> None:
    """Each of the three can only take away."""
    share = Share(ShareScope.WHOLE_DIRECTORY, is_mobile_shared=mobile, is_email_shared=email)

    member = hide_fields(MEMBER, share, hidden_fields, gets_contact_details=gets_contact_details)

    fields = ("alias", "position", "avatar_media_id", "mobile", "email")
    assert [name for name in fields if getattr(member, name)] == shown.split()
