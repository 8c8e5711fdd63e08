"""What the server has done, for load generators (V2 statistics) and for Prometheus."""
