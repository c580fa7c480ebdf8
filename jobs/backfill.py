"""Score a range of a workload again, and replace exactly that range.

Usage: spark-submit jobs/backfill.py --workload flight_delays --from 2013-12-01 --env local
"""

from lakescore.cli.entry_points import backfill

if __name__ == "__main__":
    backfill()
