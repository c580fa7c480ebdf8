"""Run a workload's gate and make its challenger the champion.

Usage: spark-submit jobs/promote.py --workload flight_delays --env local
"""

from lakescore.cli.entry_points import promote

if __name__ == "__main__":
    promote()
