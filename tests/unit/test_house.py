"""The house keeps its own rules: the checks of ``make lint`` over the real tree."""

from scripts import house_measures, import_rule, tenant_scope
from scripts.source_tree import ROOT, Violation


def test_measures() -> None:
    """Files and functions are short, parameters few, and no import goes in a circle."""
    faults, _ = house_measures.check(ROOT)
    assert not faults, _lines(faults)


def test_imports_go_downwards_only() -> None:
    """Every import follows the table of the import rule."""
    faults = import_rule.check(ROOT)
    assert not faults, _lines(faults)


def test_queries_take_a_tenant() -> None:
    """No query of the store can be asked without saying for which tenant."""
    faults = tenant_scope.check(ROOT)
    assert not faults, _lines(faults)


def _lines(faults: list[Violation]) -> str:
    return "\n".join(map(str, faults))
