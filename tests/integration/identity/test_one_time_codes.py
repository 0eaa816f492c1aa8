"""RequestSignInCode, SignInByCode, ResetPassword, and the customers' codes."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable

import pytest

from fakes.eventually import eventually
from integration.identity.code_inbox import CodeInbox
from integration.identity.world import (
    PASSWORD,
    TIMEOUT_S,
    FakeDirectory,
    Identity,
    NewCorp,
    bearer,
    describe,
    fast_settings,
    from_address,
    make_database,
    refusal,
    running_identity,
)
from published_events import published_events
from tieline.api.identity.v1 import (
    customer_sign_in_service_pb2,
    identity_pb2,
    member_sign_in_service_pb2,
    sign_in_pb2,
)
from tieline.chassis.errors import ServiceError
from tieline.embedded.nats import EmbeddedNats

SIGN_IN = sign_in_pb2.ONE_TIME_CODE_PURPOSE_SIGN_IN
RESET = sign_in_pb2.ONE_TIME_CODE_PURPOSE_PASSWORD_RESET


def new_mobile() -> str:
    return f"+86{uuid.uuid4().int % 10**11:011}"


def new_address() -> str:
    return f"203.0.{uuid.uuid4().int % 256}.{uuid.uuid4().int % 256}"


async def request_code(
    identity: Identity,
    corp_id: str,
    mobile: str,
    purpose: "sign_in_pb2.OneTimeCodePurpose.ValueType" = SIGN_IN,
) -> str:
    response = await identity.sign_ins.RequestSignInCode(
        member_sign_in_service_pb2.RequestSignInCodeRequest(
            corp_id=corp_id, purpose=purpose, mobile=mobile
        ),
        metadata=from_address(new_address()),
        timeout=TIMEOUT_S,
    )
    return response.code_id


def sign_in_by_code(
    identity: Identity, corp_id: str, code_id: str, code: str
) -> Awaitable[member_sign_in_service_pb2.SignInByCodeResponse]:
    return identity.sign_ins.SignInByCode(
        member_sign_in_service_pb2.SignInByCodeRequest(corp_id=corp_id, code_id=code_id, code=code),
        metadata=from_address(new_address()),
        timeout=TIMEOUT_S,
    )


def reset_password(
    identity: Identity, corp_id: str, code_id: str, code: str, password: str
) -> Awaitable[member_sign_in_service_pb2.ResetPasswordResponse]:
    return identity.sign_ins.ResetPassword(
        member_sign_in_service_pb2.ResetPasswordRequest(
            corp_id=corp_id, code_id=code_id, code=code, password=password
        ),
        metadata=from_address(new_address()),
        timeout=TIMEOUT_S,
    )


async def member_with_mobile(identity: Identity, corp: NewCorp, user_id: str = "li.wei") -> str:
    mobile = new_mobile()
    identity.directory.contacts[corp.corp_id, mobile] = user_id
    return mobile


async def test_a_member_who_never_had_a_password_signs_in_by_a_code(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)

    code_id = await request_code(identity, corp.corp_id, mobile)
    code = await code_inbox.code_for(mobile)
    response = await sign_in_by_code(identity, corp.corp_id, code_id, code)

    assert response.user_id == "li.wei"
    read = await identity.get_corp(bearer(response.session))
    assert read.corp.corp_id == corp.corp_id
    [post] = code_inbox.posts_for(mobile)
    assert (post["purpose"], post["receiver_kind"], post["corp_id"]) == (
        "sign_in",
        "mobile",
        corp.corp_id,
    )


async def test_no_code_lets_somebody_back_in_who_has_left(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    """Also one whose receiver the directory named just before."""
    corp = await identity.new_corp()
    await identity.new_member(corp)
    mobile = await member_with_mobile(identity, corp)
    sign_in_id = await request_code(identity, corp.corp_id, mobile)
    sign_in_code = await code_inbox.code_for(mobile)
    reset_id = await request_code(identity, corp.corp_id, mobile, RESET)
    reset_code = await code_inbox.code_for(mobile, 2)
    await identity.set_account_state(corp.corp_id, "li.wei", "left")

    errors = [
        await refusal(sign_in_by_code(identity, corp.corp_id, sign_in_id, sign_in_code)),
        await refusal(
            reset_password(identity, corp.corp_id, reset_id, reset_code, "another password")
        ),
        await refusal(identity.sign_in(corp.corp_id, "li.wei", "another password")),
    ]

    assert [error.reason for error in errors] == ["CREDENTIALS_REJECTED"] * 3


async def test_the_directory_hears_once_of_a_member_whose_first_act_is_a_reset(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    """Otherwise it would have who signs in by that password as invited for good."""
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    code_id = await request_code(identity, corp.corp_id, mobile, RESET)
    code = await code_inbox.code_for(mobile)

    await reset_password(identity, corp.corp_id, code_id, code, "another password")
    await identity.sign_in(corp.corp_id, "li.wei", "another password")

    key = f"members/{corp.corp_id}/li.wei"
    [(subject, payload)] = await published_events(identity.nats, "IDENTITY", key, 1)
    assert subject == "tieline.identity.v1.member_activated"
    assert identity_pb2.MemberActivated.FromString(payload).user_id == "li.wei"


async def test_a_code_is_good_once_even_in_two_tasks(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    code_id = await request_code(identity, corp.corp_id, mobile)
    code = await code_inbox.code_for(mobile)

    outcomes = await asyncio.gather(
        *(sign_in_by_code(identity, corp.corp_id, code_id, code) for _ in range(4)),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 3


async def test_the_right_code_comes_too_late_after_five_wrong_ones(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    code_id = await request_code(identity, corp.corp_id, mobile)
    code = await code_inbox.code_for(mobile)
    wrong = f"{(int(code) + 1) % 10**6:06}"

    errors = [
        await refusal(sign_in_by_code(identity, corp.corp_id, code_id, wrong)) for _ in range(5)
    ]
    last = await refusal(sign_in_by_code(identity, corp.corp_id, code_id, code))

    assert len({str(describe(error)) for error in [*errors, last]}) == 1
    assert last.reason == "CREDENTIALS_REJECTED"


async def test_codes_that_are_not_good_get_one_answer(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    code_id = await request_code(identity, corp.corp_id, mobile)
    code = await code_inbox.code_for(mobile)
    late_id = await request_code(identity, corp.corp_id, await member_with_mobile(identity, corp))
    await identity.execute(
        "UPDATE identity.one_time_codes SET expire_time = now() WHERE code_id = $1",
        uuid.UUID(late_id),
    )

    errors = [
        await refusal(sign_in_by_code(identity, corp.corp_id, str(uuid.uuid4()), code)),
        await refusal(sign_in_by_code(identity, other.corp_id, code_id, code)),
        await refusal(sign_in_by_code(identity, "\x00", "\x00", code)),
        await refusal(sign_in_by_code(identity, corp.corp_id, late_id, code)),
        # Asked for to sign in, it sets no password.
        await refusal(reset_password(identity, corp.corp_id, code_id, code, "another password")),
    ]

    assert len({str(describe(error)) for error in errors}) == 1
    assert errors[0].reason == "CREDENTIALS_REJECTED"


async def test_nobody_learns_who_has_a_number(identity: Identity, code_inbox: CodeInbox) -> None:
    corp = await identity.new_corp()
    known, unknown = await member_with_mobile(identity, corp), new_mobile()

    known_id = await request_code(identity, corp.corp_id, known)
    unknown_id = await request_code(identity, corp.corp_id, unknown)
    await code_inbox.code_for(known)

    async def both_are_settled() -> bool:
        rows = await identity.execute(
            "SELECT delivery_state FROM identity.one_time_codes WHERE code_id = ANY($1::uuid[])"
            " AND delivery_state <> 'waiting'",
            [uuid.UUID(known_id), uuid.UUID(unknown_id)],
        )
        return len(rows) == 2

    await eventually(both_are_settled)
    assert code_inbox.posts_for(unknown) == []
    guess = await refusal(sign_in_by_code(identity, corp.corp_id, unknown_id, "123456"))
    assert guess.reason == "CREDENTIALS_REJECTED"


async def test_a_receiver_must_wait_for_the_second_code(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    mobile, unknown = await member_with_mobile(identity, corp), new_mobile()
    await request_code(identity, corp.corp_id, mobile)
    await request_code(identity, corp.corp_id, unknown)

    errors = [
        await refusal(request_code(identity, corp.corp_id, receiver))
        for receiver in (mobile, unknown)
    ]

    assert [(error.code, error.reason) for error in errors] == [
        ("RESOURCE_EXHAUSTED", "CODES_EXHAUSTED")
    ] * 2
    assert all(50 < (error.retry_after_s or 0) <= 60 for error in errors)


async def test_an_accepted_request_is_sent_although_the_webhook_failed_at_first(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    code_inbox.statuses[mobile] = [503]

    code_id = await request_code(identity, corp.corp_id, mobile)
    code = await code_inbox.code_for(mobile, count=2)

    assert len({post["delivery_id"] for post in code_inbox.posts_for(mobile)}) == 1
    assert len({post["code"] for post in code_inbox.posts_for(mobile)}) == 1
    await sign_in_by_code(identity, corp.corp_id, code_id, code)


async def test_a_code_that_the_webhook_refuses_is_given_up(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    code_inbox.statuses[mobile] = [422]

    code_id = await request_code(identity, corp.corp_id, mobile)

    async def it_is_dead() -> bool:
        [row] = await identity.execute(
            "SELECT delivery_state FROM identity.one_time_codes WHERE code_id = $1",
            uuid.UUID(code_id),
        )
        return bool(row["delivery_state"] == "dead")

    await eventually(it_is_dead)
    code = code_inbox.posts_for(mobile)[0]["code"]
    assert (await refusal(sign_in_by_code(identity, corp.corp_id, code_id, code))).reason == (
        "CREDENTIALS_REJECTED"
    )


async def test_a_request_survives_the_replica_that_took_it(
    postgres_admin_dsn: str, identity_nats: EmbeddedNats, code_inbox: CodeInbox, worker_id: str
) -> None:
    """The first replica dies while it sends: what it had taken another one sends."""
    database = await make_database(postgres_admin_dsn, f"tieline_codes_{worker_id}")
    settings = fast_settings(database, identity_nats).model_copy(
        update={"code_sender": "development_log"}
    )
    mobile = new_mobile()
    async with running_identity(settings, database, identity_nats, FakeDirectory()) as first:
        # Taken by a replica that is no more: its lease is over.
        await first.execute(
            """
            INSERT INTO identity.one_time_codes
                   (corp_id, code_id, purpose, receiver_kind, receiver, expire_time,
                    delivery_attempts, next_attempt_time)
            VALUES ('', $1, 'customer_sign_in', 'mobile', $2, now() + interval '5 minutes', 1,
                    now() - interval '1 second')
            """,
            uuid.uuid4(),
            mobile,
        )

        async def it_is_sent() -> bool:
            rows = await first.execute(
                "SELECT 1 FROM identity.one_time_codes WHERE delivery_state = 'sent'"
            )
            return bool(rows)

        await eventually(it_is_sent)


async def test_a_code_waits_for_the_directory(identity: Identity, code_inbox: CodeInbox) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    identity.directory.is_away = True
    try:
        code_id = await request_code(identity, corp.corp_id, mobile)

        async def it_was_tried() -> bool:
            [row] = await identity.execute(
                "SELECT delivery_attempts FROM identity.one_time_codes WHERE code_id = $1",
                uuid.UUID(code_id),
            )
            return bool(row["delivery_attempts"])

        await eventually(it_was_tried)
    finally:
        identity.directory.is_away = False

    code = await code_inbox.code_for(mobile)
    await sign_in_by_code(identity, corp.corp_id, code_id, code)


async def test_no_table_and_no_log_line_holds_a_code(
    identity: Identity, code_inbox: CodeInbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)

    code_id = await request_code(identity, corp.corp_id, mobile)
    code = await code_inbox.code_for(mobile)

    [row] = await identity.execute(
        "SELECT (to_jsonb(c) - 'code_id' - 'receiver' - 'corp_id')::text AS text"
        " FROM identity.one_time_codes AS c WHERE code_id = $1",
        uuid.UUID(code_id),
    )
    assert code not in "".join(c for c in row["text"] if c.isdigit() or c == '"')
    messages = [record.getMessage() for record in caplog.records]
    assert not [message for message in messages if code in message.split()]


async def test_a_new_password_by_code_ends_the_sessions_and_signs_nobody_in(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    session = await identity.new_member(corp)
    mobile = await member_with_mobile(identity, corp)
    code_id = await request_code(identity, corp.corp_id, mobile, RESET)
    code = await code_inbox.code_for(mobile)

    weak = await refusal(reset_password(identity, corp.corp_id, code_id, code, "short"))
    response = await reset_password(identity, corp.corp_id, code_id, code, "another password")

    assert list(weak.violations) == ["password"]
    assert response.user_id == "li.wei"
    assert (await refusal(identity.refresh(session.refresh_token))).reason == "SESSION_ENDED"
    assert (await refusal(identity.sign_in(corp.corp_id, "li.wei", PASSWORD))).reason == (
        "CREDENTIALS_REJECTED"
    )
    await identity.sign_in(corp.corp_id, "li.wei", "another password")


@pytest.mark.parametrize("user_id", ["boss", "administrator", "auditor"])
async def test_a_number_makes_nobody_the_owner_an_administrator_or_an_auditor(
    identity: Identity, code_inbox: CodeInbox, user_id: str
) -> None:
    """Whoever may change numbers in the directory must not become one of them by that."""
    corp = await identity.new_corp()
    if user_id != "boss":
        await identity.new_in_charge(corp, user_id)
    mobile, other = [await member_with_mobile(identity, corp, user_id) for _ in range(2)]
    sign_in_id = await request_code(identity, corp.corp_id, mobile)
    reset_id = await request_code(identity, corp.corp_id, other, RESET)

    code = await code_inbox.code_for(mobile)
    signing_in = await refusal(sign_in_by_code(identity, corp.corp_id, sign_in_id, code))
    code = await code_inbox.code_for(other)
    resetting = await refusal(
        reset_password(identity, corp.corp_id, reset_id, code, "another password")
    )

    assert signing_in.reason == resetting.reason == "CREDENTIALS_REJECTED"
    await identity.sign_in(corp.corp_id, user_id)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        pytest.param({"corp_id": "other"}, "corp_id", id="no corp's id"),
        pytest.param({"purpose": 0}, "purpose", id="no purpose"),
        pytest.param({"mobile": "+86 138"}, "mobile", id="a blank in the number"),
        pytest.param({"email": "nobody"}, "email", id="no address"),
        pytest.param({"mobile": None}, "receiver", id="nobody"),
    ],
)
async def test_a_code_for_nobody_is_refused_by_field(
    identity: Identity, changes: dict[str, object], wrong: str
) -> None:
    fields: dict[str, object] = {
        "corp_id": "ww" + "0" * 24,
        "purpose": SIGN_IN,
        "mobile": "13800000000",
        **changes,
    }
    if "email" in fields:
        del fields["mobile"]

    error = await refusal(
        identity.sign_ins.RequestSignInCode(
            member_sign_in_service_pb2.RequestSignInCodeRequest(**fields)  # type: ignore[arg-type]
        )
    )

    assert list(error.violations) == [wrong]


async def request_customer_code(identity: Identity, mobile: str) -> str:
    response = await identity.customer_sign_ins.RequestCustomerSignInCode(
        customer_sign_in_service_pb2.RequestCustomerSignInCodeRequest(mobile=mobile),
        metadata=from_address(new_address()),
        timeout=TIMEOUT_S,
    )
    return response.code_id


def sign_in_customer(
    identity: Identity, code_id: str, code: str, name: str = ""
) -> Awaitable[customer_sign_in_service_pb2.SignInCustomerByCodeResponse]:
    return identity.customer_sign_ins.SignInCustomerByCode(
        customer_sign_in_service_pb2.SignInCustomerByCodeRequest(
            code_id=code_id, code=code, display_name=name
        ),
        metadata=from_address(new_address()),
        timeout=TIMEOUT_S,
    )


async def test_a_customer_is_the_same_each_time_by_code(
    identity: Identity, code_inbox: CodeInbox
) -> None:
    mobile = new_mobile().replace("+86", "+861")[:14]
    first_id = await request_customer_code(identity, mobile)
    first = await sign_in_customer(identity, first_id, await code_inbox.code_for(mobile), "Ms Chen")
    await identity.execute("TRUNCATE identity.sign_in_tallies")

    second_id = await request_customer_code(identity, mobile)
    code = await code_inbox.code_for(mobile, count=2)
    second = await sign_in_customer(identity, second_id, code)

    assert first.customer_id == second.customer_id
    assert first.customer_id.startswith("wm")
    refreshed = await identity.refresh(second.session.refresh_token)
    assert isinstance(refreshed, identity_pb2.Session)
    error: ServiceError = await refusal(identity.get_corp(bearer(second.session)))
    assert error.reason == "CALLER_NOT_ALLOWED"


async def test_a_members_code_is_no_customers(identity: Identity, code_inbox: CodeInbox) -> None:
    corp = await identity.new_corp()
    mobile = await member_with_mobile(identity, corp)
    code_id = await request_code(identity, corp.corp_id, mobile)
    code = await code_inbox.code_for(mobile)

    error = await refusal(sign_in_customer(identity, code_id, code))

    assert error.reason == "CREDENTIALS_REJECTED"


async def test_where_nobody_sends_codes_none_is_made(
    postgres_admin_dsn: str, identity_nats: EmbeddedNats, worker_id: str
) -> None:
    database = await make_database(postgres_admin_dsn, f"tieline_no_codes_{worker_id}")
    settings = fast_settings(database, identity_nats)

    async with running_identity(settings, database, identity_nats, FakeDirectory()) as identity:
        error = await refusal(request_customer_code(identity, "+8613800000000"))

    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "CODE_SENDER_OFF")
