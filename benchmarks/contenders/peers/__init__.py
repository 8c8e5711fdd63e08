"""Other people's servers with the same graph: what runs here runs in their virtual environments, without lqhq."""
