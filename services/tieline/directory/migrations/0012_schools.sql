-- Schools: a tree of classes beside the departments of members, students, and their parents.
-- Expand only: nothing reads these yet.

CREATE TABLE directory.schools (
    corp_id            text        NOT NULL,
    next_department_id bigint      NOT NULL DEFAULT 2,
    create_time        timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT schools_pkey PRIMARY KEY (corp_id),
    CONSTRAINT schools_corp FOREIGN KEY (corp_id) REFERENCES directory.corps (corp_id)
);

COMMENT ON TABLE directory.schools IS
    'Whoever writes a school''s rows holds the lock of its row.';
COMMENT ON COLUMN directory.schools.next_department_id IS
    'The root is 1; ids are given in order and never again.';

CREATE TABLE directory.school_departments (
    corp_id              text     NOT NULL,
    department_id        bigint   NOT NULL,
    parent_department_id bigint,
    kind                 text     NOT NULL,
    name                 text     NOT NULL,
    standard_grade       bigint   NOT NULL DEFAULT 0,
    register_year        bigint   NOT NULL DEFAULT 0,
    department_order     bigint   NOT NULL DEFAULT 0,
    ancestor_ids         bigint[] NOT NULL,
    revision             bigint   NOT NULL DEFAULT 1,

    CONSTRAINT school_departments_pkey PRIMARY KEY (corp_id, department_id),
    CONSTRAINT school_departments_name_key UNIQUE (corp_id, parent_department_id, name),
    CONSTRAINT school_departments_school FOREIGN KEY (corp_id)
        REFERENCES directory.schools (corp_id),
    CONSTRAINT school_departments_parent FOREIGN KEY (corp_id, parent_department_id)
        REFERENCES directory.school_departments (corp_id, department_id),
    CONSTRAINT school_departments_kind
        CHECK (kind IN ('school', 'campus', 'stage', 'grade', 'class')),
    CONSTRAINT school_departments_one_root
        CHECK ((parent_department_id IS NULL) = (kind = 'school')
               AND (kind = 'school') = (department_id = 1))
);

COMMENT ON COLUMN directory.school_departments.parent_department_id IS 'NULL for the root alone.';
COMMENT ON COLUMN directory.school_departments.standard_grade IS
    'Of a grade the year of school, 1 to 12; 0 where that says nothing.';
COMMENT ON COLUMN directory.school_departments.register_year IS
    'The year in which a grade''s students came; 0 without a standard grade.';
COMMENT ON COLUMN directory.school_departments.ancestor_ids IS
    'Ids from the root down to this department itself.';
COMMENT ON COLUMN directory.school_departments.revision IS 'Grows with each change: the etag.';

CREATE TABLE directory.school_administrators (
    corp_id       text   NOT NULL,
    department_id bigint NOT NULL,
    user_id       text   COLLATE "C" NOT NULL,
    kind          text   NOT NULL,
    subject       text   NOT NULL DEFAULT '',

    CONSTRAINT school_administrators_pkey
        PRIMARY KEY (corp_id, department_id, user_id, kind, subject),
    CONSTRAINT school_administrators_department FOREIGN KEY (corp_id, department_id)
        REFERENCES directory.school_departments (corp_id, department_id) ON DELETE CASCADE,
    CONSTRAINT school_administrators_member FOREIGN KEY (corp_id, user_id)
        REFERENCES directory.members (corp_id, user_id) ON DELETE CASCADE,
    CONSTRAINT school_administrators_kind CHECK (kind IN (
        'campus_leader', 'stage_leader', 'grade_leader', 'head_teacher', 'subject_teacher'))
);

COMMENT ON TABLE directory.school_administrators IS
    'Whoever administers a department is a teacher of every class in it.';

-- The classes of a teacher, and what a member who leaves no longer administers.
CREATE INDEX school_administrators_by_member
    ON directory.school_administrators (corp_id, user_id);

CREATE TABLE directory.students (
    corp_id    text   NOT NULL,
    student_id text   COLLATE "C" NOT NULL,
    name       text   NOT NULL,
    mobile     text   NOT NULL DEFAULT '',
    revision   bigint NOT NULL DEFAULT 1,

    CONSTRAINT students_pkey PRIMARY KEY (corp_id, student_id),
    CONSTRAINT students_school FOREIGN KEY (corp_id) REFERENCES directory.schools (corp_id)
);

COMMENT ON COLUMN directory.students.student_id IS 'In lower case, as are parents'' ids.';
COMMENT ON COLUMN directory.students.mobile IS 'Empty if unknown; several may have the same.';

CREATE TABLE directory.student_classes (
    corp_id    text   NOT NULL,
    student_id text   COLLATE "C" NOT NULL,
    class_id   bigint NOT NULL,

    CONSTRAINT student_classes_pkey PRIMARY KEY (corp_id, student_id, class_id),
    CONSTRAINT student_classes_student FOREIGN KEY (corp_id, student_id)
        REFERENCES directory.students (corp_id, student_id) ON DELETE CASCADE,
    CONSTRAINT student_classes_class FOREIGN KEY (corp_id, class_id)
        REFERENCES directory.school_departments (corp_id, department_id)
);

-- The students of a class, in the order of their ids.
CREATE INDEX student_classes_by_class
    ON directory.student_classes (corp_id, class_id, student_id);

CREATE TABLE directory.parents (
    corp_id     text   NOT NULL,
    parent_id   text   COLLATE "C" NOT NULL,
    mobile      text   NOT NULL,
    customer_id text   NOT NULL DEFAULT '',
    revision    bigint NOT NULL DEFAULT 1,

    CONSTRAINT parents_pkey PRIMARY KEY (corp_id, parent_id),
    CONSTRAINT parents_mobile_key UNIQUE (corp_id, mobile),
    CONSTRAINT parents_school FOREIGN KEY (corp_id) REFERENCES directory.schools (corp_id)
);

COMMENT ON COLUMN directory.parents.customer_id IS
    'As whom the parent signs in; empty while nobody knows.';

CREATE UNIQUE INDEX parents_customer_key ON directory.parents (corp_id, customer_id)
    WHERE customer_id <> '';

CREATE TABLE directory.parent_children (
    corp_id    text NOT NULL,
    parent_id  text COLLATE "C" NOT NULL,
    student_id text COLLATE "C" NOT NULL,
    relation   text NOT NULL,

    CONSTRAINT parent_children_pkey PRIMARY KEY (corp_id, parent_id, student_id),
    CONSTRAINT parent_children_parent FOREIGN KEY (corp_id, parent_id)
        REFERENCES directory.parents (corp_id, parent_id) ON DELETE CASCADE,
    CONSTRAINT parent_children_student FOREIGN KEY (corp_id, student_id)
        REFERENCES directory.students (corp_id, student_id) ON DELETE CASCADE
);

-- The parents of a student.
CREATE INDEX parent_children_by_student
    ON directory.parent_children (corp_id, student_id, parent_id);
