"""Schools: the tree of classes, students and parents, and who reaches whom.

Students and parents are no members, and their classes no departments.
"""
