"""Runs on a Ray cluster: this machine alone, a box of cards, or many machines.

address.py   connects to a cluster, or starts one on this machine
nodes.py     the cluster as the driver sees it: its nodes, and which of them may take runs
room.py      how many runs fit on them, and with how many threads
node.py      what happens on a node: a worker that carries out runs
remote.py    the driver's side of one such worker
executor.py  hands jobs to workers, and hears of them

The driver is the process in which the command was typed. Nothing here imports Ray before a cluster is asked for.
"""
