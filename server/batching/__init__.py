"""Which works run next, and together: a pure core. It holds no thread and no clock; times are given to it.

Times are milliseconds of one monotonic clock. One thread at a time calls the core; the Jobs are touched from inside it.
"""
