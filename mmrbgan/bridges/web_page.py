"""A page to restore a photograph in, by Gradio; it runs here and sends nothing anywhere."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.images import UnreadableImageError

from ..restoring.face_choice import UNCERTAIN, FaceFile
from ..restoring.files.photo_file import SUFFIXES_BY_FORMAT, output_format, to_8_bits
from ..restoring.job import summary
from ..restoring.restorer import Restorer
from .film_page import add_film_part

TITLE = 'Restore faces'
HELP = 'Put in a photograph, untick the faces to leave as they are, restore, move the slider, download.'


def build_page(restorer: Restorer) -> Any:
    """Return the page (``gradio.Blocks``)."""
    gr = import_gradio()
    desk = Desk(restorer)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f'# {TITLE}\n{HELP}')
        found = gr.State([])
        with gr.Row():
            with gr.Column():
                photo = gr.File(label='Photograph', file_types=['image'], elem_id='photo')
                marked = gr.Image(label='Faces found', interactive=False, elem_id='marked')
                ticks = gr.CheckboxGroup(label='Faces to restore', elem_id='faces')
                strength = gr.Slider(0, 1, 1, step=0.05, label='Strength', elem_id='strength')
                button = gr.Button('Restore', variant='primary', elem_id='restore')
            with gr.Column():
                slider = gr.ImageSlider(label='Before and after', interactive=False, elem_id='slider')
                done = gr.Textbox(label='What was done', interactive=False, elem_id='done')
                download = gr.DownloadButton('Download', elem_id='download')
        one_at_a_time = {'concurrency_limit': 1, 'concurrency_id': 'restorer'}
        photo.change(desk.find, [photo], [marked, ticks, found], **one_at_a_time)
        button.click(desk.restore, [photo, ticks, strength, found], [slider, done, download], **one_at_a_time)
        add_film_part(gr, restorer, desk.folder, one_at_a_time)
    return page


class Desk:
    """What the page's buttons do."""

    def __init__(self, restorer: Restorer) -> None:
        self.restorer = restorer
        self.gradio = import_gradio()
        self.folder = Path(tempfile.mkdtemp(prefix='mmrbgan_ui_'))

    def find(self, path: str | None) -> tuple[np.ndarray | None, Any, list[dict[str, Any]]]:
        """Return the photograph with its faces marked, a tick for each, and the faces."""
        if path is None:
            return None, self.gradio.CheckboxGroup(choices=[], value=[]), []
        job = self._try(lambda: self.restorer.prepare(path, self.restorer.settings))
        if not job.faces:
            self.gradio.Warning('no face found')
        choices = [(_label(i, face), i) for i, face in enumerate(job.faces)]
        ticked = [i for i, face in enumerate(job.faces) if face.skipped is None]
        ticks = self.gradio.CheckboxGroup(choices=choices, value=ticked)
        faces = [face.to_json() for face in job.faces]
        return mark(job.picture.pixels, faces), ticks, faces

    def restore(
        self, path: str | None, ticked: list[int], strength: float, found: list[dict[str, Any]]
    ) -> tuple[tuple[Any, Any], str, Any]:
        """Return before and after, what was done, and the file to download."""
        if path is None:
            raise self.gradio.Error('put in a photograph first')
        faces = [face | {'restore': number in ticked} for number, face in enumerate(found)]
        settings = dataclasses.replace(
            self.restorer.settings, strength=strength, faces=FaceFile(Path('the page'), {path: faces})
        )
        result = self._try(lambda: self.restorer.restore(path, settings))
        file = self._save(result, Path(path).stem)
        before, after = (to_8_bits(picture.pixels) for picture in (result.before, result.picture))
        return (before, after), summary(result), self.gradio.DownloadButton(value=str(file))

    def _save(self, result: Any, stem: str) -> Path:
        suffix = SUFFIXES_BY_FORMAT[output_format(result.picture, 'auto')]
        file = Path(tempfile.mkdtemp(dir=self.folder)) / f'{stem}_restored{suffix}'
        result.save(file)
        return file

    def _try(self, work: Any) -> Any:
        """Turn what a photograph may do wrong into the page's red note."""
        try:
            return work()
        except (UnreadableImageError, UsageError) as error:
            raise self.gradio.Error(str(error)) from error


def _label(number: int, face: Any) -> str:
    doubt = ', uncertain' if face.skipped == UNCERTAIN else ''
    return f'face {number + 1} ({face.box[2] - face.box[0]:.0f} px{doubt})'


def mark(pixels: np.ndarray, faces: list[dict[str, Any]]) -> np.ndarray:
    """Return (h, w, 3) uint8 with a numbered frame around each face."""
    image = to_8_bits(pixels).copy()
    width = max(1, round(max(image.shape[:2]) / 400))
    for number, face in enumerate(faces, 1):
        x1, y1, x2, y2 = (round(edge) for edge in face['box'])
        cv2.rectangle(image, (x1, y1), (x2, y2), (255, 160, 0), width)
        cv2.putText(image, str(number), (x1, y1 - 2 * width), 0, 0.5 * width, (255, 160, 0), width)
    result: np.ndarray = image
    return result


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
