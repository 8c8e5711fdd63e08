"""How the benchmarks measure: contenders in processes of their own, interleaved, compared round by round."""
