"""Several processes train one network: really started, really killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_contracts.errors import BadInput, TailsightError
from data_contracts.workspace import Workspace
from domain_models.architecture import HeadKind
from domain_models.batches import AugmentedImages
from domain_models.team import ALONE, Team
from domain_models.training import train
from domain_models.training_config import ReweightingKind, SamplerKind, TrainingConfig
from domain_models.training_data import TrainedModel, TrainingData
from domain_models.training_phases import fresh_network
from domain_models.training_run import TrainingRun
from pipelines.training_processes import refuse_unsuitable, team_of
from tests.domain_models.tiny_networks import SMALL, striped
from tests.domain_models.tiny_networks import one_thread as one_thread

DATA = TrainingData(
    ("across", "along", "neither"), striped(np.arange(60) % 3, 1, "t"), striped(np.arange(24) % 3, 2, "v")
)

# Nothing in it looks at other images of the batch, and nothing in it is drawn by chance.
INDEPENDENT = SMALL.model_copy(update={"backbone": "test_convnext", "epochs": 2, "augment": True, "gradient_norm": 0.5})


def changed(config: TrainingConfig, **values: object) -> TrainingConfig:
    return TrainingConfig.model_validate(config.model_dump() | values)


def followers() -> list[psutil.Process]:
    """The followers that this process has started, below those that watch over them."""
    below = psutil.Process().children(recursive=True)
    return [one for one in below if one.cmdline()[1:3] == ["-m", "pipelines.training_follower"]]


def difference(one: TrainedModel, other: TrainedModel) -> float:
    """The largest difference of a weight, and of the weights' scale."""
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return max(float((a.float() - b.float()).abs().max()) for a, b in pairs)


def test_every_image_of_a_batch_is_one_processs_share_exactly_once() -> None:
    for size in (2, 3, 5):
        for count in (size, 7, 32):
            batch = np.random.default_rng(count).permutation(100)[:count]
            shares = []
            for rank in range(size):
                member = Team()
                member.rank, member.size = rank, size
                shares.append(member.share(batch))
            assert np.concatenate(shares).tolist() == batch.tolist()
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert ALONE.share(np.arange(9)).tolist() == list(range(9))


class Noted:
    """Images that note who was asked for in which epoch."""

    def __init__(self) -> None:
        self._images = AugmentedImages(DATA.train.images, DATA.train.image_ids, SMALL)
        self.seen: list[tuple[int, int]] = []

    def inputs(self, positions: NDArray[np.int64], epoch: int) -> Tensor:
        self.seen += [(epoch, int(position)) for position in positions]
        return self._images.inputs(positions, epoch)


@pytest.mark.parametrize("sampler", list(SamplerKind))
def test_all_processes_together_see_each_image_of_an_epoch_exactly_as_often_as_one_does(sampler: SamplerKind) -> None:
    config = changed(SMALL, sampler=sampler, mixup_alpha=0.4)

    def seen_by(rank: int, size: int) -> list[tuple[int, int]]:
        member, noted = Team(), Noted()
        member.rank, member.size = rank, size
        weights = np.where(np.arange(60) % 7 == 0, 0.0, 1.0)  # some count nothing
        labels = DATA.train.labels
        run = TrainingRun(
            fresh_network(config, 3), [], noted, labels, weights, config, False, 3, None, None, team=member
        )
        for _ in range(3):
            run.train_epoch(lambda _count, _note: None)
            run.epoch += 1
        return noted.seen

    alone = seen_by(0, 1)
    assert len(alone) == 3 * 51
    assert sorted(seen_by(0, 2) + seen_by(1, 2)) == sorted(alone)
    assert sorted(seen_by(0, 3) + seen_by(1, 3) + seen_by(2, 3)) == sorted(alone)


VARIANTS: list[dict[str, Any]] = [
    {},
    # weights that differ from image to image: each share has another sum of them
    {"reweighting": ReweightingKind.INVERSE_FREQUENCY, "sampler": SamplerKind.CLASS_BALANCED, "average_decay": 0.9},
    {"frozen_stages": 2, "cached_views": 2, "cross_fit_folds": 2, "head": HeadKind.COSINE},
]


def test_two_processes_learn_the_weights_that_one_learns_with_the_whole_batch(
    workspace: Workspace, tmp_path: Path
) -> None:
    chance = np.random.default_rng(3)
    uneven = TrainingData(
        DATA.classes,
        striped(chance.choice(3, 61, p=[0.7, 0.2, 0.1]), 1, "t"),
        DATA.val,
    )
    with team_of(workspace, 2, "cpu") as team:
        for number, variant in enumerate(VARIANTS):
            config = changed(INDEPENDENT, **variant)
            together = train(uneven, config, tmp_path / f"two-{number}", team=team)
            alone = train(uneven, config, tmp_path / f"one-{number}")
            before = train(uneven, changed(config, learning_rate=1e-12), tmp_path / f"none-{number}")
            assert difference(alone, before) > 1e-2  # something was learned that could differ
            assert difference(alone, together) < 2e-4
            np.testing.assert_allclose(together.history["train_loss"], alone.history["train_loss"], rtol=1e-3)
            np.testing.assert_allclose(together.cross_fit.logits, alone.cross_fit.logits, atol=1e-2)
            assert "2 processes fine-tuned together" in " ".join(together.sentences)
    assert not followers()
    assert not list(workspace.cache.glob("training-processes-*"))


def test_batch_normalisation_sees_the_whole_batch_of_two_processes(workspace: Workspace, tmp_path: Path) -> None:
    with team_of(workspace, 2, "cpu") as team:
        for backbone in ("test_resnet", "test_efficientnet"):  # the second has activations within its normalisation
            config = changed(INDEPENDENT, backbone=backbone, keep_batch_statistics=False)
            together = train(DATA, config, tmp_path / f"two-{backbone}", team=team)
            alone = train(DATA, config, tmp_path / f"one-{backbone}")
            # Adam makes much of float noise in weights whose gradient is nothing but that: losses say what was learned.
            np.testing.assert_allclose(together.history["train_loss"], alone.history["train_loss"], rtol=2e-4)
            assert difference(alone, together) < 5e-3
            statistics = [name for name in alone.network.state_dict() if name.endswith("running_var")]
            assert statistics  # shared with the network that is kept, not left in its twin
            assert (alone.network.state_dict()[statistics[0]] != 1).any()


def test_a_killed_follower_ends_the_training_and_the_same_goes_on_from_its_checkpoint(
    workspace: Workspace, tmp_path: Path
) -> None:
    config = changed(INDEPENDENT, epochs=4)

    def kill_one(row: Any) -> None:
        if row["epoch"] == 2:
            (one,) = followers()
            os.kill(one.pid, signal.SIGKILL)

    with (
        pytest.raises(TailsightError, match="Training process 1 has ended") as error,
        team_of(workspace, 2, "cpu") as team,
    ):
        train(DATA, config, tmp_path / "run", team=team, after_epoch=kill_one)
    assert "goes on after the last finished epoch" in str(error.value)
    assert not followers()
    with team_of(workspace, 2, "cpu") as team:
        resumed = train(DATA, config, tmp_path / "run", team=team)
    whole = train(DATA, config, tmp_path / "whole")
    assert len(resumed.history) == 4
    assert difference(resumed, whole) < 2e-4


def test_what_goes_wrong_in_a_follower_is_told_in_its_words(workspace: Workspace) -> None:
    def mislead(team: Team) -> None:
        with team.leading(lambda folder: folder / "nothing.json"):
            raise AssertionError("nobody was ready")

    with (
        team_of(workspace, 2, "cpu") as team,
        pytest.raises(TailsightError, match=r"cannot read .*nothing\.json") as error,
    ):
        mislead(team)
    assert "not at the same path on all machines" in str(error.value)


@pytest.mark.parametrize(
    ("values", "images", "said"),
    [
        ({"epochs": 0, "probe": True}, 500, "nothing is fine-tuned"),
        ({"pool": {"ratio": 2}, "augment": True}, 500, "images without a label"),
        ({"teacher": {"model": "champion"}}, 500, "teacher"),
        ({"device": "cuda:1"}, 500, "a GPU of its own"),
        ({"batch_size": 7}, 500, "batches of at least 8"),
        ({"batch_size": 32}, 14, "14 training images"),
    ],
)
def test_what_several_processes_cannot_train_is_refused_in_one_sentence(
    values: dict[str, Any], images: int, said: str
) -> None:
    config = changed(SMALL, **values)
    with pytest.raises(BadInput, match=said):
        refuse_unsuitable(config, images, 2)
    refuse_unsuitable(config, images, 1)


def test_the_twin_for_several_gpus_shares_weights_and_statistics_and_leaves_the_network_alone() -> None:
    from domain_models.shared_batch_norm import with_shared_statistics

    network = fresh_network(SMALL, 3)
    kinds = [type(module) for module in network.modules()]
    twin = with_shared_statistics(network, torch.device("cuda"))
    assert [type(module) for module in network.modules()] == kinds
    norms = [module for module in twin.modules() if isinstance(module, torch.nn.SyncBatchNorm)]
    assert norms
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in twin.modules())
    mine: dict[str, Tensor] = dict(network.state_dict(keep_vars=True))
    yours = dict(twin.state_dict(keep_vars=True))
    assert mine.keys() == yours.keys()
    assert all(mine[name] is yours[name] or mine[name].data_ptr() == yours[name].data_ptr() for name in mine)
