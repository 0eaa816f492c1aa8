"""In which order tables are distributed, and where."""

from tieline.chassis.distribution import Table, plan_distribution

CORPS = Table("identity.corps", frozenset())
ACCOUNTS = Table("identity.accounts", frozenset({"identity.corps"}))
SESSIONS = Table("identity.a_sessions", frozenset({"identity.accounts"}))
KEYS = Table("identity.signing_keys", frozenset())


def statement(name: str, leader: str) -> str:
    return f"SELECT create_distributed_table('{name}', 'corp_id', colocate_with => '{leader}')"


def test_a_table_comes_behind_what_it_references_and_lies_beside_it() -> None:
    assert plan_distribution([SESSIONS, ACCOUNTS, CORPS, KEYS], frozenset()) == [
        statement("identity.corps", "none"),
        statement("identity.accounts", "identity.corps"),
        statement("identity.a_sessions", "identity.corps"),
    ]


def test_what_is_distributed_stays_and_gives_later_tables_their_place() -> None:
    done = frozenset({"identity.accounts", "identity.corps"})

    assert plan_distribution([SESSIONS, ACCOUNTS, CORPS], done) == [
        statement("identity.a_sessions", "identity.corps")
    ]


def test_everything_distributed_leaves_nothing_to_do() -> None:
    assert plan_distribution([CORPS], frozenset({"identity.corps"})) == []


def test_global_tables_alone_need_no_statement() -> None:
    assert plan_distribution([KEYS], frozenset()) == []
