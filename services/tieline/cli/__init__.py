"""The command `tieline`: reads options, calls what does the work, and prints.

Belongs here: one module per command, what a person at a terminal sees, and `tieline up`, which runs
the whole platform on one machine. Does not belong here: anything that a service needs in a cluster.

Read `main` first. Behind `up`: `platform` (what is started, in which order), `supervisor` (keeps
processes running), `data_directory` (what is kept in `.tieline/`) and `port_plan`.
"""
