"""Option files by name, from the checkout and from the wheel, and copies to edit."""

import pytest

from mmrbgan import cli
from mmrbgan.running.options import option_files
from mmrbgan_arch import basicsr_bridge


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package of ours as the wheel lays it out."""
    package = tmp_path / 'site-packages/mmrbgan'
    (package / 'option_files/ablation').mkdir(parents=True)
    (package / 'option_files/train_one.yml').write_text('# Purpose:  one.\nname: one\n')
    (package / 'option_files/ablation/two.yml').write_text('name: two\n')
    monkeypatch.setattr(option_files, 'PACKAGE', package)
    return package / 'option_files'


def test_a_name_is_a_file_that_ships(wheel):
    assert option_files.names() == ['ablation/two', 'train_one']
    assert option_files.find('train_one') == option_files.find('train_one.yml') == wheel / 'train_one.yml'
    assert option_files.find('ablation/two') == wheel / 'ablation/two.yml'


def test_the_users_own_file_of_that_name_comes_first(wheel, here):
    (here / 'train_one.yml').write_text('name: mine\n')
    assert str(option_files.find('train_one.yml')) == 'train_one.yml'


def test_the_checkouts_files_are_found_by_name():
    assert option_files.find('train_mmrbgan_quick').is_file()


def test_an_unknown_name_gives_the_nearest(wheel, capsys):
    assert cli.main(['options', 'copy', 'train_on']) == 2
    assert (
        capsys.readouterr().err == "error: no option file that ships is called 'train_on'; did you mean 'train_one'?\n"
    )


def test_a_copy_is_written_once_and_never_over_another(wheel, here, capsys):
    assert cli.main(['options', 'copy', 'train_one']) == 0
    assert (here / 'train_one.yml').read_text().endswith('name: one\n')
    assert '`basicsr train -opt train_one.yml`' in capsys.readouterr().out
    (here / 'train_one.yml').write_text('edited')
    assert cli.main(['options', 'copy', 'train_one']) == 2
    assert (here / 'train_one.yml').read_text() == 'edited'


def test_list_says_what_each_is_for(wheel, capsys):
    assert cli.main(['options', 'list']) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ['train_one', 'one.']


@pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
def test_train_takes_a_name(here, monkeypatch):
    """BasicSR copies the file beside the run, too."""
    import tiny_run
    import yaml

    tiny_run.make_faces('faces')
    (here / 'options').mkdir()
    (here / 'options/tiny.yml').write_text(yaml.safe_dump(tiny_run.options(path={})))
    monkeypatch.setattr(option_files, 'PACKAGE', here / 'mmrbgan')
    assert cli.main(['train', '-opt', 'tiny', '--force_yml', 'train:total_iter=1']) == 0
    assert list((here / 'experiments').glob('*/models/net_g_*.pth'))
