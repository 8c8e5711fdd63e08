"""One request from its arrival to its answer, whichever protocol it came by."""
