"""The lint that looks for queries without a tenant."""

from pathlib import Path

import pytest

from scripts.tenant_scope import check, main, tenant_carriers
from tests.support.trees import plant

DOMAIN = {
    "src/tidings/domain/people.py": """
        TenantId = NewType("TenantId", str)
        class Tenant:
            id: TenantId
        class Role:
            name: str
        """,
    "src/tidings/domain/event.py": """
        class Published:
            channel: Channel
        class Channel:
            tenant: TenantId
        class Filter:
            tenant: TenantId | None
        """,
}


def faults(root: Path, text: str) -> list[str]:
    """What the lint says of a store of one file."""
    plant(root, DOMAIN | {"src/tidings/store/jobs.py": text})
    return [fault.text for fault in check(root)]


def test_records_that_carry_a_tenant_are_found(tmp_path: Path) -> None:
    """A record carries a tenant if a field of it always holds one, or a record that does."""
    plant(tmp_path, DOMAIN)
    carriers = tenant_carriers(tmp_path / "src/tidings/domain")
    assert carriers == {"TenantId", "Tenant", "Channel", "Published"}


@pytest.mark.parametrize(
    "parameter", ["tenant: TenantId", "*, tenant: TenantId", "rows: Sequence[Tenant]", "p: people.Tenant"]
)
def test_query_with_a_tenant_is_right(tmp_path: Path, parameter: str) -> None:
    """The tenant may come by itself, by keyword, or in records."""
    assert faults(tmp_path, f"async def find(tx: AsyncConnection, {parameter}): ...") == []


@pytest.mark.parametrize("parameter", ["job_id: str", "tenant: str", "tenant: TenantId | None", "role: Role"])
@pytest.mark.parametrize(
    "connection", ["tx: AsyncConnection", "database: Database", "tx: AsyncConnection | None"]
)
def test_query_without_a_tenant_is_named(tmp_path: Path, connection: str, parameter: str) -> None:
    """Neither a bare name nor a tenant that may be left out will do."""
    text = f"async def find({connection}, {parameter}): ..."
    assert faults(tmp_path, text) == ["find: a query without a tenant"]


def test_records_of_the_store_count(tmp_path: Path) -> None:
    """A record that only the store knows carries a tenant as well as one of the domain."""
    text = """
        class Ticket:
            tenant: TenantId
        async def insert(tx: AsyncConnection, ticket: Ticket): ...
        """
    assert faults(tmp_path, text) == []


def test_methods_count_and_private_ones_do_not(tmp_path: Path) -> None:
    """Whatever another room could call is looked at; what only the file itself calls is not."""
    text = """
        class Jobs:
            def find(self, tx: AsyncConnection): ...
            def _row(self, tx: AsyncConnection): ...
        class _Private:
            def find(self, tx: AsyncConnection): ...
        def _helper(tx: AsyncConnection): ...
        """
    assert faults(tmp_path, text) == ["Jobs.find: a query without a tenant"]


def test_function_without_a_connection_is_no_query(tmp_path: Path) -> None:
    """Cursors, column types and engines need no tenant."""
    assert faults(tmp_path, "def connect(url: str): ...") == []


def test_building_the_store_is_no_query(tmp_path: Path) -> None:
    """The engine, the tables and the migrations have connections and read nobody's rows."""
    text = "async def current(database: Database): ..."
    plant(
        tmp_path, {f"src/tidings/store/{name}": text for name in ("database.py", "migrate.py", "tables.py")}
    )
    assert check(tmp_path) == []


@pytest.mark.parametrize(
    ("decorator", "exempt"),
    [
        ('crosses_tenants("the relay serves all")', True),
        ('crosses_tenants(" ")', False),
        ("crosses_tenants(REASON)", False),
        ('cached("the relay serves all")', False),
    ],
)
def test_exception_gives_its_reason(tmp_path: Path, decorator: str, *, exempt: bool) -> None:
    """A query may look across tenants if it says why, in words, where it stands."""
    text = f"@{decorator}\nasync def pending(tx: AsyncConnection): ..."
    assert faults(tmp_path, text) == ([] if exempt else ["pending: a query without a tenant"])


def test_exit_code_tells_of_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tree with a fault exits with 1; the fault is a line with its place, the count is the last one."""
    text = "def find(tx: AsyncConnection): ..."
    assert main(plant(tmp_path, DOMAIN | {"src/tidings/store/jobs.py": text})) == 1
    path = tmp_path / "src/tidings/store/jobs.py"
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:1: find: a query without a tenant",
        "tenant scope: 1 violations",
    ]
