"""Tests of what apps.images measures and draws, without a model."""

import numpy as np
import pytest
import tensorflow as tf

from apps.images.code_use import code_use
from apps.images.likelihood import NUM_RANGES
from apps.images.likelihood import fit_scales
from apps.images.likelihood import histogram_bits
from apps.images.likelihood import mean_nats
from apps.images.picture_grid import paired_grid
from apps.images.picture_grid import picture_grid
from apps.images.picture_grid import to_pixels
from apps.images.picture_grid import write_png
from apps.images.train import pixel_variance
from keras_xf.metrics import CodeUsage
from tests.data.image_cases import make_images


@pytest.mark.parametrize("scale", [0.01, 0.3, 4.0, 200.0])
@pytest.mark.parametrize("center", [-0.5, 0.0, 0.31, 0.999, 1.2])
def test_probabilities_of_all_levels_sum_to_one(scale, center):
    nats = [
        mean_nats(
            np.full((1, 1, 1, 1), level, np.uint8),
            np.full((1, 1, 1, 1), center, np.float32),
            np.full(NUM_RANGES, scale),
        )
        for level in range(256)
    ]
    assert np.isfinite(nats).all()
    assert np.exp(-np.array(nats)).sum() == pytest.approx(1, abs=1e-9)
    # The likeliest is the one that the center is nearest to, unless all that
    # is beyond black and white counts for more.
    nearest = round(min(max(center, 0), 1) * 255)
    if scale < 100:
        assert nats[nearest] == pytest.approx(min(nats))


def test_nats_of_a_level_are_those_of_a_difference():
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    images = np.array([[[[0], [10], [200], [255]]]], np.uint8)
    decoded = np.array([[[[0.1], [0.05], [0.7], [0.95]]]], np.float32)
    centers = decoded.astype(float) * 255
    edges = [(-np.inf, 0.5), (9.5, 10.5), (199.5, 200.5), (254.5, np.inf)]
    # Ranges of 16 levels: the centers are 25.5, 12.75, 178.5 and 242.25.
    scales = np.arange(NUM_RANGES) + 3.0
    own = [4.0, 3.0, 14.0, 18.0]
    probs = [
        sigmoid((high - center) / s) - sigmoid((low - center) / s)
        for (low, high), center, s in zip(
            edges, centers.ravel(), own, strict=True
        )
    ]
    expected = -np.log(0.999 * np.array(probs) + 0.001 / 256)
    # Over more images than are taken at once, the same mean.
    found = mean_nats(images.repeat(1100, 0), decoded.repeat(1100, 0), scales)
    assert found == pytest.approx(np.mean(expected))


def test_fitted_widths_are_the_best():
    generator = np.random.default_rng(0)
    # Two ranges, with an error of its own each, and one with few entries.
    decoded = generator.choice([0.4, 0.6], (40, 8, 8, 1)).astype(np.float32)
    noise = generator.logistic(size=decoded.shape)
    noise *= np.where(decoded < 0.5, 3.0, 8.0)
    decoded[0, 0, 0] = 0.9
    images = np.rint(decoded * 255 + noise).clip(0, 255).astype(np.uint8)
    scales = fit_scales(images, decoded)
    assert scales[6] == pytest.approx(3.0, rel=0.1)
    assert scales[9] == pytest.approx(8.0, rel=0.1)
    # All others have that of all together.
    others = np.delete(scales, [6, 9])
    assert np.ptp(others) == 0
    assert 3.5 < others[0] < 7
    best = mean_nats(images, decoded, scales)
    assert best < mean_nats(images, decoded, 1.05 * scales)
    assert best < mean_nats(images, decoded, scales / 1.05)
    assert best < mean_nats(images, decoded, np.full(NUM_RANGES, others[0]))


def test_an_error_where_there_was_none_to_learn_from_costs_little():
    black = np.zeros((40, 8, 8, 1), np.uint8)
    decoded = np.zeros(black.shape, np.float32)
    scales = fit_scales(black, decoded)
    assert mean_nats(black, decoded, scales) < 0.002
    bits = mean_nats(black + 100, decoded, scales) / np.log(2)
    assert bits == pytest.approx(np.log2(256 / 0.001))


def test_bits_of_a_histogram():
    known = np.array([0, 0, 0, 7], np.uint8)
    images = np.array([[0, 7], [0, 9]], np.uint8)
    expected = -np.mean(np.log2(np.array([4, 2, 4, 1]) / 260))
    assert histogram_bits(images, known) == pytest.approx(expected)


def test_use_of_codes_is_what_the_metric_counts():
    codes = np.repeat([3, 0, 7, 2], [60, 30, 9, 1]).reshape(10, 2, 5)
    use = code_use({"code_ids": codes}, {"code_ids": 8})["code_ids"]
    metric = CodeUsage(parts=1, num_codes=8)
    metric.update_state(np.bincount(codes.ravel(), minlength=8)[None])
    for name, value in metric.result().items():
        assert use[name] == pytest.approx(float(value), rel=1e-5)
    assert use["active_codes"] == 4
    # Of thousands of millions of codes, too: none is counted that is not hit.
    use = code_use({"code_ids": codes}, {"code_ids": 2**30})["code_ids"]
    assert use["active_codes"] == 4
    assert use["dead_fraction"] == pytest.approx(1)


def test_pixels_of_a_grid():
    images = make_images(5, height=20, width=30)
    grid = picture_grid(images, columns=2)
    # Enlarged three times: 60 by 90. Rows 12 apart, columns 4, 4 around.
    assert grid.shape == (4 + 3 * 64 + 2 * 8, 4 + 2 * 94, 3)
    assert grid.dtype == np.uint8
    expected = np.full_like(grid, 255)
    for place, (top, left) in enumerate(
        [(4, 4), (4, 98), (76, 4), (76, 98), (148, 4)]
    ):
        for row in range(60):
            for column in range(90):
                expected[top + row, left + column] = images[
                    place, row // 3, column // 3
                ]
    np.testing.assert_array_equal(grid, expected)


def test_large_images_keep_their_size():
    grid = picture_grid(make_images(1, height=10, width=64, channels=1), 1)
    assert grid.shape == (18, 72, 1)


def test_pairs_are_drawn_one_over_the_other():
    originals, others = make_images(3, 64, 64), make_images(3, 64, 64, seed=1)
    grid = paired_grid(originals, others, columns=2)
    # 4 between the two of a pair, 12 between pairs.
    places = {
        (4, 4): originals[0],
        (4, 72): originals[1],
        (72, 4): others[0],
        (72, 72): others[1],
        (148, 4): originals[2],
        (216, 4): others[2],
    }
    assert grid.shape == (284, 140, 3)
    for (top, left), image in places.items():
        np.testing.assert_array_equal(
            grid[top : top + 64, left : left + 64], image
        )
    # Where there is none is ground.
    assert (grid[140:, 68:] == 255).all()


def test_pixels_are_rounded_and_written_without_loss(tmp_path):
    decoded = np.array([[-0.2, 0.5 / 255 + 1e-4], [254.4 / 255, 1.3]])
    pixels = to_pixels(decoded[..., None].astype(np.float32))
    np.testing.assert_array_equal(pixels[..., 0], [[0, 1], [254, 255]])
    path = tmp_path / "folder" / "picture.png"
    write_png(pixels, path)
    np.testing.assert_array_equal(tf.io.decode_png(path.read_bytes()), pixels)
    assert [each.name for each in path.parent.iterdir()] == ["picture.png"]


def test_variance_of_pixels():
    images = make_images(7)
    assert pixel_variance(images) == pytest.approx((images / 255).var())
