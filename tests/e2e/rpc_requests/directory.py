"""How directory's methods are called with the ids of a world's corp."""

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from e2e.rpc_requests.world import Request, World, new_id
from tieline.api.directory.v1 import attribute_pb2, directory_pb2, school_pb2, visibility_pb2
from tieline.api.directory.v1 import attribute_service_pb2 as attributes
from tieline.api.directory.v1 import change_service_pb2 as directory_changes
from tieline.api.directory.v1 import department_service_pb2 as departments
from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.api.directory.v1 import export_service_pb2 as exports
from tieline.api.directory.v1 import import_service_pb2 as imports
from tieline.api.directory.v1 import linked_corp_service_pb2 as linked
from tieline.api.directory.v1 import member_service_pb2 as members
from tieline.api.directory.v1 import school_service_pb2 as school
from tieline.api.directory.v1 import tag_service_pb2 as tags
from tieline.api.directory.v1 import visibility_service_pb2 as visibility

MODULES = (
    *(directory, exports, imports, departments, members, attributes, tags, directory_changes),
    *(school, linked, visibility),
)


def _parent(world: World) -> school_pb2.Parent:
    child = school_pb2.Child(student_id=world.student_id, relation="mother")
    return school_pb2.Parent(parent_id=world.parent_id, mobile="13800000001", children=[child])


def _rename(user_id: str) -> members.MemberUpdate:
    return members.MemberUpdate(
        member=directory_pb2.Member(user_id=user_id, name="Theirs"),
        update_mask=FieldMask(paths=["name"]),
    )


REQUESTS: dict[str, Request] = {
    "DirectoryService.ImportMembers": lambda w: directory.ImportMembersRequest(
        config=directory.ImportMembersConfig(corp_id=w.corp_id)
    ),
    "ImportService.CreateImportJob": lambda w: imports.CreateImportJobRequest(
        config=imports.CreateImportJobConfig(request_id=new_id(), corp_id=w.corp_id)
    ),
    "ImportService.GetImportJob": lambda w: imports.GetImportJobRequest(
        corp_id=w.corp_id, job_id=new_id()
    ),
    "ImportService.ListImportJobs": lambda w: imports.ListImportJobsRequest(corp_id=w.corp_id),
    "ImportService.WatchImportJob": lambda w: imports.WatchImportJobRequest(
        corp_id=w.corp_id, job_id=new_id()
    ),
    "ImportService.CancelImportJob": lambda w: imports.CancelImportJobRequest(
        corp_id=w.corp_id, job_id=new_id()
    ),
    "ImportService.ListImportJobErrors": lambda w: imports.ListImportJobErrorsRequest(
        corp_id=w.corp_id, job_id=new_id()
    ),
    "ExportService.ExportMembers": lambda w: exports.ExportMembersRequest(corp_id=w.corp_id),
    "ExportService.ExportDepartments": lambda w: exports.ExportDepartmentsRequest(
        corp_id=w.corp_id
    ),
    "DirectoryService.GetMember": lambda w: directory.GetMemberRequest(
        corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "DirectoryService.BatchGetMembers": lambda w: directory.BatchGetMembersRequest(
        corp_id=w.corp_id, user_ids=[w.colleague_id]
    ),
    "DirectoryService.SearchMembers": lambda w: directory.SearchMembersRequest(
        corp_id=w.corp_id, query=w.colleague_id
    ),
    "DirectoryService.ListMembers": lambda w: directory.ListMembersRequest(corp_id=w.corp_id),
    "DirectoryService.ListDepartments": lambda w: directory.ListDepartmentsRequest(
        corp_id=w.corp_id
    ),
    "ChangeService.ListChanges": lambda w: directory_changes.ListChangesRequest(corp_id=w.corp_id),
    "ChangeService.WatchChanges": lambda w: directory_changes.WatchChangesRequest(
        corp_id=w.corp_id
    ),
    "LinkedCorpService.ListLinkedCorps": lambda w: linked.ListLinkedCorpsRequest(corp_id=w.corp_id),
    "LinkedCorpService.ListLinkedDepartments": lambda w: linked.ListLinkedDepartmentsRequest(
        corp_id=w.corp_id, link_id=w.link_id
    ),
    "LinkedCorpService.ListLinkedMembers": lambda w: linked.ListLinkedMembersRequest(
        corp_id=w.corp_id, link_id=w.link_id
    ),
    "LinkedCorpService.GetLinkedMember": lambda w: linked.GetLinkedMemberRequest(
        corp_id=w.corp_id, link_id=w.link_id, user_id=w.colleague_id
    ),
    "SchoolService.CreateSchoolDepartment": lambda w: school.CreateSchoolDepartmentRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        department=school_pb2.SchoolDepartment(
            kind=school_pb2.SCHOOL_DEPARTMENT_KIND_GRADE,
            name="Grade",
            parent_department_id=w.class_id,
        ),
    ),
    "SchoolService.UpdateSchoolDepartment": lambda w: school.UpdateSchoolDepartmentRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        department=school_pb2.SchoolDepartment(department_id=w.class_id, name="Grade"),
    ),
    "SchoolService.DeleteSchoolDepartment": lambda w: school.DeleteSchoolDepartmentRequest(
        request_id=new_id(), corp_id=w.corp_id, department_id=w.class_id
    ),
    "SchoolService.ListSchoolDepartments": lambda w: school.ListSchoolDepartmentsRequest(
        corp_id=w.corp_id
    ),
    "SchoolService.BatchCreateStudents": lambda w: school.BatchCreateStudentsRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        students=[school_pb2.Student(student_id=w.student_id, name="S", class_ids=[w.class_id])],
    ),
    "SchoolService.BatchUpdateStudents": lambda w: school.BatchUpdateStudentsRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        students=[school_pb2.Student(student_id=w.student_id, name="S", class_ids=[w.class_id])],
    ),
    "SchoolService.BatchDeleteStudents": lambda w: school.BatchDeleteStudentsRequest(
        request_id=new_id(), corp_id=w.corp_id, student_ids=[w.student_id]
    ),
    "SchoolService.GetStudent": lambda w: school.GetStudentRequest(
        corp_id=w.corp_id, student_id=w.student_id
    ),
    "SchoolService.ListStudents": lambda w: school.ListStudentsRequest(
        corp_id=w.corp_id, class_id=w.class_id
    ),
    "SchoolService.BatchCreateParents": lambda w: school.BatchCreateParentsRequest(
        request_id=new_id(), corp_id=w.corp_id, parents=[_parent(w)]
    ),
    "SchoolService.BatchUpdateParents": lambda w: school.BatchUpdateParentsRequest(
        request_id=new_id(), corp_id=w.corp_id, parents=[_parent(w)]
    ),
    "SchoolService.BatchDeleteParents": lambda w: school.BatchDeleteParentsRequest(
        request_id=new_id(), corp_id=w.corp_id, parent_ids=[w.parent_id]
    ),
    "SchoolService.GetParent": lambda w: school.GetParentRequest(
        corp_id=w.corp_id, parent_id=w.parent_id
    ),
    "SchoolService.ListClassParents": lambda w: school.ListClassParentsRequest(
        corp_id=w.corp_id, class_id=w.class_id
    ),
    "DepartmentService.CreateDepartment": lambda w: departments.CreateDepartmentRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        department=directory_pb2.Department(name="Theirs", parent_department_id=1),
    ),
    "DepartmentService.GetDepartment": lambda w: departments.GetDepartmentRequest(
        corp_id=w.corp_id, department_id=w.department_id
    ),
    "DepartmentService.BatchGetDepartments": lambda w: departments.BatchGetDepartmentsRequest(
        corp_id=w.corp_id, department_ids=[w.department_id]
    ),
    "DepartmentService.GetSubtree": lambda w: departments.GetSubtreeRequest(corp_id=w.corp_id),
    "DepartmentService.UpdateDepartment": lambda w: departments.UpdateDepartmentRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        department=directory_pb2.Department(department_id=w.department_id, order=9),
        update_mask=FieldMask(paths=["order"]),
    ),
    "DepartmentService.DeleteDepartment": lambda w: departments.DeleteDepartmentRequest(
        request_id=new_id(), corp_id=w.corp_id, department_id=w.department_id
    ),
    "MemberService.CreateMember": lambda w: members.CreateMemberRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        member=directory_pb2.Member(user_id="theirs", name="Theirs"),
    ),
    "MemberService.UpdateMember": lambda w: members.UpdateMemberRequest(
        request_id=new_id(), corp_id=w.corp_id, update=_rename(w.colleague_id)
    ),
    "MemberService.BatchUpdateMembers": lambda w: members.BatchUpdateMembersRequest(
        request_id=new_id(), corp_id=w.corp_id, updates=[_rename(w.colleague_id)]
    ),
    "MemberService.DeleteMember": lambda w: members.DeleteMemberRequest(
        request_id=new_id(), corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "MemberService.BatchDeleteMembers": lambda w: members.BatchDeleteMembersRequest(
        request_id=new_id(), corp_id=w.corp_id, user_ids=[w.colleague_id]
    ),
    "MemberService.DisableMember": lambda w: members.DisableMemberRequest(
        request_id=new_id(), corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "MemberService.EnableMember": lambda w: members.EnableMemberRequest(
        request_id=new_id(), corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "MemberService.ListMemberIds": lambda w: members.ListMemberIdsRequest(corp_id=w.corp_id),
    "MemberService.GetMemberIdByMobile": lambda w: members.GetMemberIdByMobileRequest(
        corp_id=w.corp_id, mobile="13800000001"
    ),
    "MemberService.GetMemberIdByEmail": lambda w: members.GetMemberIdByEmailRequest(
        corp_id=w.corp_id, email="wang@example.com"
    ),
    "AttributeService.CreateAttribute": lambda w: attributes.CreateAttributeRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        attribute=attribute_pb2.Attribute(name="a", kind=attribute_pb2.ATTRIBUTE_KIND_TEXT),
    ),
    "AttributeService.UpdateAttribute": lambda w: attributes.UpdateAttributeRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        attribute=attribute_pb2.Attribute(name="a", order=9),
        update_mask=FieldMask(paths=["order"]),
    ),
    "AttributeService.DeleteAttribute": lambda w: attributes.DeleteAttributeRequest(
        corp_id=w.corp_id, name="a"
    ),
    "AttributeService.ListAttributes": lambda w: attributes.ListAttributesRequest(
        corp_id=w.corp_id
    ),
    "TagService.CreateTag": lambda w: tags.CreateTagRequest(
        request_id=new_id(), corp_id=w.corp_id, tag=directory_pb2.Tag(name="Theirs")
    ),
    "TagService.GetTag": lambda w: tags.GetTagRequest(corp_id=w.corp_id, tag_id=w.tag_id),
    "TagService.ListTags": lambda w: tags.ListTagsRequest(corp_id=w.corp_id),
    "TagService.UpdateTag": lambda w: tags.UpdateTagRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        tag=directory_pb2.Tag(tag_id=w.tag_id, name="Theirs"),
        update_mask=FieldMask(paths=["name"]),
    ),
    "TagService.DeleteTag": lambda w: tags.DeleteTagRequest(
        request_id=new_id(), corp_id=w.corp_id, tag_id=w.tag_id
    ),
    "TagService.AddTagMembers": lambda w: tags.AddTagMembersRequest(
        request_id=new_id(), corp_id=w.corp_id, tag_id=w.tag_id, user_ids=[w.colleague_id]
    ),
    "TagService.RemoveTagMembers": lambda w: tags.RemoveTagMembersRequest(
        request_id=new_id(), corp_id=w.corp_id, tag_id=w.tag_id, user_ids=[w.colleague_id]
    ),
    "TagService.ListTagMembers": lambda w: tags.ListTagMembersRequest(
        corp_id=w.corp_id, tag_id=w.tag_id
    ),
    "VisibilityService.CreateVisibilityRule": lambda w: visibility.CreateVisibilityRuleRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        rule=visibility_pb2.VisibilityRule(
            display_name="Theirs",
            kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN,
            # Somebody who is in every corp: a rule names only whom there is.
            targets=visibility_pb2.VisibilityScope(user_ids=["owner"]),
        ),
    ),
    "VisibilityService.GetVisibilityRule": lambda w: visibility.GetVisibilityRuleRequest(
        corp_id=w.corp_id, rule_id=w.rule_id
    ),
    "VisibilityService.ListVisibilityRules": lambda w: visibility.ListVisibilityRulesRequest(
        corp_id=w.corp_id
    ),
    "VisibilityService.UpdateVisibilityRule": lambda w: visibility.UpdateVisibilityRuleRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        rule=visibility_pb2.VisibilityRule(rule_id=w.rule_id, display_name="Theirs"),
        update_mask=FieldMask(paths=["display_name"]),
    ),
    "VisibilityService.DeleteVisibilityRule": lambda w: visibility.DeleteVisibilityRuleRequest(
        request_id=new_id(), corp_id=w.corp_id, rule_id=w.rule_id
    ),
    "VisibilityService.CheckVisibility": lambda w: visibility.CheckVisibilityRequest(
        corp_id=w.corp_id, viewer_user_id="owner", user_id=w.colleague_id
    ),
}

# What follows the first request of a client's stream.
FOLLOWING: dict[str, list[Message]] = {
    "DirectoryService.ImportMembers": [
        directory.ImportMembersRequest(chunk=b"user_id,name,department\nli.na,Li Na,Sales\n")
    ],
    "ImportService.CreateImportJob": [imports.CreateImportJobRequest(chunk=b"user_id\n")],
}
