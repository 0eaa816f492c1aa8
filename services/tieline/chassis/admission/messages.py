"""What messages of streams and batches tell of admission, for the handlers that have such messages.

A call's metadata says the same, but once: a stream may be open for hours.
"""

from tieline.api.common.v1 import admission_pb2
from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.calls import current_call


def tell_level(message: admission_pb2.AdmissionLevel) -> None:
    """Fill in what is let in of the current call's caller now."""
    told = current_call().admission.find_level()
    if told is not None:
        message.level, message.priority = told


def hear_held_back(message: admission_pb2.HeldBackCalls) -> None:
    """Record what the current call's caller, who is verified, says that it did not send."""
    current_call().admission.note_held_back(
        {
            BusinessClass.CRITICAL: message.critical,
            BusinessClass.HIGH: message.high,
            BusinessClass.NORMAL: message.normal,
            BusinessClass.LOW: message.low,
        }
    )
