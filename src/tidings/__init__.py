"""Tidings: notifications and live job progress for multi-tenant applications."""

from tidings.jobs.context import ChildFailed, JobContext, JobFailed
from tidings.jobs.kinds import job

__all__ = ["ChildFailed", "JobContext", "JobFailed", "job"]
