"""The workloads as a Databricks asset bundle: written from conf/, and checked."""
