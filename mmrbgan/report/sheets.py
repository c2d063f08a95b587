"""Sheets of the best, the median and the worst faces of a set, one column per method."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.contact_sheet import contact_sheet
from mmrbgan_data.images import UnreadableImageError, read_image

from ..evaluation.face_set import EvaluationSet
from ..evaluation.metric_table import column
from ..evaluation.record import Record

SIDE, FACES = 160, 3
RANKING = ('lpips_alex', 'lpips_vgg', 'psnr', 'ifqa', 'niqe')


@dataclasses.dataclass(frozen=True, eq=False)
class Sheet:
    """A picture for the page: heading, RGB uint8 pixels, and a line below it."""

    title: str
    picture: np.ndarray
    note: str


def make_sheets(records: list[Record], ranked: Record) -> list[Sheet]:
    """Return three sheets of a set's faces, ranked by how ``ranked`` scores them; none if its pictures are gone.

    Args:
        records: methods on one set.
        ranked: the one whose scores decide.
    """
    measure = next((name for name in RANKING if name in ranked.summaries), None)
    if measure is None:
        return []
    scored = [row for row in ranked.faces if isinstance(row.get(measure), int | float)]
    names = [row['name'] for row in sorted(scored, key=lambda row: row[measure])]
    if column(measure).better == 'higher':
        names.reverse()
    columns = _columns(records)
    if not columns:
        return []
    middle = max(0, len(names) // 2 - FACES // 2)
    parts = {'Best': names[:FACES], 'Median': names[middle : middle + FACES], 'Worst': names[-FACES:]}
    note = f'Ranked by {column(measure).label} of {ranked.method}; columns: {", ".join(columns)}.'
    return [Sheet(f'{title} faces', _sheet(columns, part), note) for title, part in parts.items() if part]


def _columns(records: list[Record]) -> dict[str, dict[str, Path]]:
    """Return column title -> face name -> file: the input, each method, the ground truth."""
    columns: dict[str, dict[str, Path]] = {}
    for record in records:
        folders = record.folders
        try:
            faces = EvaluationSet(folders['restored'], folders.get('gt'), folders.get('lq'))
        except UsageError:
            continue  # the folder was moved or emptied since
        files = {
            kind: {face.name: Path(faces.sources[kind].path(face.places[kind])) for face in faces.faces}
            for kind in faces.sources
        }
        if 'lq' in files:
            columns.setdefault('input', files['lq'])
        columns[record.method] = files['restored']
        if 'gt' in files:
            columns.setdefault('ground truth', files['gt'])
    if 'ground truth' in columns:
        columns['ground truth'] = columns.pop('ground truth')  # last
    return columns


def _sheet(columns: dict[str, dict[str, Path]], names: list[str]) -> np.ndarray:
    rows = [[_thumbnail(files.get(name)) for files in columns.values()] for name in names]
    titles = [title.encode('ascii', 'replace').decode()[:22] for title in columns]
    result: np.ndarray = contact_sheet(rows, titles)
    return result


def _thumbnail(path: Path | None) -> np.ndarray:
    blank = np.full((SIDE, SIDE, 3), 224, np.uint8)
    if path is None:
        return blank
    try:
        picture = read_image(path)
    except UnreadableImageError:
        return blank
    scale = SIDE / max(picture.shape[:2])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    result: np.ndarray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return result
