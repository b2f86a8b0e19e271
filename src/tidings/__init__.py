"""Tidings: notifications and live job progress for multi-tenant applications."""

from tidings.jobs.context import JobContext, JobFailed
from tidings.jobs.kinds import job

__all__ = ["JobContext", "JobFailed", "job"]
