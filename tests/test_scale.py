"""The simulation of archives on a cluster, and its tables in the documentation."""

from dataclasses import replace
from pathlib import Path

import pytest
import scale

HOUR = 3600.0
COSTS = scale.Costs(step=(0.01, 0.01), rows=4, link=1e12, file=0.0, handover=0.0)


def test_one_recording_alone_takes_its_steps():
    seconds = scale.simulate([100.0], 8, COSTS)
    assert seconds == pytest.approx((100 + 1.5) * 12.5 * 0.02)


def test_a_full_batch_is_what_hearing_takes_at_least():
    lengths = [60.0] * 64
    for workers in (1, 2, 4):
        least = scale.bounds(lengths, workers, COSTS)
        assert scale.simulate(lengths, workers, COSTS) == pytest.approx(least["hearing"])
        assert max(least, key=lambda name: least[name]) == "hearing"


@pytest.mark.parametrize(
    ("lengths", "changes", "bound"),
    [
        ([10 * HOUR, *[60.0] * 20], {}, "the longest file"),
        ([60.0] * 100, {"link": 16e3}, "reading"),
        ([1.0] * 500, {"file": 5.0}, "the client"),
    ],
)
def test_what_bounds_it(lengths, changes, bound):
    """More workers gain nothing then, and it takes nearly what it takes at least."""
    costs = replace(COSTS, **changes)
    least = scale.bounds(lengths, 8, costs)
    assert max(least, key=lambda name: least[name]) == bound
    took = [scale.simulate(lengths, workers, costs) for workers in (8, 16)]
    assert took[0] == pytest.approx(took[1], rel=0.01) == pytest.approx(least[bound], rel=0.03)


def test_nothing_is_faster_than_its_bounds():
    for _, *archive in scale.ARCHIVES:
        lengths = scale.archive(*archive)
        for workers in (1, 3, 8):
            least = max(scale.bounds(lengths, workers, scale.Costs()).values())
            assert scale.simulate(lengths, workers, scale.Costs()) >= 0.999 * least


@pytest.mark.parametrize("arguments", [[], ["--step", "2.8", "0.27", "--rows", "16"]])
def test_the_documentation_has_its_tables(arguments, capsys):
    assert scale.main(arguments) == 0
    text = (Path(__file__).parents[1] / "docs/archive.md").read_text()
    told = [line for line in capsys.readouterr().out.splitlines() if line]
    assert len(told) == 14
    assert [line for line in told if line not in text] == []


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--step", "0", "0"], ["--link", "-1"]])
def test_usage(arguments):
    with pytest.raises(SystemExit, match="2"):
        scale.main(arguments)
