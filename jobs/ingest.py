"""Copy files into a Delta table of the lake, incrementally.

Usage: spark-submit jobs/ingest.py --table bronze.sales --from 'landing/*.parquet' --env local
"""

from lakescore.cli.entry_points import ingest

if __name__ == "__main__":
    ingest()
