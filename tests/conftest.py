"""Fixtures that every test may use."""

import os
import signal
from functools import cache

# The BLAS of MLX's wheel, on any machine: with it rows of a batch are bit-equal to one alone. It is
# chosen before MLX is imported, here and in the processes that tests start.
os.environ.setdefault("DSM_MLX_BLAS", "0")

import dsm_mlx  # noqa: F401, so that another one than "0" is there before MLX

# isort: split
import alone
import desktop
import fake_devices
import golden as fixtures
import mlx.core as mx
import pytest
import small as very_small
import small_llm
import virtual_microphone as microphone

from dsm_mlx.runtime import blas

# A script that runs us in the background leaves us deaf to Ctrl-C, and so our children; tests send
# it to them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as nohup does

# The goldens were made on a CPU; a GPU rounds differently enough to change a token.
mx.set_default_device(mx.cpu)


def pytest_report_header():
    return f"BLAS: {blas.name()}"


def _run(config) -> str:
    """Which run of the suite this process belongs to; "" for all of it in one."""
    return getattr(config, "workerinput", {}).get("testrunuid", "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if not (run := _run(item.config)):
        return (yield)
    in_real_time = item.get_closest_marker("alone") or "virtual_microphone" in item.fixturenames
    with alone.turn(run, bool(in_real_time)):
        return (yield)


@pytest.hookimpl(optionalhook=True)  # one of pytest-xdist's
def pytest_testnodedown(node):
    alone.forget(node.workerinput["testrunuid"])


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """`checkpoint(name)`: the path of a whole checkpoint folder, to be read only."""

    @cache
    def assembled(name: str):
        return fixtures.assemble(name, tmp_path_factory.mktemp("checkpoints") / name)

    return assembled


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """`small(name)`: the path of a very small checkpoint like the fixture `name`."""

    @cache
    def made(name: str):
        return very_small.checkpoint(name, tmp_path_factory.mktemp("small") / name)

    return made


@pytest.fixture(scope="session")
def llm(tmp_path_factory):
    """`llm(template, **config)`: the path of a very small language model, to be read only."""
    pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install '.[chat]'")

    @cache
    def made(template=small_llm.TEMPLATE, **config):
        return small_llm.make(tmp_path_factory.mktemp("llm") / "model", template, **config)

    return made


@pytest.fixture(scope="session")
def golden():
    """`golden(case)`: the arrays of a case."""
    return cache(fixtures.arrays)


@pytest.fixture(scope="session")
def manifest():
    """`manifest(model)`: name → [shape, dtype] of every tensor of an official file."""
    return fixtures.manifests().__getitem__


@pytest.fixture(scope="session")
def virtual_microphone():
    """What `paplay` plays is what the default microphone hears."""
    yield from microphone.running()


@pytest.fixture(scope="session")
def screen():
    """What has windows, and nobody sees."""
    yield from desktop.running()


@pytest.fixture
def system(monkeypatch):
    """Sound devices that the test drives."""
    yield from fake_devices.system(monkeypatch)
