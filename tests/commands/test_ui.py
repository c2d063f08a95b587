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

from mmrbgan.bridges.web_page import build_page  # noqa: E402
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
    app = build_page(restorer)
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, server_name='127.0.0.1')
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
    sync_api.expect(done).to_have_value(
        '1 of 3 faces restored; 2 left alone: left alone by the faces file', timeout=PATIENCE
    )
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


def test_bad_file_is_told_on_the_page(page, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'bad')
    page.set_input_files('#photo input[type=file]', str(tmp_path / 'bad.png'))
    sync_api.expect(page.get_by_text('not an image').first).to_be_visible(timeout=PATIENCE)


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
