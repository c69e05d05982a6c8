"""Words for the side that a camera sees, told from the way the object faces."""

import math

import numpy as np
import pytest

from ddrep_core.errors import RequestError
from ddrep_core.priors.diffusers_prior import view_prompts
from ddrep_core.views import (
    Camera,
    DirectionWords,
    Views,
    direction_words,
    look_at,
    orbit_views,
    perspective_projection,
)

SIDES = DirectionWords(
    ("front", "front left", "left", "back left", "back", "back right", "right", "front right"), "from above"
)


def camera_at(*position):
    return Camera("there", look_at(position, (0, 0, 0)), perspective_projection(40))


@pytest.mark.parametrize(
    ("front", "front_at", "left_at"),
    [
        (0.0, (0, -3, 0), (3, 0, 0)),
        (90.0, (3, 0, 0), (0, 3, 0)),
        (180.0, (0, 3, 0), (-3, 0, 0)),
        (-90.0, (-3, 0, 0), (0, -3, 0)),
        (450.0, (3, 0, 0), (0, 3, 0)),
    ],
)
def test_words_turn_with_the_object(front, front_at, left_at):
    """Its left is its own, as of one who stands there and faces the front; above and below are the world's."""
    right_at, back_at = -np.array(left_at), -np.array(front_at)
    for words, at in (("front", front_at), ("left", left_at), ("back", back_at), ("right", right_at)):
        assert direction_words(camera_at(*at), words=SIDES, front_degrees=front) == words
    above = (*front_at[:2], 3)
    assert direction_words(camera_at(*above), words=SIDES, front_degrees=front) == "front from above"
    assert direction_words(camera_at(*above[:2], 9), front_degrees=front) == "overhead view"


def test_an_orthographic_camera_is_told_by_where_it_looks():
    away = Camera("ortho", look_at((100, 7, 0), (0, 7, 0)), np.diag([0.5, 0.5, -0.01, 1.0]))
    assert direction_words(away) == "side view" and direction_words(away, front_degrees=90) == "front view"


@pytest.mark.parametrize("front", [0.0, 33.3, -271.0])
def test_half_way_between_two_words_the_arithmetic_does_not_decide(front):
    for centre in np.random.default_rng(0).normal(scale=3, size=(20, 3)):
        views = orbit_views(8, target=centre, start_degrees=front)
        told = [direction_words(camera, centre, front_degrees=front) for camera in views]
        assert told[1::2] == ["front view", "back view", "back view", "front view"]


def test_views_keep_their_front():
    views = orbit_views(8, elevations=(0.0,), start_degrees=90.0).with_front(90.0)
    assert orbit_views(8).front_degrees == 0.0
    for same in (views[2:], views[[2, 5]], views.with_target((0, 0, 0.1))):
        assert same.front_degrees == 90.0
    assert view_prompts("a cow", views[::2], SIDES) == [f"a cow, {side}" for side in SIDES.around[::2]]
    assert view_prompts("a cow", views[[4, 1]], SIDES) == ["a cow, back", "a cow, front left"]
    assert view_prompts("a cow", views.with_front(0.0)[:1], SIDES) == ["a cow, left"]


@pytest.mark.parametrize("front", [math.nan, math.inf])
def test_a_front_is_a_number_of_degrees(front):
    with pytest.raises(RequestError, match="cannot face"):
        Views((camera_at(0, -3, 0),), front_degrees=front)
    with pytest.raises(RequestError, match="cannot face"):
        orbit_views(2).with_front(front)
