"""Dagster: assets, checks, jobs, partitions, schedules, and running them inside a workspace."""
