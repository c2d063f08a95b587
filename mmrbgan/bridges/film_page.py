"""The page's part for films: put one in, restore it, see before and after side by side, take it home."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmrbgan_data.image_formats import FILM_SUFFIXES

from ..restoring.film.film_job import FilmFlags, FilmJob, Outcome, StopSignals
from ..restoring.film.film_restorer import FilmSettings
from ..restoring.restorer import Restorer
from ..restoring.settings import Settings
from .page_errors import told


def add_film_part(gr: Any, restorer: Restorer, folder: Path, queue: dict[str, Any]) -> None:
    """Add the part to the page that is being built.

    Args:
        gr: gradio.
        restorer: its networks.
        folder: where results lie until the page is closed.
        queue: the event's options by which one thing at a time uses the restorer.
    """
    desk = FilmDesk(gr, restorer, folder)
    with gr.Accordion('A film', open=False, elem_id='film_part'), gr.Row():
        with gr.Column():
            film = gr.File(label='Film', file_types=['video', *sorted(FILM_SUFFIXES)], elem_id='film')
            strength = gr.Slider(0, 1, 1, step=0.05, label='Strength')
            steady = gr.Slider(0, 1, 1, step=0.05, label='Steadiness')
            button = gr.Button('Restore the film', elem_id='restore_film')
        with gr.Column():
            preview = gr.Video(label='Before | after', interactive=False, elem_id='film_preview')
            done = gr.Textbox(label='What was done', interactive=False, elem_id='film_done')
            download = gr.DownloadButton('Download the film', interactive=False, elem_id='film_download')
    film.change(lambda: desk.result(''), None, [preview, done, download], queue=False)
    button.click(desk.restore, [film, strength, steady], [preview, done, download], **queue)


class FilmDesk:
    """What the buttons of the film's part do."""

    def __init__(self, gr: Any, restorer: Restorer, folder: Path) -> None:
        self.gradio, self.restorer, self.folder = gr, restorer, folder

    def restore(self, path: str | None, strength: float, steady: float) -> tuple[str | None, str, Any]:
        """Return the preview, what was done, and the film to download."""
        if path is None:
            return self.result('put in a film first')
        try:
            output = Path(tempfile.mkdtemp(dir=self.folder)) / f'{Path(path).stem}_restored'
            settings = Settings(strength=strength)
            job = FilmJob(Path(path), output, self.restorer, settings, FilmSettings(steady), FilmFlags(preview=True))
            outcome = job.run(StopSignals())
        except Exception as error:
            return self.result(told(error))
        preview = outcome.output.with_name(f'{outcome.output.stem}_preview.mp4')
        return self.result('\n'.join(_told(outcome)), str(preview), str(outcome.output))

    def result(self, words: str, preview: str | None = None, file: str | None = None) -> tuple[str | None, str, Any]:
        """Return what the part shows; nothing but the words where nothing was made."""
        return preview, words, self.gradio.DownloadButton(value=file, interactive=file is not None)


def _told(outcome: Outcome) -> Iterator[str]:
    yield f'{outcome.frames} frames, {outcome.tracks} faces followed'
    yield from (note for note in outcome.notes if not note.startswith('preview'))
