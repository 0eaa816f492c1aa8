"""Refusals as the API gives them."""


class ApiRefusal(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message

    def to_status(self) -> dict[str, object]:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
        }


def not_found(what: str) -> ApiRefusal:
    return ApiRefusal(404, "NotFound", f"{what} not found")


def conflict(what: str) -> ApiRefusal:
    return ApiRefusal(409, "Conflict", f"{what}: the object has been modified")


def invalid(what: str, problems: list[str]) -> ApiRefusal:
    return ApiRefusal(422, "Invalid", f"{what} is invalid: {'; '.join(problems)}")
