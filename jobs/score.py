"""Score the rows that landed since the last run.

Usage: spark-submit jobs/score.py --workload flight_delays --env local
"""

from lakescore.cli.entry_points import score

if __name__ == "__main__":
    score()
