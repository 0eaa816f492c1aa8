import pytest

from tieline.chassis.streams import SERVICES
from tieline.cli.errors import CommandError
from tieline.cli.service_environment import check_environment, list_variables, select_environment

ENVIRONMENT = {
    "PATH": "/bin",
    "TIELINE_LOG_LEVEL": "debug",
    "TIELINE_PASSWORD_THREADS": "4",
    "TIELINE_GRPC_PORT": "1",
    "TIELINE_BASE_PORT": "17000",
    "TIELINE_DATABASE_ADMIN_DSN": "postgresql://somewhere/else",
}


def test_a_setting_of_all_services_reaches_each() -> None:
    for service in SERVICES:
        selected = select_environment(ENVIRONMENT, list_variables(service))

        assert selected["TIELINE_LOG_LEVEL"] == "debug"
        assert selected["PATH"] == "/bin"


def test_a_setting_of_one_service_reaches_it_alone() -> None:
    assert "TIELINE_PASSWORD_THREADS" in select_environment(ENVIRONMENT, list_variables("identity"))
    assert "TIELINE_PASSWORD_THREADS" not in select_environment(
        ENVIRONMENT, list_variables("payments")
    )


def test_what_up_gives_itself_and_what_other_commands_read_is_left_out() -> None:
    selected = select_environment(ENVIRONMENT, list_variables("identity"))

    assert not selected.keys() & {
        "TIELINE_GRPC_PORT",
        "TIELINE_BASE_PORT",
        "TIELINE_DATABASE_ADMIN_DSN",
    }


def test_an_engine_gets_none_of_our_settings() -> None:
    assert select_environment(ENVIRONMENT) == {"PATH": "/bin"}


def test_known_settings_are_accepted() -> None:
    check_environment(ENVIRONMENT, SERVICES)


def test_a_misspelled_setting_is_named() -> None:
    with pytest.raises(CommandError, match="unknown setting TIELINE_LOG_LEVLE"):
        check_environment({"TIELINE_LOG_LEVLE": "debug"}, SERVICES)
