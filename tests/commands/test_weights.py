"""`mmrbgan weights` and its fetching, against a server of this machine."""

import contextlib
import dataclasses
import hashlib
import http.server
import io
import shutil
import ssl
import subprocess
import threading

import gpen_reference as gpen
import pytest
import torch

from mmrbgan import cli
from mmrbgan_arch import load_network, releases
from mmrbgan_arch.support import fetch as fetching
from mmrbgan_arch.support import public_weights
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.fetch import FetchError, fetch, fetch_first, pin, source_of
from mmrbgan_arch.support.public_weights import PublicFile, find_weights

FILES = ('GPEN-BFR-512.pth', 'GPEN-BFR-512-D.pth')


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.files``; understands ranges; ends after ``server.bytes_left`` bytes, if that is set.

    ``server.redirects`` leads a path elsewhere, ``server.length`` is stated in the place of the true one, and in the
    middle of a file comes a pause of ``server.pause`` seconds.
    """

    def do_GET(self):
        server = self.server
        server.asked.append(dict(self.headers))
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header('Location', server.redirects[self.path])
            self.end_headers()
            return
        content = server.files.get(self.path.strip('/'))
        if content is None:
            self.send_error(404)
            return
        etag, start = f'"{hashlib.md5(content).hexdigest()}"', 0
        if 'Range' in self.headers and self.headers['If-Range'] == etag:
            start = int(self.headers['Range'].removeprefix('bytes=').rstrip('-'))
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header('ETag', etag)
        self.send_header('Content-Length', server.length or str(len(content) - start))
        self.end_headers()
        given = content[start:][: server.bytes_left]
        self.wfile.write(given[: len(given) // 2])
        server.stopped.wait(server.pause)
        with contextlib.suppress(OSError):
            self.wfile.write(given[len(given) // 2 :])

    def log_message(self, *arguments):
        pass


def bytes_of(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


@contextlib.contextmanager
def serving(host='127.0.0.1', context=None):
    with http.server.ThreadingHTTPServer((host, 0), Handler) as server:
        server.files, server.asked, server.redirects = {}, [], {}
        server.bytes_left, server.length, server.pause, server.stopped = None, None, 0, threading.Event()
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.url = f'{"https" if context else "http"}://{host}:{server.server_port}/'
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def mirror():
    with serving() as server:
        yield server


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, with the folder of raw weights inside."""
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path))
    return tmp_path / 'weights'


@pytest.fixture
def release(server, home, monkeypatch):
    """gpen-bfr-512 at the server of this machine."""
    server.files = dict(zip(FILES, map(bytes_of, (gpen.random_generator(), gpen.random_discriminator())), strict=True))
    for key in ('gpen_512', 'gpen_512_d'):
        move(monkeypatch, key, server.url)
    return server


def move(monkeypatch, key, *addresses):
    """Put the public file ``key`` at ``addresses``."""
    moved = dataclasses.replace(public_weights.FILES[key], address=addresses[0], mirrors=addresses[1:])
    monkeypatch.setitem(public_weights.FILES, key, moved)


def line_of(capsys):
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    return error


def test_get_gives_networks_that_load(release, home):
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 0
    assert load_network(home / 'gpen-bfr-512/net_g.pth').out_size == 32
    assert load_network(home / 'gpen-bfr-512/net_d.pth')


def test_get_says_that_no_licence_is_stated(release, capsys):
    cli.main(['weights', 'get', 'gpen-bfr-512'])
    assert 'states no licence' in capsys.readouterr().out


@pytest.mark.parametrize('trouble', ['slow', 'cut off', 'silent', 'page', 'another network', 'damaged', 'redirected'])
def test_get_gives_the_networks_whatever_the_authors_server_does(release, mirror, home, monkeypatch, trouble):
    true = release.files
    mirror.files = dict(true)
    for key in ('gpen_512', 'gpen_512_d'):
        move(monkeypatch, key, release.url, mirror.url)
    if trouble == 'slow':
        release.pause = 0.2
    elif trouble == 'silent':
        monkeypatch.setattr(fetching, 'TIMEOUT', 0.3)
        release.pause, release.bytes_left = 30, 10
    elif trouble == 'cut off':
        release.bytes_left = max(map(len, true.values())) // 3
    elif trouble == 'redirected':
        release.redirects = {f'/{name}': f'{mirror.url}{name}' for name in FILES}
    else:
        wrong = {'page': b'<html>', 'another network': bytes_of({'x': torch.zeros(1)})}
        release.files = {name: wrong.get(trouble, content[: len(content) // 2]) for name, content in true.items()}
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 0
    assert all((home / name).read_bytes() == content for name, content in true.items())
    assert load_network(releases.find('gpen-bfr-512')).out_size == 32
    assert bool(mirror.asked) == (trouble not in ('slow', 'cut off'))


def test_get_goes_on_where_the_command_before_was_cut_off(release, home, capsys):
    whole = len(release.files[FILES[0]])
    release.bytes_left = 1 + whole // 10
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 2
    assert 'run it again to go on' in line_of(capsys)
    had = (home / f'{FILES[0]}.part').stat().st_size
    assert 0 < had < whole
    release.bytes_left = None
    release.asked.clear()
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 0
    assert release.asked[0]['Range'] == f'bytes={had}-'
    assert (home / FILES[0]).read_bytes() == release.files[FILES[0]]
    assert list(home.glob('*.part*')) == []


def test_second_get_asks_nothing(release):
    releases.get('gpen-bfr-512')
    release.asked.clear()
    releases.get('gpen-bfr-512')
    assert release.asked == []


def test_find_names_the_command_until_the_network_is_there(release, home):
    with pytest.raises(UsageError, match='mmrbgan weights get gpen-bfr-512'):
        releases.find('gpen-bfr-512')
    releases.get('gpen-bfr-512')
    assert releases.find('gpen-bfr-512') == home / 'gpen-bfr-512/net_g.pth'
    assert releases.find('other.pth') is None


def test_first_sha256_is_pinned(release, home):
    releases.get('gpen-bfr-512')
    note = (home / f'{FILES[0]}.sha256').read_text()
    assert note == f'{hashlib.sha256(release.files[FILES[0]]).hexdigest()}  {FILES[0]}\n'


def test_other_content_at_a_later_fetch_is_refused(release, home, capsys):
    releases.get('gpen-bfr-512')
    (home / FILES[0]).unlink()
    release.files[FILES[0]] = bytes_of(gpen.random_generator(seed=5))
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 2
    assert 'SHA-256' in line_of(capsys)


def test_a_page_in_place_of_the_weights_is_neither_kept_nor_pinned(release, home, capsys):
    true = release.files[FILES[0]]
    release.files[FILES[0]] = b'<html>log in</html>'
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 2
    assert "not the file that it should be (it begins with '<html>log in</html>'" in line_of(capsys)
    assert sorted(path.name for path in home.iterdir() if path.is_file()) == [FILES[1], f'{FILES[1]}.sha256']
    release.files[FILES[0]] = true
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 0


def test_files_put_there_by_hand_are_never_removed(release, home, capsys):
    home.mkdir()
    for name in FILES:
        (home / name).write_bytes(b'no weights')
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 2
    assert 'removed' not in line_of(capsys)
    assert sorted(path.name for path in home.iterdir()) == sorted(FILES)


def test_a_cache_folder_that_cannot_be_made_is_one_line(release, tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path / 'file'))
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 2
    line = line_of(capsys)
    assert 'could not be fetched' in line and str(tmp_path / 'file') in line and 'MMRBGAN_HOME' in line


def test_offline_never_asks_and_says_what_to_do_by_hand(release, home, capsys):
    assert cli.main(['weights', 'get', 'gpen-bfr-512', '--offline']) == 2
    line = line_of(capsys)
    assert all(release.url + name in line for name in FILES)
    assert str(home) in line
    assert release.asked == []


def test_files_put_there_by_hand_are_converted_offline(release, home):
    home.mkdir()
    for name, content in release.files.items():
        (home / name).write_bytes(content)
    assert cli.main(['weights', 'get', 'gpen-bfr-512', '--offline']) == 0
    assert load_network(home / 'gpen-bfr-512/net_g.pth').out_size == 32
    assert release.asked == []


def test_no_network_is_one_line_with_the_way_out(release, home, capsys):
    release.files = {}
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 2
    line = line_of(capsys)
    assert release.url + FILES[0] in line
    assert str(home) in line


def test_only_what_is_still_missing_is_to_be_fetched_by_hand(release, home, capsys):
    del release.files[FILES[1]]
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 2
    line = line_of(capsys)
    assert release.url + FILES[1] in line and release.url + FILES[0] not in line
    assert (home / FILES[0]).is_file()


def test_unreachable_address_is_a_fetch_error(tmp_path):
    with pytest.raises(FetchError, match='refused'):
        fetch('http://127.0.0.1:9/file', tmp_path / 'file')


def test_unknown_name_gives_the_nearest(home, capsys):
    assert cli.main(['weights', 'get', 'gpen-brf-512']) == 2
    assert "did you mean 'gpen-bfr-512'" in line_of(capsys)


def test_list_shows_names_and_addresses(home, capsys):
    assert cli.main(['weights', 'list']) == 0
    out = capsys.readouterr().out
    listed = releases.RELEASES.items()
    assert all(name in out and all(file.url in out for file in release.takes) for name, release in listed)
    assert 'GPEN-BFR-512.pth (vinthony/video-retalking)' in out


def test_interrupted_fetch_leaves_no_file_and_goes_on_where_it_stopped(server, tmp_path):
    server.files['big'] = bytes(range(256)) * 1000
    server.bytes_left = 100_000
    with pytest.raises(FetchError, match='100000 of 256000'):
        fetch(server.url + 'big', tmp_path / 'big')
    assert not (tmp_path / 'big').exists()
    server.bytes_left = None
    fetch(server.url + 'big', tmp_path / 'big')
    assert server.asked[-1]['Range'] == 'bytes=100000-'
    assert (tmp_path / 'big').read_bytes() == server.files['big']
    assert [path.name for path in tmp_path.iterdir()] == ['big']


def test_part_of_an_older_version_is_thrown_away(server, tmp_path):
    server.files['big'], server.bytes_left = b'old' * 1000, 1000
    with pytest.raises(FetchError):
        fetch(server.url + 'big', tmp_path / 'big')
    server.files['big'], server.bytes_left = b'new' * 1000, None
    fetch(server.url + 'big', tmp_path / 'big')
    assert (tmp_path / 'big').read_bytes() == b'new' * 1000


def test_part_that_is_already_whole_is_fetched_again(server, tmp_path):
    server.files['big'] = b'x' * 1000
    (tmp_path / 'big.part').write_bytes(b'x' * 1000)
    (tmp_path / 'big.part.tag').write_text(f'{server.url}big\n"{hashlib.md5(b"x" * 1000).hexdigest()}"')
    fetch(server.url + 'big', tmp_path / 'big')
    assert (tmp_path / 'big').read_bytes() == b'x' * 1000


def test_pin_accepts_the_same_and_refuses_another_content(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'one')
    assert pin(path) == pin(path) == hashlib.sha256(b'one').hexdigest()
    path.write_bytes(b'two')
    with pytest.raises(UsageError, match=r'file\.sha256'):
        pin(path)


def test_a_read_only_cache_is_not_pinned_and_serves(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, 'Permission denied')

    (tmp_path / 'file').write_bytes(b'one')
    monkeypatch.setattr('pathlib.Path.write_text', refuse)
    assert pin(tmp_path / 'file') == hashlib.sha256(b'one').hexdigest()


def test_arcface_is_checked_and_converted(server, home, monkeypatch):
    from mmrbgan_arch import MMRBGANArcFace

    server.files['arcface_resnet18.pth'] = bytes_of(MMRBGANArcFace((1, 1, 1, 1)).state_dict())
    move(monkeypatch, 'arcface', server.url)
    assert [path.name for path in releases.get('arcface-resnet18')] == ['net_identity.pth']


def test_weights_of_a_loss_or_metric_come_whole_and_pinned(server, home):
    server.files['vgg.pth'] = b'\x80vgg' * 1000
    server.bytes_left = 0
    with pytest.raises(UsageError, match=r'run it again to go on\); fetch it by hand and name it in loss.weights'):
        find_weights(PublicFile('vgg.pth', server.url), None, 'loss.weights', 'switch it off')
    server.bytes_left = None
    assert find_weights(PublicFile('vgg.pth', server.url), None, 'loss.weights', 'switch it off') == home / 'vgg.pth'
    assert (home / 'vgg.pth').read_bytes() == server.files['vgg.pth']
    assert (home / 'vgg.pth.sha256').is_file()


def test_weights_that_cannot_be_had_name_the_ways_out(server, home):
    with pytest.raises(UsageError, match='switch it off'):
        find_weights(PublicFile('vgg.pth', server.url), None, 'loss.weights', 'switch it off')
    assert not (home / 'vgg.pth').exists()


def test_a_connection_that_breaks_is_taken_up_again(server, tmp_path):
    server.files['big'], server.bytes_left = bytes(range(256)) * 1000, 100_000
    fetch_first([server.url + 'big'], tmp_path / 'big')
    assert (tmp_path / 'big').read_bytes() == server.files['big']
    assert [request.get('Range') for request in server.asked] == [None, 'bytes=100000-', 'bytes=200000-']


def test_a_connection_that_stalls_is_left_for_the_mirror(server, mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, 'TIMEOUT', 0.1)
    server.files['big'] = mirror.files['big'] = bytes(range(256)) * 1000
    server.pause, server.bytes_left = 5, 10
    assert fetch_first([server.url + 'big', mirror.url + 'big'], tmp_path / 'big') == mirror.url + 'big'
    assert (tmp_path / 'big').read_bytes() == mirror.files['big']


def test_a_part_of_one_address_is_not_gone_on_with_at_another(server, mirror, tmp_path):
    server.files['big'] = mirror.files['big'] = b'same' * 1000
    server.bytes_left = 1000
    with pytest.raises(FetchError):
        fetch(server.url + 'big', tmp_path / 'big')
    fetch(mirror.url + 'big', tmp_path / 'big')
    assert 'Range' not in mirror.asked[0]
    assert (tmp_path / 'big').read_bytes() == mirror.files['big']


def test_weights_come_from_the_mirror_where_the_authors_address_is_dead_or_wrong(server, mirror, home, monkeypatch):
    content = bytes_of(gpen.random_generator())
    mirror.files[FILES[0]] = content
    for wrong in (None, b'<html>moved</html>'):
        server.files = {} if wrong is None else {FILES[0]: wrong}
        move(monkeypatch, 'gpen_512', server.url, mirror.url)
        public_weights.FILES['gpen_512'].fetch(home)
        assert (home / FILES[0]).read_bytes() == content
        (home / FILES[0]).unlink()


def test_every_address_that_failed_is_named_with_its_reason(server, mirror, tmp_path):
    with pytest.raises(FetchError) as caught:
        fetch_first([server.url + 'x', mirror.url + 'x'], tmp_path / 'x')
    assert all(f'127.0.0.1:{place.server_port}: Not Found' in str(caught.value) for place in (server, mirror))


def test_a_generator_without_its_discriminator_restores(release, home, capsys):
    del release.files[FILES[1]]
    assert cli.main(['weights', 'get', 'gpen-bfr-512']) == 2
    assert line_of(capsys).endswith('net_g.pth of gpen-bfr-512 can be used without it\n')
    assert load_network(releases.find('gpen-bfr-512')).out_size == 32


def test_a_file_that_is_not_what_its_name_states_is_not_kept(server, home):
    content = bytes_of({})
    digest = hashlib.sha256(content).hexdigest()[:8]
    true = PublicFile(f'vgg19-{digest}.pth', server.url)
    other = PublicFile('vgg19-dcbb9e9d.pth', server.url)
    server.files = {true.name: content, other.name: content}
    with pytest.raises(FetchError, match=f'its SHA-256 begins with {digest}, its authors say dcbb9e9d'):
        other.fetch(home)
    assert list(home.glob(f'{other.name}*')) == []
    assert true.fetch(home).read_bytes() == content


@pytest.mark.parametrize('length', ['abc', '-1', '1e3', '\xb2'])
def test_a_damaged_length_is_refused(server, tmp_path, length):
    server.files['big'], server.length = b'x' * 1000, length
    with pytest.raises(FetchError, match='states a length of'):
        fetch(server.url + 'big', tmp_path / 'big')
    assert not (tmp_path / 'big').exists()


def test_a_redirect_is_followed_and_gone_on_with(server, mirror, tmp_path):
    server.redirects['/here'] = mirror.url + 'there'
    mirror.files['there'], mirror.bytes_left = b'x' * 1000, 600
    fetch_first([server.url + 'here'], tmp_path / 'file')
    assert (tmp_path / 'file').read_bytes() == mirror.files['there']


def test_a_circle_of_redirects_ends(server, tmp_path):
    server.redirects['/here'] = server.url + 'here'
    with pytest.raises(FetchError, match='redirect'):
        fetch(server.url + 'here', tmp_path / 'file')


@pytest.mark.skipif(shutil.which('openssl') is None, reason='openssl makes the certificate')
def test_a_redirect_from_https_to_http_is_refused_to_https_followed(mirror, tmp_path, monkeypatch):
    made = ('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-keyout', 'key', '-out', 'cert')
    names = ('-addext', 'subjectAltName=DNS:localhost')
    subprocess.run(['openssl', *made, *names], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / 'cert', tmp_path / 'key')
    monkeypatch.setenv('SSL_CERT_FILE', str(tmp_path / 'cert'))
    mirror.files['file'] = b'x'
    with serving('localhost', context) as secure:
        secure.files['file'] = b'y'
        secure.redirects = {'/open': mirror.url + 'file', '/secure': secure.url + 'file'}
        with pytest.raises(FetchError, match='redirected from https to http://'):
            fetch(secure.url + 'open', tmp_path / 'file')
        assert mirror.asked == []
        fetch(secure.url + 'secure', tmp_path / 'file')
        assert (tmp_path / 'file').read_bytes() == b'y'


def test_a_source_is_named_by_its_repository_or_host():
    assert source_of('https://github.com/vinthony/video-retalking/releases/x') == 'vinthony/video-retalking'
    assert source_of('https://download.pytorch.org/models/x') == 'download.pytorch.org'


def test_names_state_the_digests_that_their_authors_published():
    stated = {key: file.digest for key, file in public_weights.FILES.items() if file.digest}
    assert stated == {
        'vgg19': 'dcbb9e9d',
        'mobilenet_v2': 'b0353104',
        'efficientnet_lite0': '57934424',
        'lpips_alex': '7be5be79',
        'lpips_vgg': '397923af',
        'inception': '6726825d',
    }
