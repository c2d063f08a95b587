"""The formats of photographs: their suffixes (and those of films), and which of Pillow's decoders are asked."""

from PIL import Image

SUFFIXES = frozenset(
    ('.png', '.apng', '.jpg', '.jpeg', '.jpe', '.jfif', '.mpo', '.webp', '.bmp', '.dib', '.tif', '.tiff', '.gif')
    + (
        '.ppm',
        '.pgm',
        '.pbm',
        '.pnm',
        '.avif',
        '.heic',
        '.heif',
        '.hif',
        '.jp2',
        '.j2k',
        '.j2c',
        '.jpc',
        '.jpf',
        '.jpx',
    )
    + ('.tga', '.icb', '.vda', '.vst', '.pcx', '.ico', '.dds', '.sgi', '.psd', '.qoi')
)
"""Files called so are taken for photographs; a damaged one fails with its reason."""
FILM_SUFFIXES = frozenset(
    ('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.mpg', '.mpeg', '.ts', '.m2ts', '.mts', '.wmv', '.flv')
    + ('.3gp', '.ogv', '.vob', '.mxf', '.y4m', '.nut', '.dv')
)
# Signatures of these are too weak to believe without the suffix that belongs to them.
WEAK_FORMATS = frozenset(
    ('TGA', 'PCX', 'DCX', 'DIB', 'XBM', 'XPM', 'MSP', 'IM', 'IMT', 'SUN', 'SPIDER', 'PIXAR', 'XVTHUMB', 'FTEX', 'GBR')
)
# Data, films and fonts of drawings; EPS would be run by Ghostscript.
NOT_PHOTOGRAPHS = frozenset(
    ('EPS', 'WMF', 'MPEG', 'BUFR', 'GRIB', 'HDF5', 'IPTC', 'MCIDAS', 'FITS', 'FLI', 'PALM', 'PDF')
)
RAW_SUFFIXES = frozenset(
    ('.3fr', '.arw', '.cr2', '.cr3', '.dng', '.erf', '.iiq', '.kdc', '.mef', '.mos', '.mrw', '.nef', '.nrw', '.orf')
    + ('.pef', '.raf', '.raw', '.rw2', '.rwl', '.sr2', '.srf', '.srw', '.x3f')
)
"""Cameras' own files: what a decoder of TIFF finds in them is a small preview."""
_HEIC_BRANDS = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')


def readable_formats() -> list[str]:
    """Return Pillow's names of the formats that are read."""
    Image.init()
    return [name for name in Image.OPEN if name not in NOT_PHOTOGRAPHS]


def is_heic(head: bytes) -> bool:
    """Say whether a file that begins so is HEIC, as iPhones write it."""
    return head[4:8] == b'ftyp' and head[8:12] in _HEIC_BRANDS and b'avif' not in head[8:40]
