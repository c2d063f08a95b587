"""`mmrbgan report`: sets never mix, quoted rows stand apart, four forms, a page whose tables sort in a browser."""

import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmrbgan import cli
from mmrbgan.evaluation.record import Part, Record, Summary, write_record
from mmrbgan.evaluation.timing import Timing, write_timings
from mmrbgan.report.content import build_tables, over_runs
from mmrbgan.report.page import build_page
from mmrbgan.report.paper_numbers import FILE, quoted_rows
from mmrbgan.report.tables import Cell, Row, Table, heading, to_latex, to_markdown

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
NAMES = ('a', 'b', 'c')
ROOT = Path(__file__).parents[2]


def make_record(folder: Path, method: str, psnr: float, set_hash: str = 'set1', table: str = 'synthetic') -> Record:
    for kind, level in (('gt', 200), (method, 100)):
        (folder / kind).mkdir(exist_ok=True)
        for name in NAMES:
            cv2.imwrite(str(folder / kind / f'{name}.png'), np.full((24, 24, 3), level, np.uint8))
    summary = Summary(psnr, psnr - 1, psnr + 1, 3)
    return Record(
        method=method,
        table=table,
        count=3,
        folders={'restored': str(folder / method), 'gt': str(folder / 'gt')},
        hashes={'restored': 'r-' + method, 'gt': set_hash},
        excluded=[('z', 'not in restored')],
        summaries={'psnr': summary, 'lpips_alex': Summary(0.3, None, None, 3)},
        poses=[Part('frontal, below 0.10', 2, {'psnr': summary}), Part('profile', 1, {'psnr': summary})],
        pose_source='landmarks.csv',
        provenance={'lpips_alex': 'package lpips 0.1, alex'},
        left_out={},
        faces=[{'name': name, 'psnr': psnr + i, 'lpips_alex': 0.3} for i, name in enumerate(NAMES)],
        weights='net_g.pth sha256 abc',
        device='cpu',
        versions={'torch': '2'},
    )


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for method, psnr in (('worse', 20.5), ('better', 26.25)):
        write_record(tmp_path / 'runs' / f'{method}.json', make_record(tmp_path, method, psnr))
    timing = Timing('better', 0.5, 0.4, 0.6, 5, 2, 512, 'cpu', 'float32', 2)
    write_timings(tmp_path / 'runs' / 'timing.json', [timing])
    assert cli.main(['report', 'runs']) == 0
    return tmp_path / 'report'


def test_a_row_says_set_count_backbone_weights_and_versions(runs):
    text = (runs / 'report.md').read_text()
    row = next(line for line in text.splitlines() if line.startswith('| better'))
    for part in ('set set1', 'N 3', '1 excluded', 'package lpips 0.1, alex', 'net_g.pth sha256 abc', 'torch 2'):
        assert part in row


def test_the_best_is_bold_and_the_paper_is_quoted_apart(runs):
    text = (runs / 'report.md').read_text()
    assert '**26.250 [25.250, 27.250]**' in text
    assert '| *MMRBGAN (paper)* |' in text and 'quoted: Table 1' in text and '**26.034' not in text


@pytest.mark.parametrize(
    ('kind', 'place', 'rows', 'row', 'cells'),
    [
        ('synthetic', '', 11, 'GT (paper)', {'fid_paper': 2.478, 'psnr': float('inf')}),
        ('sr', '', 12, 'Bicubic (paper)', {'psnr': 23.757, 'fid_paper': 148.468}),
        ('real', 'results/test_lfw/visualization/lfw', 11, 'Input (paper)', {'ifqa': 0.298, 'niqe': 5.454}),
        ('real', 'elsewhere', 43, 'MMRBGAN (paper, WFLW)', {'ifqa': 0.449, 'niqe': 4.257}),
        ('ablation', '', 6, 'w/o FreezeD (paper)', {'psnr': 26.016, 'ifqa': 0.343}),
        ('time', '', 11, 'DMDNet (paper)', {'ifqa': 0.385, 'seconds': 0.021}),
    ],
)
def test_every_table_of_the_paper_is_quoted(kind, place, rows, row, cells):
    found = {one.method: one for one in quoted_rows(kind, place)}
    assert len(found) == rows and all(one.quoted and one.about.startswith('quoted: Table') for one in found.values())
    assert {name: found[row].cells[name].mean for name in cells} == cells


def test_quoted_numbers_stand_in_the_papers_text(shared):
    text = (shared / 'paper.txt').read_text()
    tables = json.loads(FILE.read_text())['tables']
    quoted = {
        (table['table'], table['dataset'], method, column): float(value)
        for table in tables
        for method, cells in table['rows'].items()
        for column, value in cells.items()
    }
    assert quoted == paper_cells(text) and len(quoted) == 269


def paper_cells(text):
    """Every cell of the paper's tables: (table, dataset, method, column) -> value."""
    cells = {}
    for number in '123456':
        body = text[text.index(f'**Table {number}**') :]
        for method, column, dataset, value in PAPER_FORMS[number](table_rows(body)):
            if any(letter.isdigit() for letter in value) or 'infty' in value:
                cells[number, dataset, method, column] = float('inf') if value == r'$\infty$' else float(value)
    return cells


def table_rows(body):
    """Rows of cells of the first table in ``body``, without bold type, references and arrows."""
    lines = body.splitlines()
    start = next(i for i, line in enumerate(lines) if '\t' in line)
    end = next(i for i, line in enumerate(lines) if i > start and '\t' not in line)
    clean = [re.sub(r'</?b>| ?\[\d+\]|\$\\(?:up|down)arrow\$|[↑↓]', '', line) for line in lines[start:end]]
    return [[cell.strip() for cell in line.split('\t')] for line in clean]


def by_row(dataset):
    """A method a row: Tables 1, 2 and 5."""

    def read(rows):
        for row in rows[1:]:
            for column, value in zip(rows[0][1:], row[1:], strict=True):
                yield own_name(row[0]), COLUMNS[column], dataset, value

    return read


def by_column(dataset):
    """A method a column, in two blocks: Tables 4 and 6."""

    def read(rows):
        for row in rows:
            if row[0] == 'Methods':
                methods = [own_name(name) for name in row[1:] if name]
                continue
            for method, value in zip(methods, filter(None, row[1:]), strict=True):
                yield method, COLUMNS[row[0]], dataset, value

    return read


def three_sets(rows):
    """Table 3: IFQA and NIQE of three sets side by side."""
    datasets = [name.removesuffix(' Data') for name in rows[0][1:] if name]
    for row in rows[2:]:
        for place, value in enumerate(row[1:]):
            yield own_name(row[0]), COLUMNS[rows[1][1 + place]], datasets[place // 2], value


def own_name(name):
    name = re.sub(r'^[a-e]\) ', '', name)
    return {'Our': 'MMRBGAN', 'Ours': 'MMRBGAN', 'All (Our)': 'All'}.get(name, name)


COLUMNS = {'PSNR': 'psnr', 'SSIM': 'ssim', 'LPIPS': 'lpips_paper', 'FID': 'fid_paper', 'NIQE': 'niqe', 'IFQA': 'ifqa'}
COLUMNS['Time(sec)'] = 'seconds'
PAPER_FORMS = {
    '1': by_row('CelebA'),
    '2': by_row('CelebA'),
    '3': three_sets,
    '4': by_column('WFLW'),
    '5': by_row('CelebA'),
    '6': by_column('512 px'),
}


def test_quoted_cells_have_the_papers_digits_and_short_headings():
    rows = quoted_rows('synthetic')
    table = Table('k', 'title', 'note', rows)
    text = to_markdown(table)
    assert '| *GFPGAN (paper)* | 24.895 | 0.688 | 0.172 | 21.160 | 4.746 | 0.316 |' in text
    assert '0.6880' not in text and '>0.688</td>' in build_page('title', [table], [], [])
    assert all(len(heading(name).heading) <= 15 for name in table.columns)


@pytest.mark.parametrize(('table', 'title'), [('sr', 'Table 2'), ('real', 'Tables 3 and 4'), ('ablation', 'Table 5')])
def test_every_kind_of_report_shows_its_quoted_rows(tmp_path, table, title):
    (found,) = [
        one for one in build_tables([make_record(tmp_path, 'x', 20, table=table)], [], True) if title in one.title
    ]
    assert any(row.quoted for row in found.rows) and not found.rows[0].quoted


def test_latex_and_json_hold_the_same_numbers(runs):
    assert r'\textbf{26.250}' in (runs / 'report.tex').read_text()
    tables = json.loads((runs / 'report.json').read_text())['tables']
    assert tables[0]['rows'][0]['cells']['psnr']['mean'] == 26.25
    assert [table['key'] for table in tables] == ['synthetic-set1', 'pose-set1', 'time']


def test_the_page_needs_nothing_else(runs):
    page = (runs / 'report.html').read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert 'data:image/jpeg;base64' in page and '<svg' in page


def test_quoted_rows_can_be_left_out(runs):
    assert cli.main(['report', '../runs' if Path('../runs').exists() else 'runs', '--no-quoted', '-o', 'own']) == 0
    assert '(paper)' not in Path('own/report.md').read_text()


def test_two_sets_never_share_a_table(tmp_path):
    first, second = make_record(tmp_path, 'x', 20), make_record(tmp_path, 'x', 21, set_hash='set2')
    tables = build_tables([first, second], [], quoted=False)
    assert [table.key for table in tables[:2]] == ['synthetic-set1', 'synthetic-set2']
    assert all(len(table.rows) == 1 for table in tables[:2])


def test_seeds_become_an_interval(tmp_path):
    records = [make_record(tmp_path, 'full', psnr, table='ablation') for psnr in (20.0, 22.0)]
    cell = over_runs(records)['psnr']
    assert cell.mean == 21 and cell.high == pytest.approx(21 + 12.706, abs=0.01)


def test_a_method_twice_on_one_set_is_an_error(runs, capsys):
    record = make_record(runs, 'better', 25)
    write_record(Path('runs') / 'again.json', record)
    assert cli.main(['report', 'runs']) == 2
    assert 'comes twice' in capsys.readouterr().err


def test_a_folder_without_records_is_an_error(tmp_path, capsys):
    assert cli.main(['report', str(tmp_path)]) == 2
    assert 'no record' in capsys.readouterr().err


@pytest.mark.parametrize('output', ['runs/better.json', 'runs/better.json/report'])
def test_an_output_that_is_no_folder_is_an_error(runs, capsys, output):
    assert cli.main(['report', 'runs', '-o', output]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f'error: {output}: cannot be written') and '-o' in printed


def test_a_form_that_cannot_be_written_is_an_error(runs, capsys):
    Path('own/report.md').mkdir(parents=True)
    assert cli.main(['report', 'runs', '-o', 'own']) == 2
    assert capsys.readouterr().err.startswith('error: own/report.md: cannot be written')


def test_awkward_names_survive_every_form():
    table = Table('k', 'a_b & c', 'note', [Row('100% <b>_x', {'psnr': Cell(float('inf'))}, 'about')])
    assert r'100\% <b>\_x & inf' in to_latex(table)
    assert '| 100% <b>_x | inf |' in to_markdown(table)


def test_records_of_moved_folders_still_make_a_report(runs):
    record = dataclasses.replace(make_record(runs, 'better', 25), folders={'restored': 'gone', 'gt': 'gone'})
    write_record(Path('moved') / 'one.json', record)
    assert cli.main(['report', 'moved', '-o', 'moved']) == 0


@pytest.mark.skipif(CHROMIUM is None, reason='Chromium is not installed')
def test_a_click_on_a_heading_sorts(runs):
    page = (runs / 'report.html').read_text()
    click = "<script>document.querySelectorAll('th button')[1].click()</script></body>"
    (runs / 'clicked.html').write_text(page.replace('</body>', click))
    command = [str(CHROMIUM), '--headless', '--no-sandbox', '--disable-gpu', '--dump-dom', str(runs / 'clicked.html')]
    document = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    first_table = document[document.index('<tbody>') : document.index('</tbody>')]
    values = re.findall(r'<tr[^>]*><td[^>]*>[^<]*</td><td data-value="([\d.]+)"', first_table)
    assert 'aria-sort="ascending"' in document
    assert len(values) == 12 and values == sorted(values, key=float)


@pytest.mark.parametrize('short', ['no_mmrb', 'no_freezed', 'no_local_d', 'no_finetune_freezed', 'no_face_preserving'])
def test_the_ablation_script_changes_what_the_option_file_changes(short):
    specification = importlib.util.spec_from_file_location('ablation', ROOT / 'benchmarks' / 'ablation.py')
    ablation = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(ablation)
    base = {
        'network_g': {'use_mmrb': True},
        'network_d': {'freeze_layers': 2},
        'network_d_component': {},
        'network_identity': {},
        'train': {'optim_g': {'lr_prior': 1.0}, 'component_opt': {}, 'identity_opt': {}},
    }
    changed = [keys for keys, _ in ablation.differences(base, ablation.apply_variant(base, short))]
    assert (
        changed
        == {
            'no_mmrb': [('network_g', 'use_mmrb')],
            'no_freezed': [('network_d', 'freeze_layers')],
            'no_local_d': [('network_d_component',), ('train', 'component_opt')],
            'no_finetune_freezed': [('network_d', 'freeze_layers'), ('train', 'optim_g', 'lr_prior')],
            'no_face_preserving': [('network_identity',), ('train', 'identity_opt')],
        }[short]
    )


@pytest.mark.parametrize(
    ('file', 'place', 'value'),
    [
        ('worse', ('folders',), {}),
        ('worse', ('hashes',), {'gt': 'x'}),
        ('worse', ('summaries', 'psnr', 'low'), 'x'),
        ('worse', ('poses', 0, 'count'), {}),
        ('worse', ('excluded',), [['z', 3]]),
        ('timing', ('timings', 0, 'median'), {}),
        ('timing', ('timings', 0, 'threads'), 'x'),
    ],
)
def test_values_of_another_kind_are_one_line_that_names_the_file(runs, capsys, file, place, value):
    path = runs.parent / 'runs' / f'{file}.json'
    content = json.loads(path.read_text())
    section = content
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    path.write_text(json.dumps(content))
    assert cli.main(['report', 'runs']) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and str(Path('runs') / path.name) in error


def test_names_in_any_letters_are_drawn_without_a_word(tmp_path, monkeypatch, capsys, recwarn):
    monkeypatch.chdir(tmp_path)
    for method in ('眼', r'$\frac$'):
        write_record(tmp_path / 'runs' / f'{ord(method[0])}.json', make_record(tmp_path, method, 20))
    assert cli.main(['report', 'runs']) == 0
    assert not recwarn.list
    text = (tmp_path / 'report/report.html').read_text(encoding='utf-8')
    assert text.count('眼</text>') and text.count(r'$\frac$</text>')
