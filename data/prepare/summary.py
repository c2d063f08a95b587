"""What ``prepare`` leaves to look at: report.json, contact sheets with the boxes drawn, the sheet of degradations."""

import collections
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmrbgan_arch.support.atomic_files import write_text

from ..components import COMPONENTS, COMPONENTS_FILE, read_components, yaw_of
from ..contact_sheet import contact_sheet
from ..datasets.samples import read_square
from ..degradation import DegradationOptions, degrade, draw_degradation
from ..images import UnreadableImageError, write_image
from .builder import DatasetBuilder
from .journal import SPLITS, Entry, KeptFace

COLUMNS, MAX_FACES, THUMBNAIL = 8, 64, 192
YAW_EDGES = (-0.25, -0.1, 0.1, 0.25)


def write_report(
    builder: DatasetBuilder,
    entries: Sequence[Entry],
    settings: Mapping[str, Any],
    others: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Write report.json and return its content; ``others`` are (name, kind) of the files that are not photographs."""
    faces = [face for entry in entries for face in entry.kept]
    skipped = [
        {'photo': entry.photo, 'reason': reason, 'detail': detail}
        for entry in entries
        for reason, detail in entry.skipped
    ]
    skipped += [{'photo': name, 'reason': 'no photograph', 'detail': kind} for name, kind in others]
    report = {
        'settings': dict(settings),
        'photographs': len(entries),
        'faces': {split: sum(len(entry.kept) for entry in entries if entry.split == split) for split in SPLITS},
        'with_five_points_only': sum(len(face.landmarks) == 5 for face in faces),
        'skipped': dict(collections.Counter(item['reason'] for item in skipped)),
        'yaw': _yaw_counts(faces),
        'source_side': _quantiles([face.source_side for face in faces]),
        'sharpness': _quantiles([face.sharpness for face in faces]),
        'skipped_files': skipped,
    }
    write_text(builder.output / 'report.json', json.dumps(report, indent=1, ensure_ascii=False) + '\n')
    return report


def write_contact_sheets(builder: DatasetBuilder, entries: Sequence[Entry]) -> list[Path]:
    """Write contact_sheet_train.jpg and contact_sheet_val.jpg: faces spread over the set, with boxes and landmarks."""
    paths = []
    for split in SPLITS:
        source = builder.source(split)
        if source is None:
            continue
        landmarks = {face.file: face.landmarks for entry in entries for face in entry.kept}
        chosen = np.linspace(0, len(source) - 1, min(MAX_FACES, len(source))).round().astype(int)
        table = read_components(source.root / COMPONENTS_FILE)
        tiles = []
        for index in chosen.tolist():
            name = source.names[index]
            try:
                image = source.read(index)
            except UnreadableImageError:  # somebody put it there
                continue
            tiles.append(draw_face_marks(image, *table.boxes(name, *image.shape[1::-1]), landmarks.get(name)))
        paths.append(builder.output / f'contact_sheet_{split}.jpg')
        write_image(paths[-1], contact_sheet([tiles[i : i + COLUMNS] for i in range(0, len(tiles), COLUMNS)]))
    return paths


def draw_face_marks(
    image: np.ndarray, boxes: np.ndarray, mask: np.ndarray, landmarks: np.ndarray | None, side: int = THUMBNAIL
) -> np.ndarray:
    """Return RGB uint8 (side, side, 3): the face with its component boxes (k, 4) and landmarks (n, 2)."""
    scale = side / image.shape[0]
    tile = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    for point in () if landmarks is None else landmarks:
        x, y = np.round((point + 0.5) * scale).astype(int).tolist()
        cv2.circle(tile, (x, y), 1, (255, 255, 0), -1, cv2.LINE_AA)
    for box, component, present in zip(np.round(boxes * scale).astype(int).tolist(), COMPONENTS, mask, strict=True):
        if present:
            cv2.rectangle(tile, box[:2], box[2:], component.colour, 1)
    return tile


def write_preview(source: Any, target: Path, options: DegradationOptions, size: int, seed: int = 0) -> None:
    """Write a sheet: per row a face and five degradations of it, each with its parameters below."""
    rows = []
    for index in np.linspace(0, len(source) - 1, min(6, len(source))).round().astype(int).tolist():
        try:
            image, _ = read_square(source, index, size)
        except UnreadableImageError:
            continue
        rows.append([_labelled(image, Path(source.names[index]).name)])
        for column in range(5):
            drawn = draw_degradation(options, np.random.default_rng([seed, index, column]))
            rows[-1].append(_labelled(degrade(image, drawn, options.kernel_size), str(drawn)))
    if not rows:
        raise UnreadableImageError(f'{source.root}: no readable square image')
    write_image(target, contact_sheet(rows))


def _labelled(image: np.ndarray, text: str, side: int = 256) -> np.ndarray:
    """Return the image (side, side) with two lines of text below it."""
    tile = np.full((side + 30, side, 3), 255, np.uint8)
    tile[:side] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    lines = text.encode('ascii', 'replace').decode().split(' | ')
    for row, line in enumerate((' | '.join(lines[:2]), ' | '.join(lines[2:]))):
        cv2.putText(tile, line, (2, side + 12 + 14 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (20, 20, 20), 1, cv2.LINE_AA)
    return tile


def _yaw_counts(faces: Sequence[KeptFace]) -> dict[str, int]:
    """Count the faces by how far they are turned, to the image's left first."""
    yaws = [yaw_of(face.landmarks) for face in faces if len(face.landmarks) > 5]
    names = ['below -0.25', '-0.25 to -0.1', '-0.1 to 0.1', '0.1 to 0.25', 'above 0.25']
    counts = np.bincount(np.digitize(yaws, YAW_EDGES), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    shares = {'least': 0, 'tenth': 0.1, 'median': 0.5, 'most': 1}
    return {name: round(float(np.quantile(values, share)), 1) for name, share in shares.items()} if values else {}
