"""Worker processes: each holds the sessions of every loaded model on one device, and runs one batch after the other.

A worker may die at any moment. What it shares with the process that started it is two sockets, whose packets are whole
or not there, and memory without a name, which goes when the last of the two does.
"""
