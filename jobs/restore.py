"""Take the last scoring commit back: its predictions and its refused rows.

Usage: spark-submit jobs/restore.py --workload flight_delays --env local
"""

from lakescore.cli.entry_points import restore

if __name__ == "__main__":
    restore()
