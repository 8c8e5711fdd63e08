"""Servers as processes, what they are asked over real sockets, and the loads that are put on them."""
