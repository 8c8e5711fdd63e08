"""Says no early: what a request will cost, and whether there is room for it. Pure; times are given to it."""
