"""What a server is told when it starts: flags, and a TOML file beneath them."""
