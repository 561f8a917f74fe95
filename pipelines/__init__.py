"""When things run: steps, Dagster definitions, the demo and the command line."""
