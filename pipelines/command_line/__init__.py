"""The ``tailsight`` command line: thin verbs over Dagster jobs."""
