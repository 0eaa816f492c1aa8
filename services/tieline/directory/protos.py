"""What callers are told of the directory's resources."""

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.fields import to_timestamp
from tieline.directory.departments import Department
from tieline.directory.members import Member


def member_to_proto(member: Member) -> directory_pb2.Member:
    """Return a member as the API has it."""
    return directory_pb2.Member(
        user_id=member.user_id,
        name=member.name,
        department_id=member.department_id,
        position=member.position,
        mobile=member.mobile,
        email=member.email,
        create_time=to_timestamp(member.create_time),
        update_time=to_timestamp(member.update_time),
    )


def department_to_proto(department: Department) -> directory_pb2.Department:
    """Return a department as the API has it."""
    return directory_pb2.Department(
        department_id=department.department_id,
        name=department.name,
        parent_department_id=department.parent_department_id,
        path=department.path,
        member_count=department.member_count,
    )
