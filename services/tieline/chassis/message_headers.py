"""Names of the NATS headers that messages between services carry."""

REQUEST_ID_HEADER = "Tieline-Request-Id"

DEADLINE_HEADER = "Tieline-Deadline"
"""What is left of the deadline, in whole milliseconds. A duration, since clocks differ."""

PRINCIPAL_HEADER = "Tieline-Principal"
"""The caller on whose behalf a question is asked, as JSON."""

PRIORITY_HEADER = "Tieline-Priority"
"""How much the request matters that caused the message: a number, see ``priorities``."""

LEVEL_HEADER = "Tieline-Admission-Level"
"""Of answers: the largest priority that the answering replica lets in."""

EVENT_ID_HEADER = "Tieline-Event-Id"
CORP_ID_HEADER = "Tieline-Corp-Id"
KEY_HEADER = "Tieline-Key"

MESSAGE_ID_HEADER = "Nats-Msg-Id"
"""JetStream's: a stream stores no second message of one id within its window for duplicates."""
