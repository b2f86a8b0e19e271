"""The model against sums that can be done by hand."""

import pytest

from bench.simulate.__main__ import across, grown
from bench.simulate.costs import Costs
from bench.simulate.model import Model, Scenario


def test_an_idle_system_adds_up() -> None:
    """One message at a time waits for nobody: its latency is the sum of its steps."""
    costs = Costs()
    outcome = Model(across(1, 1.0), costs, seconds=50.0).run()
    steps = costs.publish_turn + costs.publish + costs.redis_turn + costs.redis + costs.redis_push
    steps += costs.hear_turn + costs.hear + costs.deliver / 2 + 2 * costs.wire
    assert outcome.published_p50 == pytest.approx(steps, rel=0.01)


def test_every_message_reaches_its_audience() -> None:
    """As many deliveries as there are recipients, however they are spread over nodes."""
    scenario = Scenario(
        connections=4000, nodes=4, tenants=4, devices=3, notifications=50.0, broadcasts=2.0, shards=2
    )
    outcome = Model(scenario, Costs(), seconds=5.0, seed=3).run()
    broadcasts = (outcome.deliveries - 3 * outcome.messages) / (1000 - 3)
    assert broadcasts == round(broadcasts)
    assert 0 < broadcasts < outcome.messages


def test_the_same_seed_gives_the_same() -> None:
    """A figure of ``docs/scale.md`` can be had again."""
    scenario = Scenario(connections=1000, nodes=2, notifications=500.0)
    assert Model(scenario, Costs(), seconds=1.0).run() == Model(scenario, Costs(), seconds=1.0).run()


def test_beyond_capacity_the_load_says_so() -> None:
    """A line that is given more than it can do has a load above 1, and latency grows."""
    scenario = Scenario(connections=1000, nodes=50, notifications=8000.0)
    outcome = Model(scenario, Costs(), seconds=1.0).run()
    assert outcome.database_load > 1
    assert outcome.accepted_p99 > 0.1


def test_more_users_take_more_nodes_and_not_more_time() -> None:
    """Ten times the connections on ten times the nodes load each node alike."""
    small, large = (point.outcome for point in grown(3.0, sizes=(100_000, 1_000_000)))
    assert large.node_load == pytest.approx(small.node_load, abs=0.03)
    assert large.redis_load > 5 * small.redis_load
