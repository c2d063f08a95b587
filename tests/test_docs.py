"""The documents name files that exist, and the reference is what the docstrings say."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')])


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text(encoding='utf-8')
    links = [link.split('#')[0] for link in re.findall(r'\]\(([^)\s]+)\)', text) if '://' not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []
    if page.name != 'CHANGELOG.md':
        paths = re.findall(
            r'`((?:mmrbgan|mmrbgan_arch|mmrbgan_model|data|tests|benchmarks|docs)/[\w./]*\.(?:py|md))`', text
        )
        assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_reference_is_made_from_the_docstrings():
    specification = importlib.util.spec_from_file_location('make_api', ROOT / 'docs/make_api.py')
    make_api = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(make_api)
    written = (ROOT / 'docs/api.md').read_text(encoding='utf-8')
    assert written == make_api.page(), 'run `python docs/make_api.py`'
