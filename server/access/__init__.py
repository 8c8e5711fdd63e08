"""Who may speak to the server: TLS, client certificates, tokens."""
