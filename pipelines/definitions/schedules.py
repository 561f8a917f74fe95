"""When a full retraining starts by itself."""

import dagster as dg

from data_contracts.profile import Profile
from pipelines.definitions.names import Job


def monthly_retraining(profile: Profile) -> dg.ScheduleDefinition:
    """The profile's schedule (02:00 on the first of the month by default), in the profile's time zone.

    Running from the start: schedules are otherwise born stopped, and nobody would notice for a month.
    """
    return dg.ScheduleDefinition(
        name="monthly_full_retraining",
        job_name=Job.FULL_RETRAINING.value,
        cron_schedule=profile.retrain.monthly,
        execution_timezone=profile.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Curates what is known by now and trains a full new candidate; the gate still decides.",
    )
