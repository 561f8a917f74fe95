"""Selection from more images than fit into memory: the same strategies, blocks of a file, and sketches of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from domain_models.selection import clusters, embedding_space, mapped_embeddings, neighbours, uncertain_and_diverse
from domain_models.selection.mapped_embeddings import MappedEmbeddings, known_rows
from domain_models.selection.neighbours import ShortDirections, away_from_known, unit_vectors
from domain_models.selection.pool import UNLABELLED, Pool
from domain_models.selection.strategies import STRATEGIES, StrategyName
from tests.domain_models.selection_contract import CLASSES, check_strategy, make_pool, nothing_known

MEASURE = Path(__file__).resolve().parents[1] / "benchmarks" / "measure_million.py"

every_strategy = pytest.mark.parametrize("name", list(StrategyName))


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of a hundred images are treated as those of a hundred thousand are."""
    for module in (clusters, embedding_space, uncertain_and_diverse):
        monkeypatch.setattr(module, "LARGE", 40)
    monkeypatch.setattr(neighbours, "MOST_EXACT", 40)
    monkeypatch.setattr(neighbours, "_AXES", 8)
    monkeypatch.setattr(mapped_embeddings, "BLOCK", 16)
    monkeypatch.setattr(neighbours, "BLOCK", 16)


def mapped(pool: Pool, folder: Path) -> Pool:
    """The same pool with its embeddings in a file, in another order; what is unknown is not in the file."""
    values = pool.embeddings[:]
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    order = np.random.default_rng(7).permutation(known)
    path = folder / "embeddings.f16"
    path.write_bytes(values[order].astype(np.float16).tobytes())
    rows = np.full(len(values), -1, dtype=np.int64)
    rows[order] = np.arange(len(order))
    array = np.memmap(path, dtype=np.float16, mode="r", shape=(len(order), values.shape[1]))
    return replace(pool, embeddings=MappedEmbeddings(array, rows))


def rounded(pool: Pool) -> Pool:
    """The same pool with its embeddings as float16 has them."""
    return replace(pool, embeddings=pool.embeddings[:].astype(np.float16).astype(np.float32))


def test_rows_come_out_of_the_file_as_out_of_an_array(tmp_path: Path) -> None:
    pool = rounded(make_pool(300))
    there = mapped(pool, tmp_path).embeddings
    values = pool.embeddings[:]
    mask = np.random.default_rng(0).random(300) < 0.3
    for which in (slice(None), slice(5, 90), mask, np.array([7, 7, 299, 0]), np.zeros(0, dtype=np.int64)):
        np.testing.assert_array_equal(there[which], np.where(known_rows(values)[which, None], values[which], np.nan))
    np.testing.assert_array_equal(there[np.int64(11)], there[np.array([11])][0])
    np.testing.assert_array_equal(known_rows(there), known_rows(values))
    assert (there.shape, len(there), there[:3].dtype) == ((300, 16), 300, np.float32)


def test_a_row_with_nan_in_the_file_is_not_known() -> None:
    array = np.array([[1, 2], [np.nan, 1], [np.inf, 0], [0, 0]], dtype=np.float16)
    assert known_rows(MappedEmbeddings(array, np.array([3, 2, 1, 0, -1]))).tolist() == [True, False, False, True, False]


@every_strategy
def test_a_pool_in_a_file_is_chosen_from_as_one_in_memory(name: StrategyName, tmp_path: Path) -> None:
    pool = rounded(make_pool(600))
    here, there = (STRATEGIES[name](one, 40, 3) for one in (pool, mapped(pool, tmp_path)))
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_array_equal(here.scores, there.scores)
    assert here.reasons == there.reasons


@every_strategy
@pytest.mark.usefixtures("everything_is_large")
def test_a_strategy_keeps_its_contract_in_large_pools(name: StrategyName, tmp_path: Path) -> None:
    full = make_pool(300)
    pools = (
        mapped(full, tmp_path),
        full,
        nothing_known(90),
        replace(full, embeddings=np.ones((300, 16), dtype=np.float32)),
        replace(full, embeddings=np.full((300, 16), np.nan, dtype=np.float32)),
        replace(full, labels=np.full(300, UNLABELLED, dtype=np.int64)),
    )
    for pool in pools:
        for budget in (0, 7, 60):
            check_strategy(name, STRATEGIES[name], pool, budget, 1)


unit = arrays(np.float32, (12, 9), elements=st.floats(-8, 8, width=32)).map(unit_vectors)


@given(unit, st.integers(0, 5))
def test_short_directions_are_unit_vectors_and_never_farther_apart(place: np.ndarray, seed: int) -> None:
    drawn = np.linalg.qr(np.random.default_rng(seed).normal(size=(9, 3)))[0].astype(np.float32)
    short = ShortDirections(drawn)(place)
    long = np.linalg.norm(place, axis=1) > 0.5  # not of zeros, which point nowhere
    np.testing.assert_allclose(np.linalg.norm(short[long], axis=1), 1.0, atol=1e-5)
    assert (short[long] @ short[long].T >= place[long] @ place[long].T - 1e-5).all()


def test_short_directions_by_hand() -> None:
    along = ShortDirections(np.eye(3, 2, dtype=np.float32))(np.array([[0.6, 0.0, -0.8], [0, 1, 0]], dtype=np.float32))
    np.testing.assert_allclose(along, [[0.6, 0, 0.8], [0, 1, 0]], atol=1e-6)


def test_approximate_neighbours_are_nearly_as_near_as_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    # twelve dimensions carry the classes, three hundred are noise: what the short directions keep is little of it
    centres = chance.normal(0, 2, (40, 12)) @ chance.normal(0, 1, (12, 300))
    place = (centres[chance.integers(40, size=3000)] + chance.normal(0, 1, (3000, 300))).astype(np.float32)
    rows, known = np.arange(1000, 3000), np.arange(1000)
    exact = away_from_known(place, rows, known, 0)
    monkeypatch.setattr(neighbours, "MOST_EXACT", 0)
    found = away_from_known(place, rows, known, 0)
    assert (found >= exact - 1e-6).all(), "distances to those found are exact, so they are never too short"
    assert (found / exact).mean() < 1.05
    farthest = np.argsort(-exact)[:50]
    assert len(np.intersect1d(farthest, np.argsort(-found)[:100])) >= 48


@pytest.mark.usefixtures("everything_is_large")
def test_in_a_large_pool_the_strange_is_found_and_only_once() -> None:
    chance = np.random.default_rng(0)
    axes = 9 * np.eye(30)
    usual = chance.normal(0, 1, (2000, 30)) + axes[0]
    strange = chance.normal(0, 0.05, (20, 30)) + axes[1]
    other = chance.normal(0, 0.05, (5, 30)) + axes[2]
    labels = np.full(2025, UNLABELLED, dtype=np.int64)
    labels[:1000] = 0
    pool = Pool.of(
        2025, classes=("a", "b"), labels=labels, embeddings=np.vstack([usual, strange, other]).astype(np.float32)
    )
    for name in (StrategyName.NOVELTY, StrategyName.DIVERSE):
        first = STRATEGIES[name](pool, 2, 0).indices
        assert {int(row) // 20 for row in first} == {100, 101}, name


@pytest.mark.usefixtures("everything_is_large")
def test_in_a_large_pool_the_cold_start_still_takes_one_image_of_each_cluster() -> None:
    chance = np.random.default_rng(1)
    centres = chance.normal(0, 10, (5, 12))
    cluster = np.repeat(np.arange(5), (900, 150, 400, 200, 600))
    embeddings = (centres[cluster] + chance.normal(0, 1, (2250, 12))).astype(np.float32)
    chosen = STRATEGIES[StrategyName.COLD_START](Pool.of(2250, embeddings=embeddings), 5, 0).indices
    assert sorted(cluster[chosen]) == [0, 1, 2, 3, 4]


def test_choosing_from_a_file_takes_a_fraction_of_its_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (clusters, embedding_space, uncertain_and_diverse):
        monkeypatch.setattr(module, "LARGE", 1000)
    monkeypatch.setattr(neighbours, "MOST_EXACT", 1000)
    monkeypatch.setattr(neighbours, "_AXES_FROM", 200)
    for module in (mapped_embeddings, neighbours):
        monkeypatch.setattr(module, "BLOCK", 256)
    count, width = 20_000, 1280
    chance = np.random.default_rng(0)
    with (tmp_path / "embeddings.f16").open("wb") as file:
        for _ in range(count // 2000):
            file.write(chance.random((2000, width), dtype=np.float32).astype(np.float16).tobytes())
    array = np.memmap(tmp_path / "embeddings.f16", dtype=np.float16, mode="r", shape=(count, width))
    pool = Pool.of(
        count,
        classes=CLASSES,
        labels=np.where(np.arange(count) < 60, np.arange(count) % 3, UNLABELLED).astype(np.int64),
        probabilities=chance.dirichlet(np.ones(3), count),
        embeddings=MappedEmbeddings(array, np.arange(count)),
        confusion=np.array([[20, 5, 1], [6, 60, 8], [0, 2, 150]]),
    )
    STRATEGIES[StrategyName.NOVELTY](pool, 1, 0)  # imports what it needs
    taken = {}
    for name, strategy in STRATEGIES.items():
        tracemalloc.start()
        strategy(pool, 20, 0)
        taken[name] = tracemalloc.get_traced_memory()[1] / (4 * count * width)
        tracemalloc.stop()
    assert max(taken.values()) < 0.25, f"at most a quarter of what all embeddings are as float32, but {taken}"


@pytest.mark.slow
def test_a_round_is_chosen_from_a_million_images_within_4_gb(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    if free < 4e9:
        pytest.skip(f"a million embeddings are 2.6 GB, and {tmp_path} has only {free / 1e9:.1f} GB free")
    command = [sys.executable, str(MEASURE), f"--folder={tmp_path}", f"--results={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": str(MEASURE.parents[2])}
    subprocess.run(command, check=True, cwd=MEASURE.parents[2], env=environment)
    result = json.loads((tmp_path / "million.json").read_text())
    assert {one["strategy"] for one in result["strategies"]} == {name.value for name in StrategyName}
    for one in result["strategies"]:
        assert one["peak_memory_mb"] < 4000, one
        assert one["tasks"] > 0, one
    (tmp_path / "embeddings-1000000-1280.f16").unlink()
