"""The size of a load report: 500 replicas send one each second."""

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.common.v1 import load_report_pb2, priority_pb2
from tieline.chassis.admission.priorities import LOWEST_PRIORITY

LONGEST_NAME = "x" * 63
MAX_REPORT_BYTES = 300

# More calls than a replica does in ten years.
MANY = 2**42 - 1


def test_a_report_with_the_largest_numbers_fits() -> None:
    now = Timestamp(seconds=1_795_685_415, nanos=999_999_999)
    report = load_report_pb2.LoadReport(
        service="messaging",
        replica=LONGEST_NAME,
        sequence=2**28 - 1,
        start_time=now,
        ready_time=now,
        in_flight=2**21 - 1,
        mean_queueing_us=60_000_000,
        p99_queueing_us=60_000_000,
        cpu_milli=16_000,
        loop_lag_us=60_000_000,
        admission_level=LOWEST_PRIORITY,
        capacity_per_second=100_000,
        classes=[
            load_report_pb2.ClassCounters(
                business_class=number,
                first_attempts=MANY,
                retries=MANY // 10,
                admitted=MANY,
                shed=MANY,
                expired=MANY // 10,
            )
            for number in priority_pb2.BusinessClass.values()
            if number
        ],
    )
    assert report.ByteSize() <= MAX_REPORT_BYTES
