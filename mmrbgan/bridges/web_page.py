"""A page to restore a photograph in, by Gradio; it runs here and sends nothing anywhere."""

import contextlib
import copy
import dataclasses
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.detection import DETECTORS, make_detector

from ..restoring.face_choice import UNCERTAIN, FaceFile
from ..restoring.files.photo_file import SUFFIXES_BY_FORMAT, output_format, to_8_bits
from ..restoring.job import summary
from ..restoring.restorer import Restorer
from .face_pictures import SMALL_SIDE, mark, numbered, small_pictures
from .film_page import add_film_part
from .page_errors import told

TITLE = 'Restore faces'
HELP = 'Put in a photograph, untick the faces to leave as they are, restore, move the slider, download.'
KEPT = 24 * 60 * 60  # seconds that uploads and results of a page that stays open are kept
CSS = f"""
#faces .wrap {{display: grid; max-height: 36em; overflow-y: auto;
  grid-template-columns: repeat(auto-fill, minmax({SMALL_SIDE + 18}px, 1fr))}}
#faces label {{display: grid; grid-template-columns: auto 1fr; justify-items: start; padding: 6px; font-size: 0.8em}}
#faces label::before {{content: ''; grid-column: 1 / 3; height: {SMALL_SIDE}px; width: {SMALL_SIDE}px;
  background-size: cover; border-radius: 4px; margin-bottom: 4px}}
#pictures, #marked .icon-button-wrapper {{display: none}}
#slider {{position: relative}}
#slider:has(img)::before, #slider:has(img)::after {{position: absolute; bottom: 12px; z-index: 20; padding: 1px 8px;
  border-radius: 4px; color: white; background: rgb(0 0 0 / 60%); pointer-events: none}}
#slider:has(img)::before {{content: 'Before'; left: 12px}}
#slider:has(img)::after {{content: 'After'; right: 12px}}
"""


def serve(restorer: Restorer, host: str, port: int | None, megabytes: int) -> None:
    """Serve the page until Ctrl-C or SIGTERM; what was uploaded and made is removed then.

    Args:
        restorer: its networks.
        host: address to listen on.
        port: None for the first free one from 7860.
        megabytes: the largest upload.
    """
    with own_folder() as folder:
        page = build_page(restorer, folder)
        try:
            page.launch(server_name=host, server_port=port, share=False, max_file_size=f'{megabytes}mb')
        except KeyboardInterrupt:  # which Gradio takes for the end, too, once all is running
            page.close(verbose=False)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Make the folder of all uploads and results, and remove it at the end, SIGTERM's too."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop), os.environ.get('GRADIO_TEMP_DIR')
    with tempfile.TemporaryDirectory(prefix='mmrbgan_ui_', ignore_cleanup_errors=True) as folder:
        os.environ['GRADIO_TEMP_DIR'] = folder
        try:
            yield Path(folder)
        finally:
            signal.signal(signal.SIGTERM, before[0])
            os.environ.pop('GRADIO_TEMP_DIR')
            os.environ.update({'GRADIO_TEMP_DIR': before[1]} if before[1] else {})


def build_page(restorer: Restorer, folder: Path) -> Any:
    """Return the page (``gradio.Blocks``), whose results go into ``folder``."""
    gr = import_gradio()
    desk = Desk(restorer, folder)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT // 24, KEPT)) as page:
        gr.HTML(f'<style>{CSS}</style>', padding=False)
        gr.Markdown(f'# {TITLE}\n{HELP}')
        found = gr.State([])
        with gr.Row():
            with gr.Column():
                photo = gr.File(label='Photograph', elem_id='photo')
                detector = gr.Dropdown(['auto', *DETECTORS], value='auto', label='Detector', elem_id='detector')
                marked = gr.Image(label='Faces found', show_label=False, interactive=False, elem_id='marked')
                with gr.Row():
                    every = gr.Button('All', size='sm', elem_id='all')
                    none = gr.Button('None', size='sm', elem_id='none')
                ticks = gr.CheckboxGroup(label='Faces to restore', elem_id='faces')
                pictures = gr.HTML(elem_id='pictures')
            with gr.Column():
                settings = _add_settings(gr, restorer)
                button = gr.Button('Restore', variant='primary', interactive=False, elem_id='restore')
                slider = gr.ImageSlider(label='Before and after', show_label=False, interactive=False, elem_id='slider')
                done = gr.Textbox(label='What was done', interactive=False, elem_id='done')
                download = gr.DownloadButton('Download', interactive=False, elem_id='download')
        queue = {'concurrency_limit': 1, 'concurrency_id': 'restorer'}
        result = [slider, done, download]
        shown = [marked, ticks, pictures, found, button, *result]
        for event in (photo.change, detector.change):
            event(desk.clear, None, shown, queue=False).then(desk.find, [photo, detector], shown, **queue)
        button.click(desk.restore, [photo, ticks, found, *settings], result, **queue)
        every.click(lambda faces: list(range(len(faces))), [found], [ticks], queue=False)
        none.click(list, None, [ticks], queue=False)
        add_film_part(gr, restorer, desk.folder, queue)
    return page


def _add_settings(gr: Any, restorer: Restorer) -> list[Any]:
    """Add what ``Desk.restore`` takes last."""
    now = restorer.settings
    with gr.Row():
        strength = gr.Slider(0, 1, now.strength, step=0.05, label='Strength', elem_id='strength')
        scale = gr.Slider(1, 4, max(1, now.scale), step=0.5, label='Enlarge', elem_id='scale')
    with gr.Row():
        color = gr.Radio(['keep', 'free'], value=now.color, label='Colour and light', elem_id='color')
        detail = gr.Radio(['keep', 'replace'], value=now.detail, label='Detail of large faces', elem_id='detail')
    return [strength, scale, color, detail]


class Desk:
    """What the page's buttons do; what a photograph may do wrong is text in the page."""

    def __init__(self, restorer: Restorer, folder: Path) -> None:
        self.restorer, self.folder = restorer, folder
        self.gradio = import_gradio()
        self.detectors = {'auto': restorer.detector}

    def clear(self) -> tuple[Any, ...]:
        """Return a page without photograph, faces and result."""
        return self._shown(None, [], '', [], False, '')

    def find(self, path: str | None, detector: str) -> tuple[Any, ...]:
        """Return the photograph with its faces marked, a tick and a small picture for each, and the faces."""
        if path is None:
            return self.clear()
        try:
            job = self._with_detector(detector).prepare(path, self.restorer.settings)
        except Exception as error:
            return self._shown(None, [], '', [], False, told(error))
        boxes, pixels = [face.box for face in job.faces], job.picture.pixels
        doubts = [', uncertain' * (face.skipped == UNCERTAIN) for face in job.faces]
        labels = [label + doubt for label, doubt in zip(numbered(job.faces), doubts, strict=True)]
        ticked = [number for number, face in enumerate(job.faces) if face.skipped is None]
        choices = [(label, number) for number, label in enumerate(labels)]
        ticks = self.gradio.CheckboxGroup(choices=choices, value=ticked)
        faces = [face.to_json() for face in job.faces]
        words = '' if faces else 'no face found; another detector may find one'
        return self._shown(mark(pixels, boxes), ticks, small_pictures(pixels, boxes, '#faces'), faces, True, words)

    def restore(
        self,
        path: str | None,
        ticked: list[int],
        found: list[dict[str, Any]],
        strength: float,
        scale: float,
        color: str,
        detail: str,
    ) -> tuple[Any, str, Any]:
        """Return before and after, what was done, and the file to download."""
        if path is None:
            return self._result('put in a photograph first')
        faces = [face | {'restore': number in ticked} for number, face in enumerate(found)]
        try:
            chosen: Any = {'strength': strength, 'scale': scale, 'color': color, 'detail': detail}
            file = FaceFile(Path('the page'), {path: faces}, 'not ticked')
            result = self.restorer.restore(path, dataclasses.replace(self.restorer.settings, faces=file, **chosen))
            saved = self._save(result, Path(path).stem)
        except Exception as error:
            return self._result(told(error))
        warning = f'; warning: {result.picture.warning}' if result.picture.warning else ''
        before, after = (to_8_bits(picture.pixels) for picture in (result.before, result.picture))
        return self._result(summary(result) + warning, (before, after), str(saved))

    def _with_detector(self, name: str) -> Restorer:
        if name not in self.detectors:
            self.detectors[name] = make_detector(name, None, str(self.restorer.device))
        restorer = copy.copy(self.restorer)
        restorer.detector = self.detectors[name]
        return restorer

    def _shown(
        self, image: Any, ticks: Any, pictures: str, faces: list[Any], ready: bool, words: str
    ) -> tuple[Any, ...]:
        ticks = ticks or self.gradio.CheckboxGroup(choices=[], value=[])
        button = self.gradio.Button(interactive=ready)
        return image, ticks, pictures, faces, button, *self._result(words)

    def _result(self, words: str, pictures: Any = None, file: str | None = None) -> tuple[Any, str, Any]:
        return pictures, words, self.gradio.DownloadButton(value=file, interactive=file is not None)

    def _save(self, result: Any, stem: str) -> Path:
        suffix = SUFFIXES_BY_FORMAT[output_format(result.picture, 'auto')]
        file = Path(tempfile.mkdtemp(dir=self.folder)) / f'{stem}_restored{suffix}'
        result.save(file)
        return file


def import_gradio() -> Any:
    """Return the package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise UsageError("the page needs Gradio; `pip install 'mmrbgan[ui]'`") from error
    return gradio
