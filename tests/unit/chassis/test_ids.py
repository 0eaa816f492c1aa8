import re

from tieline.chassis.derived_keys import derive_key
from tieline.chassis.ids import new_corp_id, new_customer_group_id, new_customer_id, new_uuid7


def test_ids_have_the_forms_that_clients_know() -> None:
    assert re.fullmatch(r"ww[a-z0-9]{24}", new_corp_id())
    assert re.fullmatch(r"wm[a-z0-9]{24}", new_customer_id())
    assert re.fullmatch(r"wr[a-z0-9]{24}", new_customer_group_id())


def test_uuids_are_ordered_by_the_time_they_were_made() -> None:
    ids = [new_uuid7() for _ in range(1000)]

    assert ids == sorted(ids)
    assert all(uuid[14] == "7" for uuid in ids)


def test_keys_of_different_purposes_differ() -> None:
    assert derive_key("k" * 32, "page-tokens") != derive_key("k" * 32, "signing-keys")


def test_every_replica_derives_the_same_key() -> None:
    assert derive_key("k" * 32, "page-tokens") == derive_key("k" * 32, "page-tokens")
