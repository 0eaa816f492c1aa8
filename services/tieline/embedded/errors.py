"""The one error of the embedded engines."""


class EngineError(Exception):
    """An engine cannot be prepared or started; the text is one line that says what to do."""
