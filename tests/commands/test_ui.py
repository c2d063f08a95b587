"""The page, clicked through in headless Chromium: upload, untick a face, restore, download."""

import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

gradio = pytest.importorskip('gradio', reason='gradio is not installed (extra ui)')
sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')

from tiny_restoring import photograph, stand_in, tiny_weights  # noqa: E402

from mmrbgan.bridges.web_page import build_page, own_folder  # noqa: E402
from mmrbgan.restoring.restorer import Restorer  # noqa: E402
from mmrbgan.restoring.settings import Settings  # noqa: E402

CHROMIUM = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser')
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian's package chromium)")
PATIENCE = 120_000  # milliseconds


@pytest.fixture(scope='module')
def restorer(tmp_path_factory):
    path = tiny_weights(tmp_path_factory.mktemp('weights'))
    return Restorer(path, device='cpu', detector=stand_in, mask='ellipse')


@pytest.fixture(scope='module')
def address(restorer):
    with own_folder() as folder:
        app = build_page(restorer, folder)
        _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, server_name='127.0.0.1', max_file_size='2mb')
        yield address
        app.close()


@pytest.fixture
def page(address):
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        yield page
        browser.close()


def test_upload_untick_restore_download(page, restorer, tmp_path):
    source = tmp_path / 'photo.png'
    Image.fromarray(photograph(channels=4)).save(source)
    page.set_input_files('#photo input[type=file]', str(source))
    ticks = page.locator('#faces input[type=checkbox]')
    sync_api.expect(ticks).to_have_count(3, timeout=PATIENCE)
    assert [ticks.nth(i).is_checked() for i in range(3)] == [True, True, False]  # the third is tiny
    ticks.nth(0).uncheck()
    page.click('#restore')
    done = page.locator('#done textarea')
    sync_api.expect(done).to_have_value('1 of 3 faces restored; 2 left alone: not ticked', timeout=PATIENCE)
    sync_api.expect(page.locator('#slider img').first).to_be_visible(timeout=PATIENCE)
    with page.expect_download() as download:
        page.click('#download')
    download.value.save_as(tmp_path / 'restored.png')
    restored, before = np.asarray(Image.open(tmp_path / 'restored.png')), photograph(channels=4)
    changed = (restored != before).any(2)
    assert changed[110, 230]
    assert not changed[100, 90]
    expected = restorer.restore(before, Settings()).image
    # the page hands landmarks on in hundredths of a pixel
    np.testing.assert_allclose(restored[changed].astype(int), expected[changed], atol=1)


def restored(page, tmp_path):
    """Restore a photograph on the page."""
    Image.fromarray(photograph()).save(tmp_path / 'photo.png')
    page.set_input_files('#photo input[type=file]', str(tmp_path / 'photo.png'))
    sync_api.expect(page.locator('#restore')).to_be_enabled(timeout=PATIENCE)
    page.click('#restore')
    sync_api.expect(page.locator('#done textarea')).to_have_value(re.compile('faces restored'), timeout=PATIENCE)
    sync_api.expect(page.locator('#slider img').first).to_be_visible(timeout=PATIENCE)


def expect_no_result(page):
    sync_api.expect(page.locator('#slider img')).to_have_count(0, timeout=PATIENCE)
    sync_api.expect(page.locator('#faces input[type=checkbox]')).to_have_count(0, timeout=PATIENCE)
    sync_api.expect(page.locator('#download')).to_be_disabled(timeout=PATIENCE)
    sync_api.expect(page.locator('#restore')).to_be_disabled(timeout=PATIENCE)


def test_a_bad_file_is_text_without_the_servers_paths_and_empties_the_result(page, tmp_path):
    restored(page, tmp_path)
    (tmp_path / 'bad.png').write_bytes(b'bad')
    page.click('#photo button[aria-label="Clear"]')
    expect_no_result(page)
    sync_api.expect(page.locator('#done textarea')).to_have_value('', timeout=PATIENCE)
    page.set_input_files('#photo input[type=file]', str(tmp_path / 'bad.png'))
    sync_api.expect(page.locator('#done textarea')).to_have_value('bad.png: not an image', timeout=PATIENCE)
    expect_no_result(page)


def test_all_and_none_tick_every_face_and_none(page, tmp_path):
    restored(page, tmp_path)
    ticks = page.locator('#faces input[type=checkbox]')
    page.click('#none')
    sync_api.expect(page.locator('#faces input:checked')).to_have_count(0, timeout=PATIENCE)
    page.click('#all')
    sync_api.expect(page.locator('#faces input:checked')).to_have_count(3, timeout=PATIENCE)
    pictures = [
        ticks.nth(i).evaluate('box => getComputedStyle(box.closest("label"), "::before").backgroundImage')
        for i in range(3)
    ]
    assert len(set(pictures)) == 3 and all('data:image/png' in picture for picture in pictures)


def test_settings_reach_the_photograph_and_the_slider_says_before_and_after(page, tmp_path):
    restored(page, tmp_path)
    page.locator('#scale input[type=number]').fill('2')
    page.get_by_label('free').check()
    page.get_by_label('replace').check()
    page.click('#restore')
    page.wait_for_function('document.querySelector("#slider img")?.naturalWidth == 640', timeout=PATIENCE)
    with page.expect_download() as download:
        page.click('#download')
    download.value.save_as(tmp_path / 'large.png')
    assert Image.open(tmp_path / 'large.png').size == (640, 480)
    words = [
        page.locator('#slider').evaluate(f'part => getComputedStyle(part, "::{side}").content')
        for side in ('before', 'after')
    ]
    assert words == ['"Before"', '"After"']


def test_another_detector_looks_again(page, tmp_path):
    restored(page, tmp_path)
    page.locator('#detector input').click()
    page.get_by_role('option', name='dlib').click()
    sync_api.expect(page.locator('#done textarea')).to_have_value(re.compile('no face found'), timeout=PATIENCE)
    sync_api.expect(page.locator('#slider img')).to_have_count(0, timeout=PATIENCE)


def test_too_large_an_upload_is_refused(page, tmp_path):
    (tmp_path / 'large.png').write_bytes(bytes(3_000_000))
    page.set_input_files('#photo input[type=file]', str(tmp_path / 'large.png'))
    sync_api.expect(page.get_by_text('exceed').first).to_be_visible(timeout=PATIENCE)
    expect_no_result(page)


def test_a_film_is_restored_and_shown_beside_itself(page, tmp_path):
    pytest.importorskip('av', reason='PyAV is not installed')
    from tiny_film import picture, read_film, write_film

    write_film(tmp_path / 'walk.mp4', [picture(t) for t in range(6)])
    page.get_by_text('A film', exact=True).click()
    page.set_input_files('#film input[type=file]', str(tmp_path / 'walk.mp4'))
    sync_api.expect(page.get_by_text('walk.mp4').first).to_be_visible(timeout=PATIENCE)
    page.click('#restore_film')
    sync_api.expect(page.locator('#film_done textarea')).to_have_value(re.compile('^6 frames'), timeout=PATIENCE)
    sync_api.expect(page.locator('#film_preview video').first).to_be_visible(timeout=PATIENCE)
    with page.expect_download() as download:
        page.click('#film_download')
    download.value.save_as(tmp_path / 'restored.mp4')
    assert len(read_film(tmp_path / 'restored.mp4')[0]) == 6
