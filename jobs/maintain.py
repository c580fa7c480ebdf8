"""Keep the tables of a workload's predictions quick and small.

Usage: spark-submit jobs/maintain.py --workload flight_delays --env local --yes
"""

from lakescore.cli.entry_points import maintain

if __name__ == "__main__":
    maintain()
