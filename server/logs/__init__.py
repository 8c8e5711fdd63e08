"""What the server tells of itself, one line for each event."""
