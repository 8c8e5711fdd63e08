"""What the benchmarks race: functions that load one contender each. Every one runs in a process of its own."""
