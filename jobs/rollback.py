"""Give the champion alias back to the version before.

Usage: spark-submit jobs/rollback.py --workload flight_delays --env local
"""

from lakescore.cli.entry_points import rollback

if __name__ == "__main__":
    rollback()
