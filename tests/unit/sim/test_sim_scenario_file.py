"""Scenario files: what may stand in them, and what a mistake in one says."""

from __future__ import annotations

import json

import pytest
from attrs import fields

from meshcrdt.base.limits import DEFAULT_LIMITS
from meshcrdt.daemon.simulate.files import load_scenario, shipped
from meshcrdt.errors import UsageError
from meshcrdt.sim.expect import Bounds, figure_of
from meshcrdt.sim.fault_list import Faults
from meshcrdt.sim.metrics import Measured
from meshcrdt.sim.scenario import SIM_LIMITS, Senders, Topology
from meshcrdt.sim.scenario_file import plain, read_scenario
from meshcrdt.sim.steps import Churn, Kill, Partition, Shape
from meshcrdt.topology.dialer import Discovery
from meshcrdt.topology.heartbeats import Detection

WHOLE = """
about = "A story."

[cluster]
nodes = 12
topology = "islands"
islands = 3
discovery = "off"
start_every = "50ms"
warm_up = 10
runs_for = "2m"
pace = "published"
detection = "probe"
ranges = ["10.9.0.0/16"]

[limits]
ping_interval_s = 1.0
streams_per_origin_max = 9

[network]
latency = ["10ms", "50ms"]
loss = "5 %"
bandwidth = 125000
region = [
  { name = "ams", latitude = 52.3, longitude = 4.8, weight = 3 },
  { name = "nrt", latitude = 35.8, longitude = 140.4 },
]
between = [{ first = "ams", second = "nrt", loss = "20 %" }]

[faults]
duplicate = 0.1
crash_every = "1m"

[traffic]
senders = "all"
every = "1500ms"
size = 100

[[step]]
at = "30s"
do = "partition"
shape = "ring"

[[step]]
at = "1m"
do = "kill"
share = "80 %"

[[step]]
do = "churn"

[expect]
delivery = 1.0
seconds_max = "500ms"
hops_max = 4

[[asserted]]
by = "somebody"
redundancy_max = 1
says = "in words"
"""


def test_a_whole_file_becomes_a_scenario() -> None:
    scenario = read_scenario(WHOLE, name="whole.toml", seed=7)
    assert (scenario.name, scenario.seed, scenario.nodes) == ("whole.toml", 7, 12)
    assert (scenario.topology, scenario.islands) == (Topology.ISLANDS, 3)
    assert (scenario.discovery, scenario.detection) == (Discovery.OFF, Detection.PROBE)
    assert scenario.limits.ping_interval_s == 1.0
    assert scenario.limits.streams_per_origin_max == 9
    assert scenario.limits.link_silence_s == DEFAULT_LIMITS.link_silence_s
    assert (scenario.latency_s, scenario.latency_max_s) == (0.01, 0.05)
    assert scenario.faults == Faults(loss=0.05, duplicate=0.1, crash_every_s=60.0)
    assert [region.name for region in scenario.regions] == ["ams", "nrt"]
    assert scenario.region_losses[0].loss == 0.2
    assert scenario.traffic is not None
    assert (scenario.traffic.senders, scenario.traffic.every_s) == (Senders.ALL, 1.5)
    assert scenario.traffic.size_bytes == 100
    assert scenario.steps == (
        Partition(at_s=30.0, shape=Shape.RING),
        Kill(at_s=60.0, share=0.8),
        Churn(),
    )
    assert scenario.expect == Bounds(delivery=1.0, seconds_max=0.5, hops_max=4.0)
    assert scenario.asserted[0].bounds == Bounds(redundancy_max=1.0)
    assert scenario.universes == ("10.9.0.0/16",)


def test_an_empty_file_is_a_scenario_without_users() -> None:
    scenario = read_scenario("")
    assert (scenario.nodes, scenario.command_every_s, scenario.limits) == (5, 0.0, SIM_LIMITS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes = 3", "nodes is not known: about, cluster,"),
        ("cluster = 3", r"cluster is 3: a table \[cluster\] is accepted"),
        ("[cluster]\nnode = 3", "cluster.node is not known: nodes, topology,"),
        ("[cluster]\nnodes = 0", "nodes.* must be in"),
        ("[cluster]\nnodes = true", "cluster.nodes is True: a whole number is accepted"),
        ("[cluster]\npace = 'fast'", "cluster.pace is 'fast': slow, published are accepted"),
        ("[cluster]\nwarm_up = '3 days'", "cluster.warm_up is '3 days': a time such as"),
        ("[limits]\nping = 1", "limits.ping is not known: frame_bytes_max,"),
        ("[limits]\nping_interval_s = 0", "limits: ping_interval_s is 0"),
        ("[network]\nloss = 1.5", "network.loss is 1.5|faults.loss is 1.5: a share from 0 to 1"),
        ("[network]\nloss = 'much'", "'much': a share from 0 to 1, or a text such as"),
        ("[network]\nloss = 0.1\n[faults]\nloss = 0.1", "say it once"),
        ("[faults]\nlos = 0.1", "faults.los is not known: loss, duplicate,"),
        ("[faults]\npartition_for = 0", "faults: 'partition_for_s' must be > 0"),
        ("[[step]]\ndo = 'explode'", "step 1.do is 'explode': partition, heal,"),
        ("[[step]]\ndo = 'heal'\nshare = 1", r"step 1 \(heal\).share is not known: at are"),
        ("[step]\ndo = 'heal'", r"step is .*: tables \[\[step\]\] are accepted"),
        ("[expect]\nspeed_max = 1", "expect.speed_max is not known: delivery,"),
        ("[[asserted]]\ndelivery = 1.0", "asserted 1.by is None: a text is accepted"),
        ("[cluster", "is not TOML"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_is_accepted(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read_scenario(text, name="mine.toml")
    assert str(caught.value).startswith("mine.toml")
    assert "\n" not in str(caught.value)


def test_every_bound_is_about_a_figure_that_is_measured() -> None:
    figures = {each.name for each in fields(Measured)}
    for bound in fields(Bounds):
        assert figure_of(bound.name) in figures


def test_every_shipped_scenario_can_be_read_and_says_what_it_is_about() -> None:
    assert len(shipped()) >= 20
    for name in shipped():
        scenario = load_scenario(name, seed=3)
        assert scenario.about.endswith(".")
        assert scenario.expect.given(), name
        assert json.loads(json.dumps(plain(scenario)))["seed"] == 3


def test_what_others_assert_stands_in_the_scenarios_that_have_their_definitions() -> None:
    for name in shipped():
        scenario = load_scenario(name)
        system = name.partition("-")[0]
        if system in ("iroh", "corrosion", "chitchat", "networkdb"):
            assert system in scenario.asserted[0].by.lower(), name


def test_a_scenario_of_another_size_gets_a_universe_of_that_size() -> None:
    small = load_scenario("iroh-single")
    assert small.sized(nodes=1_000).universes == ("10.0.0.0/8",)
    assert small.sized(nodes=1_000).sized(nodes=3) == small.sized(nodes=3)
    assert small.sized(seed=4).seed == 4
