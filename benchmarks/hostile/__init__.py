"""What a server must live through: requests that are wrong, broken off, too slow, or too many; all from one seed."""
