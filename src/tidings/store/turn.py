"""Whose turn it is: the order in which queued jobs are claimed, as one SQL expression.

First the one job of each tenant that has nothing running, so that nobody's backlog and nobody's priority keeps
another tenant waiting; among such tenants the one that was served longest ago. Then priority, then fairness
between tenants, then age. A *line* is what one tenant has queued of one kind and priority. Lines are found by
stepping through the index from tenant to tenant, and each is read from its head, so a backlog's length costs
nothing. ``load`` is what a tenant would have running once the job has started: the tenant with the least comes
first, and of equals the one that was served longest ago. With one slot for all, tenants take turns.
"""

from typing import Final

from sqlalchemy import CTE, Integer, Text, bindparam, text

from tidings.store.columns import Moment
from tidings.store.tables import jobs

_SLACK: Final = 32
"""How many candidates other claimers may have locked before a claim comes back short, on PostgreSQL."""

_ORDER: Final = """
WITH RECURSIVE line(kind, priority, tenant_id) AS (
    SELECT kinds.kind, ranks.priority,
           (SELECT min(jobs.tenant_id) FROM jobs
             WHERE jobs.status = 'queued' AND jobs.kind = kinds.kind AND jobs.priority = ranks.priority)
      FROM kinds CROSS JOIN (SELECT 0 AS priority UNION ALL SELECT 1) AS ranks
     WHERE kinds.kind IN ({kinds})
    UNION ALL
    SELECT line.kind, line.priority,
           (SELECT min(jobs.tenant_id) FROM jobs
             WHERE jobs.status = 'queued' AND jobs.kind = line.kind AND jobs.priority = line.priority
               AND jobs.tenant_id > line.tenant_id)
      FROM line WHERE line.tenant_id IS NOT NULL
), waiting AS (
    SELECT line.kind, line.priority, line.tenant_id,
           (SELECT min(jobs.run_at) FROM jobs
             WHERE jobs.status = 'queued' AND jobs.kind = line.kind AND jobs.priority = line.priority
               AND jobs.tenant_id = line.tenant_id) AS since,
           (SELECT count(*) FROM jobs
             WHERE jobs.lease_owner IS NOT NULL AND jobs.tenant_id = line.tenant_id) AS running,
           (SELECT coalesce(max(jobs.started_at), 0) FROM jobs
             WHERE jobs.started_at IS NOT NULL AND jobs.tenant_id = line.tenant_id) AS served
      FROM line WHERE line.tenant_id IS NOT NULL
), due AS (
    SELECT waiting.*,
           waiting.running + row_number() OVER (
               PARTITION BY waiting.tenant_id ORDER BY waiting.priority, waiting.since) AS load
      FROM waiting
     WHERE waiting.since <= :now
), ready AS (
    SELECT * FROM due
     ORDER BY due.load > 1, CASE WHEN due.load = 1 THEN due.served END,
              due.priority, due.load, due.served, due.since
     LIMIT :reach
), candidate AS (
    SELECT head.id, head.run_at, ready.priority, ready.served,
           ready.running + row_number() OVER (
               PARTITION BY ready.tenant_id ORDER BY ready.priority, head.run_at, head.id) AS load
      FROM ready {heads}
)
SELECT candidate.id FROM {candidates} LIMIT :size
"""

_IN_TURN: Final = """
    candidate ORDER BY candidate.load > 1, CASE WHEN candidate.load = 1 THEN candidate.served END,
        candidate.priority, candidate.load, candidate.served, candidate.run_at, candidate.id
"""

_HEADS: Final = """
    SELECT {columns} FROM jobs
     WHERE jobs.status = 'queued' AND jobs.kind = ready.kind AND jobs.priority = ready.priority
       AND jobs.tenant_id = ready.tenant_id AND jobs.run_at <= :now
     ORDER BY jobs.run_at, jobs.id LIMIT :reach
"""

_SQLITE: Final = _ORDER.format(
    kinds="SELECT value FROM json_each(:kinds)",
    heads=f"JOIN jobs AS head ON head.id IN ({_HEADS.format(columns='jobs.id')})",
    candidates=_IN_TURN,
)
# Locked one after the other, until there are enough, and each found by its id: ``coalesce`` takes the index over what
# is queued, which a plan from a quiet hour would read from end to end, out of the choice.
_UNTIL_ENOUGH: Final = """
    (SELECT * FROM {in_turn}) AS candidate
    CROSS JOIN LATERAL (
        SELECT FROM jobs WHERE jobs.id = candidate.id AND coalesce(jobs.status, '') = 'queued'
           FOR UPDATE SKIP LOCKED) AS still
"""
_POSTGRES: Final = _ORDER.format(
    kinds="SELECT json_array_elements_text(CAST(:kinds AS json))",
    heads=f"CROSS JOIN LATERAL ({_HEADS.format(columns='jobs.id, jobs.run_at')}) AS head",
    candidates=_UNTIL_ENOUGH.format(in_turn=_IN_TURN),
)


def next_in_turn(dialect: str) -> CTE:
    """The ids of at most ``:size`` jobs of ``:kinds``, a JSON array, that may run ``:now``, as the expression ``turn``.

    On PostgreSQL their rows are locked, and those that somebody else is claiming are passed over; ``:reach``
    says among how many of each line to choose (see ``depth``).
    """
    query = text(_SQLITE if dialect == "sqlite" else _POSTGRES).bindparams(
        bindparam("kinds", type_=Text),
        bindparam("now", type_=Moment),
        bindparam("size", type_=Integer),
        bindparam("reach", type_=Integer),
    )
    return query.columns(jobs.c.id).cte("turn")


def depth(dialect: str, size: int) -> int:
    """How many candidates to take of each line to be sure of ``size`` jobs in the end."""
    return size if dialect == "sqlite" else size + _SLACK
