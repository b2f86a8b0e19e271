"""What has to be spelled for each database: INSERT with ON CONFLICT, and a list as one parameter."""

from sqlalchemy import JSON, Select, Table, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.store.columns import Json


def insert_into(tx: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """INSERT INTO ``table``, in the words of the database that ``tx`` is connected to."""
    if tx.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def listed(dialect: str, name: str) -> Select[tuple[str]]:
    """The words of the list that is bound to ``name``: one parameter, so the statement is the same for any number."""
    words = bindparam(name, type_=Json)
    array = func.json_each(words) if dialect == "sqlite" else func.json_array_elements_text(cast(words, JSON))
    return select(array.table_valued("value").c.value)
