"""Makes bad files of every kind that commands read: damaged bytes, hostile values, sizes that lie; all from a seed."""

import io
import json
import math
import os
import struct
import zlib

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save

DEEP = 100_000  # brackets
FORMATS = {
    'jpg': ('JPEG', 'RGB', {}),
    'progressive.jpg': ('JPEG', 'RGB', {'progressive': True}),
    'grey.jpg': ('JPEG', 'L', {}),
    'cmyk.jpg': ('JPEG', 'CMYK', {}),
    'png': ('PNG', 'RGB', {}),
    '16bit.png': ('PNG', 'I;16', {}),
    'palette.png': ('PNG', 'P', {}),
    'alpha.png': ('PNG', 'RGBA', {}),
    'gif': ('GIF', 'P', {}),
    'bmp': ('BMP', 'RGB', {}),
    'tif': ('TIFF', 'RGB', {}),
    'lzw.tif': ('TIFF', 'RGB', {'compression': 'tiff_lzw'}),
    'deflate.tif': ('TIFF', 'RGB', {'compression': 'tiff_deflate'}),
    'float.tif': ('TIFF', 'F', {}),
    '16bit.tif': ('TIFF', 'I;16', {}),
    'webp': ('WEBP', 'RGB', {}),
    'lossless.webp': ('WEBP', 'RGBA', {'lossless': True}),
    'ppm': ('PPM', 'RGB', {}),
    'pgm': ('PPM', 'L', {}),
    'tga': ('TGA', 'RGB', {}),
    'ico': ('ICO', 'RGBA', {}),
    'pcx': ('PCX', 'RGB', {}),
    'dds': ('DDS', 'RGBA', {}),
    'sgi': ('SGI', 'RGB', {}),
    'jp2': ('JPEG2000', 'RGB', {}),
    'avif': ('AVIF', 'RGB', {}),
}
"""Ending of a name -> Pillow's format, mode and options."""

# Where a header states width and height: (offset of width, offset of height, struct's letter).
SIZES = {
    'png': (16, 20, '>I'),
    '16bit.png': (16, 20, '>I'),
    'bmp': (18, 22, '<i'),
    'gif': (6, 8, '<H'),
    'tga': (12, 14, '<H'),
    'pcx': (8, 10, '<H'),
    'dds': (16, 12, '<I'),
    'sgi': (6, 8, '>H'),
}
HOSTILE = [
    *(None, True, False, -1, 0, 1, 2.5, 1e308, math.nan, math.inf, -math.inf, 2**31, 2**63, 2**64, -(2**70), 10**400),
    *('', 'text', 'nan', '../../outside/keep.txt', '/etc/passwd', '..', '.', '~', 'keep.txt', 'a/../../x.png'),
    *(
        'nul\0nul',
        '\ud800',
        'x' * 5000,
        'é眼\u202e',
        '%s%n{0}',
        '\n',
        '<script>alert(1)</script>',
        r'$\frac$',
        '2024-01-01',
    ),
    *([], {}, [[]], [None], [1, 2, 3], {'x': 1}, [['x']], {'type': 'x'}, [[math.nan, math.inf]] * 68),
]


def image(rng, ending, size=(96, 80)):
    """Return the bytes of a sound picture whose name ends in ``ending``."""
    form, mode, options = FORMATS[ending]
    noise = rng.integers(0, 256, (12, 10, 3), np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    if mode in ('I;16', 'F'):
        values = np.asarray(picture.convert('L')).astype(np.uint16 if mode == 'I;16' else np.float32)
        picture = Image.fromarray(values * values.dtype.type(257) if mode == 'I;16' else values / 255)
    else:
        picture = picture.convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def damaged(rng, content):
    """Return ``content`` with a random fault in its bytes."""
    length = max(1, len(content))
    place, stretch = int(rng.integers(length)), int(rng.integers(1, 60))
    flipped = bytearray(content or b'\0')
    for at in rng.integers(0, len(flipped), int(rng.choice([1, 3, 10, 100]))):
        flipped[at] ^= 1 << int(rng.integers(8))
    head = bytearray(content or b'\0')
    for at in rng.integers(0, min(64, len(head)), int(rng.integers(1, 6))):
        head[at] = int(rng.choice([0, 1, 127, 128, 255]))
    faults = [
        content[:place],
        content[: max(0, len(content) - stretch)],
        bytes(flipped),
        bytes(head),
        content[:place] + rng.bytes(stretch) + content[place + stretch :],
        content[:place] + bytes(stretch) + content[place + stretch :],
        content[:place] + content[place + stretch :],
        content[:place] + content[place:][:stretch] * 3 + content[place:],
        content + rng.bytes(stretch),
        content + content,
        rng.bytes(stretch * 10),
        b'',
    ]
    # Faults that leave most of the file are likelier: the others never come far.
    weights = np.array([3, 2, 4, 3, 3, 2, 2, 1, 1, 1, 0.5, 0.2])
    return faults[rng.choice(len(faults), p=weights / weights.sum())]


def oversized(rng, ending, content):
    """Return a picture whose header states another size than it has, or ``content`` where no place is known."""
    if ending in ('ppm', 'pgm'):
        return content.replace(b'96 80', b'%d %d' % tuple(rng.choice([0, 1, 97, 13_000, 70_000, 2**31, 2**40], 2)), 1)
    if ending.endswith('jpg'):
        return _oversized_jpeg(rng, content)
    if ending not in SIZES:
        return damaged(rng, content)
    changed = bytearray(content)
    across, down, letter = SIZES[ending]
    for at in rng.permutation([across, down])[: rng.integers(1, 3)]:
        bits = 8 * struct.calcsize(letter)
        value = int(rng.choice([0, 1, 97, 200, 13_000, 60_000, 2**31 - 1, 2**32 - 1]))
        struct.pack_into(letter, changed, int(at), min(value, 2 ** (bits - letter[1].islower()) - 1))
    if ending.endswith('png'):  # its check sum agrees
        struct.pack_into('>I', changed, 29, zlib.crc32(changed[12:29]))
    return bytes(changed)


def _oversized_jpeg(rng, content):
    changed, at = bytearray(content), 2
    while at + 9 < len(changed) and changed[at + 1] not in (0xC0, 0xC2):
        at += 2 + struct.unpack_from('>H', changed, at + 2)[0]
    struct.pack_into('>HH', changed, at + 5, *(int(rng.choice([0, 1, 97, 200, 13_000, 65_535])) for _ in range(2)))
    return bytes(changed)


def bad_image(rng):
    """Return (ending, bytes) of a bad picture."""
    ending = str(rng.choice(list(FORMATS)))
    content = image(rng, ending)
    kind = rng.choice(['damaged', 'oversized', 'suffix'], p=[0.7, 0.2, 0.1])
    if kind == 'suffix':
        return str(rng.choice(list(FORMATS))), content if rng.random() < 0.5 else damaged(rng, content)
    return ending, damaged(rng, content) if kind == 'damaged' else oversized(rng, ending, content)


def changed(rng, value):
    """Return JSON's ``value`` with a hostile value in the place of another one, or a key less, or misspelt."""
    return _change(rng, value, int(rng.integers(1, 8)))


def _change(rng, value, depth):
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if depth == 0 or not inner:
        return HOSTILE[rng.integers(len(HOSTILE))]
    place, old = inner[rng.integers(len(inner))]
    action = rng.choice(['deeper', 'replace', 'remove', 'rename'], p=[0.7, 0.15, 0.1, 0.05])
    if isinstance(value, list):
        rest = [_change(rng, old, depth - 1)] if action != 'remove' else []
        return [*value[:place], *rest, *value[place + 1 :]]
    if action == 'rename':
        return {f'{key}x' if key == place else key: each for key, each in value.items()}
    if action == 'remove':
        return {key: each for key, each in value.items() if key != place}
    new = HOSTILE[rng.integers(len(HOSTILE))] if action == 'replace' else _change(rng, old, depth - 1)
    return {**value, place: new}


def as_json(value):
    return json.dumps(value).encode('utf-8', 'surrogatepass')


def odd_texts(content):
    """Return texts that are hard on any reader, whatever it reads."""
    deep = b'[' * DEEP
    return [
        *(deep, b'{"a":' * DEEP, deep + b']' * DEEP, b'\xef\xbb\xbf' + content, content.decode().encode('utf-16')),
        *(content.replace(b'\n', b'\r\n'), content.replace(b'"', b"'"), b'\0' * 100, b'\xff\xfe\xfd', b'null', b'[]'),
        *(b'{}', b'""', b'1e999', b'NaN', b'\n' * 1000, b'9' * 10_000, b'{"a": ' + b'9' * 5000 + b'}', b'"\\ud800"'),
    ]


def bad_json(rng, value):
    """Return bytes: ``value`` with a fault in its structure, or in its bytes."""
    kind = rng.choice(['structure', 'bytes', 'odd'], p=[0.75, 0.15, 0.1])
    if kind == 'structure':
        return as_json(changed(rng, value))
    texts = odd_texts(as_json(value))
    return damaged(rng, as_json(value)) if kind == 'bytes' else texts[rng.integers(len(texts))]


def bad_lines(rng, lines):
    """Return bytes: lines of JSON, one of them with a fault, doubled, or out of its place."""
    lines = list(lines)
    at = int(rng.integers(len(lines)))
    kind = rng.choice(['line', 'double', 'remove', 'shuffle'], p=[0.8, 0.08, 0.06, 0.06])
    if kind == 'line':
        lines[at] = bad_json(rng, json.loads(lines[at]))
    elif kind == 'shuffle':
        lines = [lines[i] for i in rng.permutation(len(lines))]
    else:
        lines[at : at + 1] = [lines[at]] * 2 * (kind == 'double')
    return b'\n'.join(lines) + b'\n' * int(rng.random() < 0.9)


def bad_table(rng, text):
    """Return bytes: a table of commas with a fault in a cell, or in its bytes."""
    if rng.random() < 0.3:
        texts = [*odd_texts(text.encode()), text.replace(',', ';').encode(), text.replace(',', '\t').encode()]
        return damaged(rng, text.encode()) if rng.random() < 0.6 else texts[rng.integers(len(texts))]
    rows = [line.split(',') for line in text.splitlines()]
    for _ in range(rng.integers(1, 4)):
        row = rows[rng.integers(len(rows))]
        cell = int(rng.integers(len(row))) if rng.random() < 0.5 else int(rng.integers(min(4, len(row))))
        value = HOSTILE[rng.integers(len(HOSTILE))]
        row[cell : cell + 1] = [[str(value)], [], ['"', 'open'], ['1e40'], ['-5']][rng.integers(5)]
    return '\n'.join(map(','.join, rows)).encode('utf-8', 'surrogatepass')


def odd_options():
    """Return option files that are hard on a reader of YAML."""
    laughs = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
        f'{after}: &{after} [{", ".join(["*" + before] * 9)}]\n'
        for before, after in zip('abcdefgh', 'bcdefghi', strict=True)
    )
    return [
        *(laughs, 'a: &a [*a]\n', '&a {*a: 1}\n', 'name: !!python/object/apply:os.system ["touch ../outside/owned"]\n'),
        *(
            '!!python/name:os.system\n',
            'a: *nobody\n',
            '\tname: x\n',
            'a: 1\n---\nb: 2\n',
            'name: x\nname: y\n',
            '- a\n- b\n',
        ),
        *(
            '? [1, 2]\n: x\n',
            '? {a: 1}\n: x\n',
            '1: x\n2: y\n',
            'null: x\n',
            '<<: {a: 1}\n',
            '<<: 3\n',
            '2024-01-01: x\n',
        ),
        *(
            'name: 2024-99-99\n',
            'a: 0x\n',
            'a: 1:2:3\n',
            'a: .inf\n',
            'a: !!int x\n',
            'a: !!float x\n',
            'a: !!binary x\n',
        ),
        *(
            'a: !!timestamp x\n',
            '%YAML 9.9\n---\na: 1\n',
            '"\\ud800": 1\n',
            'a: "\\x00"\n',
            '{',
            '[' * 5000,
            '"',
            '!',
            '&',
            '|\n',
        ),
    ]


def bad_options(rng, options):
    """Return bytes: an option file with a fault in a value, or in its text."""
    kind = rng.choice(['value', 'bytes', 'odd'], p=[0.8, 0.1, 0.1])
    if kind == 'odd':
        texts = odd_options()
        return texts[rng.integers(len(texts))].encode()
    content = changed(rng, options) if kind == 'value' else options
    text = yaml.safe_dump(content, sort_keys=False).encode('utf-8', 'surrogatepass')
    return damaged(rng, text) if kind == 'bytes' else text


class Code:
    """What a hostile pickle runs."""

    def __reduce__(self):
        return os.system, ('touch ../outside/owned',)


def bad_state(rng, state):
    """Return a state dict with a tensor of another kind, size or value, or another name."""
    state = dict(state)
    key = str(rng.choice(list(state)))
    old = state[key]
    others = [
        *(old * math.nan, old.half(), old.double(), old.bfloat16(), old.int(), old.bool(), old.to(torch.complex64)),
        *(old[None], old.reshape(-1)[:1], old.reshape(-1)[:0], torch.zeros(()), old.to_sparse(), old.reshape(-1)),
        *(torch.zeros(1, 1, 1, 1), torch.zeros(3).expand(7, 3), torch.zeros(0, 5), torch.zeros([1] * 20)),
        *(None, 'text', 3, [old], {'x': old}, torch.nn.Parameter(old.float()), Code(), old.numpy(), {1, 2}),
    ]
    kind = rng.choice(['other', 'remove', 'rename', 'add', 'number'], p=[0.5, 0.2, 0.1, 0.1, 0.1])
    if kind == 'remove':
        for each in rng.choice(list(state), min(len(state), int(rng.choice([1, 5, 50]))), replace=False):
            del state[str(each)]
    elif kind == 'number':
        state = {7: old, **state}
    else:
        name = key if kind == 'other' else f'{key}x'
        if kind == 'rename':
            del state[key]
        state[name] = old if kind == 'rename' else others[rng.integers(len(others))]
    return state


def as_pth(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def bad_checkpoint(rng, state, ending):
    """Return the bytes of a file of weights with a fault in it."""
    if rng.random() < 0.35:
        sound = save(state, {'format': 'pt'}) if ending == 'safetensors' else as_pth({'params': state})
        return damaged(rng, sound)
    if ending == 'safetensors':
        return _bad_safetensors(rng, state)
    wrong = bad_state(rng, state)
    forms = [
        *({'params': wrong}, {'params_ema': wrong, 'params': state}, wrong, {'params': state, 'x': Code()}, Code()),
        *([wrong], {}, {'params': {}}, {'params': None}, {'params': 3}, None, torch.zeros(3), {'params': {'a': wrong}}),
    ]
    weights = np.array([5, 2, 3, 1, 0.5, *[0.5] * 8])
    return as_pth(forms[rng.choice(len(forms), p=weights / weights.sum())])


def _bad_safetensors(rng, state):
    if rng.random() < 0.4:
        wrong = {str(key): value for key, value in bad_state(rng, state).items() if isinstance(value, torch.Tensor)}
        dense = {key: value.detach().to_dense().contiguous().clone() for key, value in wrong.items()}
        return save(dense, {'format': 'pt'})
    content = save(state, {'format': 'pt', 'network': 'MMRBGAN', 'options': '{"out_size": 32}'})
    length = struct.unpack('<Q', content[:8])[0]
    if rng.random() < 0.3:
        return struct.pack('<Q', int(rng.choice([0, 1, 2**20, 2**40, 2**63 - 1]))) + content[8:]
    header = bad_json(rng, json.loads(content[8 : 8 + length]))
    return struct.pack('<Q', len(header)) + header + content[8 + length :]
