"""Train a workload and register a challenger.

Usage: spark-submit jobs/train.py --workload flight_delays --env local
"""

from lakescore.cli.entry_points import train

if __name__ == "__main__":
    train()
