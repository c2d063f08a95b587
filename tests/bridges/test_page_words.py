"""What the page draws and says, without a browser: numbers beside faces, errors without the server's paths."""

import itertools

import cv2
import numpy as np
import pytest

from mmrbgan.bridges.face_pictures import mark, place_tags, small_pictures
from mmrbgan.bridges.page_errors import told
from mmrbgan_arch.support.errors import UsageError


def crowd():
    """Return 24 frames that touch, some of them at the edges, and the sizes of their numbers."""
    frames = [(x * 50 - 5, y * 60 - 5, x * 50 + 48, y * 60 + 58) for y in range(4) for x in range(6)]
    return frames, [(22, 18)] * len(frames)


def test_numbers_do_not_overlap_nor_leave_the_picture():
    tags = place_tags(*crowd(), 300, 240)
    assert all(0 <= x1 < x2 <= 300 and 0 <= y1 < y2 <= 240 for x1, y1, x2, y2 in tags)
    for one, other in itertools.combinations(tags, 2):
        assert min(one[2], other[2]) <= max(one[0], other[0]) or min(one[3], other[3]) <= max(one[1], other[1])


def test_two_faces_at_one_place_have_their_numbers_apart():
    one, other = place_tags([(10, 10, 90, 90)] * 2, [(20, 20)] * 2, 100, 100)
    assert one != other


@pytest.mark.parametrize('shape', [(240, 300, 3), (3000, 4000, 3)])
def test_marks_are_drawn_and_a_large_photograph_is_shown_smaller(shape):
    pixels = np.zeros(shape, np.uint8)
    marked = mark(pixels, [np.array([10.0, 10, 200, 200])])
    assert max(marked.shape) == min(max(shape), 1600) and marked.any() and not pixels.any()


def test_every_face_has_a_small_picture_even_at_the_edge():
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    boxes = [np.array([-40.0, -40, 20, 20]), np.array([30.0, 30, 60, 60]), np.array([500.0, 500, 510, 510])]
    style = small_pictures(pixels, boxes, '#faces')
    assert [f'label:nth-child({i})' in style for i in (1, 2, 3, 4)] == [True, True, True, False]
    assert style.count('base64,iVBOR') == 2  # nothing is to be seen of the third


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (UsageError('/tmp/mmrbgan_ui_x/abc/photo.png: not an image'), 'photo.png: not an image'),
        (UsageError('--detector: give /home/me/my weights/r.pth, or\nfetch it'), '--detector: give r.pth, or fetch it'),
        (UsageError('a/b is no path of the machine'), 'a/b is no path of the machine'),
        (MemoryError(), 'this cannot be restored (MemoryError)'),
        (cv2.error('/io/opencv/x.cpp:3 failed'), 'this cannot be restored (error)'),
    ],
)
def test_an_error_is_one_line_without_folders(error, line):
    assert told(error) == line
