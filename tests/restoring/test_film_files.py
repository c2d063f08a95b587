"""Films as files: sound, times, rotation and all else survive; what cannot be read is one line; runs are resumed."""

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from urllib.parse import unquote

import numpy as np
import pytest

av = pytest.importorskip('av', reason='PyAV is not installed')

from fractions import Fraction  # noqa: E402

from tiny_film import SIZE, picture, planes_of, read_film, restorer, sound_packets, write_film  # noqa: E402

from mmrbgan import Settings  # noqa: E402
from mmrbgan.restoring.film import film_job  # noqa: E402
from mmrbgan.restoring.film.film_job import FilmFlags, FilmJob, StopSignals  # noqa: E402
from mmrbgan.restoring.film.film_restorer import FilmSettings  # noqa: E402
from mmrbgan.restoring.film.reading import describe_film, open_film, read_frames  # noqa: E402
from mmrbgan_arch.support.errors import UsageError  # noqa: E402
from mmrbgan_data.images import UnreadableImageError  # noqa: E402

CHROMIUM = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('chromium-browser')
PAGE = """<video id=v src="{name}" muted autoplay></video><script>
v.onended = () => fetch('/told?ended at ' + v.currentTime + ', ' + v.videoWidth + ' wide');
v.onerror = () => fetch('/told?' + v.error.message);
</script>"""


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    return restorer(tmp_path_factory.mktemp('weights'))


def run(network, film, output, settings=None, film_settings=None, stop=None, **flags):
    job = FilmJob(film, output, network, settings or Settings(), film_settings or FilmSettings(), FilmFlags(**flags))
    return job.run(stop or StopSignals())


def pictures(count, **options):
    return [picture(t, **options) for t in range(count)]


def test_sound_and_times_are_the_films_and_the_face_changed(network, tmp_path):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(30))
    outcome = run(network, film, tmp_path / 'out' / 'film', preview=True, json=True)
    assert outcome.output == tmp_path / 'out' / 'film.mp4' and outcome.frames == 30
    assert sound_packets(outcome.output) == sound_packets(film)
    (before, times), (after, new_times) = read_film(film), read_film(outcome.output)
    assert new_times == times
    assert np.abs(np.int16(after[15]) - before[15]).max() > 30
    preview, _ = read_film(tmp_path / 'out' / 'film_preview.mp4')
    assert len(preview) == 30 and preview[0].shape == (SIZE[1], 2 * SIZE[0], 3)
    tracks = film_job.read_track_file(str(tmp_path / 'out' / 'film.json'))
    assert tracks == {str(film): frozenset()}
    assert not list(tmp_path.glob('out/.*.parts'))


def test_without_loss_pixels_outside_the_face_are_equal(network, tmp_path):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(12))
    outcome = run(network, film, tmp_path / 'out', lossless=True)
    assert outcome.output.suffix == '.mkv'
    changed = 0
    for old, new in zip(read_frames(describe_film(film)), read_frames(describe_film(outcome.output)), strict=True):
        for a, b in zip(old.video.to_ndarray()[:144], new.video.to_ndarray()[:144], strict=True):
            assert (a[:20] == b[:20]).all() and (a[-20:] == b[-20:]).all()
            changed += (a != b).sum()
    assert changed > 1000


def test_variable_frame_rate_keeps_its_times(network, tmp_path):
    rng = np.random.default_rng(1)
    pts = [int(p) for p in np.cumsum(rng.integers(1, 9000, 24))]
    for name in ('film.mp4', 'film.mkv'):
        write_film(tmp_path / name, pictures(24), pts=pts, time_base=Fraction(1, 90000))
        outcome = run(network, tmp_path / name, tmp_path / 'out', segment=7)
        assert read_film(outcome.output)[1] == read_film(tmp_path / name)[1]
        outcome.output.unlink()


def test_a_rotated_film_stays_rotated_and_its_face_is_found_upright(network, tmp_path):
    film = tmp_path / 'film.mp4'
    stored = [np.ascontiguousarray(np.rot90(image)) for image in pictures(10)]  # to be turned clockwise
    write_film(film, stored, rotation=-90)
    assert describe_film(film).rotation == 270
    outcome = run(network, film, tmp_path / 'out')
    assert outcome.tracks == 1
    assert describe_film(outcome.output).rotation == 270
    assert describe_film(outcome.output).size == (SIZE[1], SIZE[0])


def test_pixel_aspect_colours_metadata_chapters_and_two_sounds_are_kept(network, tmp_path):
    film = tmp_path / 'film.mkv'

    def setup(container, stream):
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 6
        stream.codec_context.color_primaries, stream.codec_context.color_trc = 6, 6
        container.metadata['title'] = 'A walk'
        chapter = {'id': 1, 'start': 0, 'end': 400, 'time_base': Fraction(1, 1000), 'metadata': {'title': 'one'}}
        container.set_chapters([chapter])

    write_film(film, pictures(10), sounds=2, setup=setup)
    outcome = run(network, film, tmp_path / 'out')
    assert [sound_packets(outcome.output, n) == sound_packets(film, n) for n in (0, 1)] == [True, True]
    with av.open(str(film)) as old, av.open(str(outcome.output)) as new:
        assert [s.metadata.get('language') for s in new.streams.audio] == ['eng', 'fra']
        assert new.metadata['title'] == 'A walk'
        assert [c['metadata'] for c in new.chapters()] == [{'title': 'one'}]
        a, b = old.streams.video[0], new.streams.video[0]
        for name in ('color_range', 'colorspace', 'color_primaries', 'color_trc', 'sample_aspect_ratio'):
            assert getattr(a.codec_context, name) == getattr(b.codec_context, name), name


def rich_film(path):
    """Write a Matroska film with subtitles, two chapters and an attachment."""
    write_film(path.with_suffix('.mp4'), pictures(10))
    path.with_suffix('.srt').write_text('1\n00:00:00,100 --> 00:00:00,300\nHello\n')
    names = (path.with_suffix('.mp4'), path.with_suffix('.srt'))
    with av.open(str(names[0])) as film, av.open(str(names[1])) as words, av.open(str(path), 'w') as target:
        streams = {id(s): target.add_stream_from_template(s) for s in (*film.streams, *words.streams)}
        target.add_attachment('note.txt', 'text/plain', b'by hand')
        pair = [(0, 200, 'one'), (200, 400, 'two')]
        target.set_chapters(
            [
                {'id': i, 'start': a, 'end': b, 'time_base': Fraction(1, 1000), 'metadata': {'title': name}}
                for i, (a, b, name) in enumerate(pair, 1)
            ]
        )
        packets = [packet for source in (words, film) for packet in source.demux() if packet.dts is not None]
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            packet.stream = streams[id(packet.stream)]
            target.mux_one(packet)


COLOURS = {'color_range': 1, 'colorspace': 9, 'color_primaries': 9, 'color_trc': 16}


def about(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        last = max((p for p in container.demux(stream) if p.pts is not None), key=lambda p: p.pts)
        colours = {name: getattr(context, name) for name in COLOURS}
        return context.name, colours, Fraction(stream.sample_aspect_ratio or 1), stream.metadata.get('timecode'), last


@pytest.mark.parametrize(
    ('codec', 'pixels', 'name', 'flags'),
    [
        ('libx264', 'yuv420p', 'film.mov', {}),
        ('libx264', 'yuv420p', 'film.mp4', {'codec': 'libvpx-vp9'}),
        ('libx264', 'yuv420p', 'film.mp4', {'lossless': True}),
        ('libsvtav1', 'yuv420p', 'film.mp4', {}),
        ('prores_ks', 'yuv422p10le', 'film.mov', {}),
    ],
)
def test_colours_pixels_timecode_and_times_survive_every_codec(network, tmp_path, codec, pixels, name, flags):
    def setup(container, stream):
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for key, value in COLOURS.items():
            setattr(stream.codec_context, key, value)
        stream.metadata.update({'timecode': '01:00:00:00'} if name.endswith('.mov') else {})

    try:
        av.Codec(codec, 'w')
    except ValueError:
        pytest.skip(f'this PyAV has no {codec}')
    film, times = tmp_path / name, [5120 + 512 * t + 700 * (t > 3) for t in range(7)]
    write_film(film, pictures(7), codec=codec, pixel_format=pixels, pts=times, sounds=0, setup=setup, options={})
    outcome = run(network, film, tmp_path / 'out' / 'film', **flags)
    (old, colours, shape, timecode, end), (new, *kept, last) = about(film), about(outcome.output)
    assert colours == COLOURS and shape == Fraction(4, 3)
    assert new == {'libvpx-vp9': 'vp9', None: 'ffv1' if flags else old}[flags.get('codec')]
    if flags.get('lossless'):  # Matroska has the shape of pixels, but PyAV cannot set it
        assert kept == [colours, 1, None] and 'without the shape of its pixels (4/3)' in outcome.notes[0]
    else:
        assert kept == [colours, shape, timecode] and not outcome.notes
    shifts = [abs(a - b) for a, b in zip(read_film(outcome.output)[1], read_film(film)[1], strict=True)]
    assert max(shifts) <= (Fraction(1, 2000) if flags.get('lossless') else 0)  # Matroska counts in milliseconds
    assert flags or last.duration * last.time_base == end.duration * end.time_base


@pytest.mark.parametrize(
    ('name', 'flags', 'words'),
    [
        ('out.ts', {}, r'out\.ts: films are written as \.mp4, \.m4v, \.mov, \.mkv, \.webm'),
        ('out.webm', {}, r'\.webm holds no libx264; take \.mkv, or --codec libvpx-vp9'),
        ('out.mp4', {'crf': float('nan')}, '--crf nan: must be from 0'),
        ('out.mp4', {'crf': -5.0}, '--crf -5: must be from 0'),
        ('out.mp4', {'codec': 'dnxhd'}, '--codec dnxhd: cannot encode this film .*; name another encoder'),
    ],
)
def test_what_cannot_be_written_is_one_line(network, tmp_path, name, flags, words):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(2))
    with pytest.raises(UsageError, match=words):
        run(network, film, tmp_path / name, **flags)
    assert not (tmp_path / name).exists()


def test_subtitles_chapters_and_attachments_are_kept_and_what_mp4_does_not_hold_is_told(network, tmp_path):
    rich_film(tmp_path / 'film.mkv')

    def told(path):
        with av.open(str(path)) as film:
            words = (
                [bytes(packet) for packet in film.demux(subtitles=0) if packet.size] if film.streams.subtitles else []
            )
            files = [(s.name, s.data) for s in film.streams if s.type == 'attachment']
            return words, files, [chapter['metadata']['title'] for chapter in film.chapters()]

    outcome = run(network, tmp_path / 'film.mkv', tmp_path / 'out', preview=True)
    assert (
        told(outcome.output) == ([b'Hello'], [('note.txt', b'by hand')], ['one', 'two']) == told(tmp_path / 'film.mkv')
    )
    assert len(read_film(tmp_path / 'out_preview.mp4')[0]) == 10
    as_mp4 = run(network, tmp_path / 'film.mkv', tmp_path / 'as.mp4')
    assert told(as_mp4.output)[2] == ['one', 'two'] and not told(as_mp4.output)[1]
    assert any('attachment' in note for note in as_mp4.notes) and any('subtitle' in note for note in as_mp4.notes)


def test_whole_frames_of_two_fields_keep_their_times_and_woven_ones_are_told(network, tmp_path):
    film = tmp_path / 'film.mp4'
    fields = pictures(24)
    woven = [image.copy() for image in fields[::2]]
    for image, later in zip(woven, fields[1::2], strict=True):
        image[1::2] = later[1::2]
    options = {'crf': '12', 'x264-params': 'interlaced=1:tff=1'}
    write_film(film, woven, pts=[1024 * t for t in range(12)], options=options)
    kept = run(network, film, tmp_path / 'kept')
    whole = run(network, film, tmp_path / 'whole', film_settings=FilmSettings(deinterlace=True))
    assert any('--deinterlace' in note for note in kept.notes) and not any('--deinterlace' in n for n in whole.notes)
    (frames, times), (before, given) = read_film(whole.output), read_film(film)
    assert times == given

    def combs(images):
        grey = np.float32([image.mean(2) for image in images[2:-2]])
        return np.abs(grey[:, 1:-1] - (grey[:, :-2] + grey[:, 2:]) / 2).mean()

    assert combs(frames) < 0.8 * combs(before)


@pytest.mark.parametrize('pixel_format', ['yuv420p', 'yuv420p10le'])
def test_hevc_stays_hevc(network, tmp_path, pixel_format):
    film = tmp_path / 'film.mp4'
    write_film(
        film, pictures(6), codec='libx265', pixel_format=pixel_format, options={'x265-params': 'log-level=error'}
    )
    outcome = run(network, film, tmp_path / 'out')
    info = describe_film(outcome.output)
    assert (info.codec, info.pixel_format) == ('hevc', pixel_format)
    assert read_film(outcome.output)[1] == read_film(film)[1]


def test_no_sound_and_a_single_frame(network, tmp_path):
    film = tmp_path / 'film.mov'
    write_film(film, pictures(1), sounds=0)
    outcome = run(network, film, tmp_path / 'out')
    assert outcome.output.suffix == '.mov' and outcome.frames == 1 and outcome.tracks == 1
    assert read_film(outcome.output)[1] == read_film(film)[1]


def test_odd_sizes_and_ten_bits_stay(network, tmp_path):
    write_film(tmp_path / 'odd.mkv', pictures(4, size=(641, 359)), codec='ffv1', options={})
    odd = run(network, tmp_path / 'odd.mkv', tmp_path / 'odd_out')
    assert describe_film(odd.output).size == (641, 359)
    write_film(tmp_path / 'odd.avi', pictures(4, size=(641, 359)), codec='mpeg4', options={})
    assert describe_film(run(network, tmp_path / 'odd.avi', tmp_path / 'o').output).size == (641, 359)
    write_film(tmp_path / 'deep.mp4', pictures(4), pixel_format='yuv420p10le')
    assert describe_film(run(network, tmp_path / 'deep.mp4', tmp_path / 'p').output).pixel_format == 'yuv420p10le'


def test_a_truncated_film_is_restored_as_far_as_it_goes_and_that_is_told(network, tmp_path, caplog):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(40), options={'crf': '20', 'g': '5', 'preset': 'fast'})
    whole = tmp_path / 'whole.mp4'
    with av.open(str(film)) as source, av.open(str(whole), 'w', options={'movflags': 'faststart'}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    film.write_bytes(whole.read_bytes()[: int(0.7 * whole.stat().st_size)])
    outcome = run(network, film, tmp_path / 'out')
    assert 5 < outcome.frames < 40 and len(read_film(outcome.output)[0]) == outcome.frames
    assert 'truncated' in caplog.text


@pytest.mark.parametrize('kind', ['index', 'picture', 'text', 'sound'])
def test_what_is_no_film_is_one_line(kind, tmp_path):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(3))
    if kind == 'index':
        film.write_bytes(film.read_bytes()[: film.read_bytes().index(b'moov') - 4])
    elif kind == 'picture':
        from PIL import Image

        Image.fromarray(picture(0)).save(film, 'PNG')
    elif kind == 'text':
        film.write_text('Once upon a time')
    else:
        with av.open(str(film)) as source, av.open(str(tmp_path / 's.mp4'), 'w') as target:
            stream = target.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        (tmp_path / 's.mp4').replace(film)
    words = {'index': 'moov', 'picture': 'a picture', 'text': 'not a film', 'sound': 'no moving picture'}
    with pytest.raises(UnreadableImageError, match=words[kind]) as found:
        open_film(film)
    assert str(found.value).startswith(f'{film}: ') and '\n' not in str(found.value)


class Killed(BaseException):
    pass


def test_killed_at_any_frame_and_resumed_the_frames_are_the_same_bit_for_bit(network, tmp_path, monkeypatch):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(37))
    options = {'codec': 'ffv1', 'segment': 10}
    whole = run(network, film, tmp_path / 'whole', **options)
    add, left = film_job._Writers.add, [0]

    def dies(self, each):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        add(self, each)

    def dropped(self):  # a killed process leaves its unfinished segment behind
        pass

    with monkeypatch.context() as patch:
        patch.setattr(film_job._Writers, 'add', dies)
        patch.setattr(film_job._Writers, 'drop', dropped)
        for frames in (13, 4, 11, 9):
            left[0] = frames
            with pytest.raises(Killed):
                run(network, film, tmp_path / 'out', resume=True, **options)
    assert len(list((tmp_path / '.out.mkv.parts').glob('*.nut'))) >= 2
    resumed = run(network, film, tmp_path / 'out', resume=True, **options)
    assert planes_of(resumed.output) == planes_of(whole.output)
    # Matroska has no times below 0, at which the encoder's first packet begins.
    assert [sound for _, sound in sound_packets(resumed.output)] == [sound for _, sound in sound_packets(film)]


def test_an_ended_run_leaves_a_playable_part_and_goes_on(network, tmp_path):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(35))

    class StopsSoon(StopSignals):
        asked = 0

        @property
        def status(self):
            self.asked += 1
            return 143 if self.asked > 18 else 0

        @status.setter
        def status(self, _):
            pass

    outcome = run(network, film, tmp_path / 'out', stop=StopsSoon(), segment=10)
    assert outcome.status == 143 and len(read_film(outcome.output)[0]) == outcome.frames < 35
    sound = sound_packets(outcome.output)
    assert sound == sound_packets(film)[: len(sound)] and sound[-1][0] < outcome.frames / 25
    resumed = run(network, film, tmp_path / 'out', segment=10, resume=True)
    assert resumed.frames == 35 and sound_packets(resumed.output) == sound_packets(film)
    assert read_film(resumed.output)[1] == read_film(film)[1]


def test_a_second_job_into_the_same_file_is_one_line(network, tmp_path):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(4))
    code = (
        'import sys, time; from mmrbgan_arch.support.folder_lock import FolderLock; '
        "lock = FolderLock(sys.argv[1], ''); lock.take(); print('taken', flush=True); time.sleep(60)"
    )
    command = [sys.executable, '-c', code, str(tmp_path / '.out.mp4.parts')]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        first.stdout.readline()
        with pytest.raises(UsageError, match=r'\.out\.mp4\.parts: is being written by process \d+ on .*another output'):
            run(network, film, tmp_path / 'out.mp4')
        first.kill()
    assert run(network, film, tmp_path / 'out.mp4').frames == 4
    assert {path.name for path in tmp_path.iterdir()} == {'film.mp4', 'out.mp4'}


def test_resuming_with_other_settings_begins_anew(network, tmp_path):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(6))
    job = FilmJob(film, tmp_path / 'out', network, Settings(), FilmSettings(), FilmFlags(resume=True))
    job.parts.mkdir()
    (job.parts / 'run.json').write_text('other')
    assert any('begun anew' in note for note in job.run(StopSignals()).notes)


def test_faces_of_a_report_are_left_alone(network, tmp_path):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(8))
    job = FilmJob(film, tmp_path / 'out', network, Settings(), FilmSettings(), FilmFlags(lossless=True), frozenset({1}))
    outcome = job.run(StopSignals())
    assert outcome.tracks == 0 and planes_of(outcome.output) == planes_of(film)
    assert job.report(8)['films'][0]['tracks'][0]['skipped'] == 'left alone by the faces file'


def test_without_pyav_the_line_says_what_to_install(monkeypatch):
    import sys

    from mmrbgan.restoring.film.reading import import_av

    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(ValueError, match=r"pip install 'mmrbgan\[video\]'"):
        import_av()


def test_scale_enlarges_and_a_guard_lowers_the_strength(network, tmp_path, monkeypatch):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(6))
    outcome = run(network, film, tmp_path / 'out', Settings(scale=1.5))
    assert describe_film(outcome.output).size == (288, 216)
    settings = dataclasses.replace(Settings(), min_identity=0.5)
    monkeypatch.setattr(network, '_similarity', lambda a, b: np.array([1 - np.abs(np.float32(a) - b).mean() / 50]))
    job = FilmJob(film, tmp_path / 'guarded', network, settings, FilmSettings(), FilmFlags())
    job.run(StopSignals())
    assert 0 < job.restorer.scores[1].strength < 1 and job.restorer.scores[1].similarity >= 0.5


class Server(SimpleHTTPRequestHandler):
    """Serves a folder, and takes what its page has to tell."""

    told: 'Queue[str]' = Queue()

    def do_GET(self):
        if self.path.startswith('/told?'):
            self.told.put(unquote(self.path))
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian's package chromium)")
def test_chromium_plays_it(network, tmp_path):
    film = tmp_path / 'film.mp4'
    write_film(film, pictures(25))
    outcome = run(network, film, tmp_path / 'out')
    (tmp_path / 'page.html').write_text(PAGE.format(name=outcome.output.name))
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Server, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [str(CHROMIUM), '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path / "user"}']
        command += ['--autoplay-policy=no-user-gesture-required', '--remote-debugging-port=0']
        address = f'http://127.0.0.1:{server.server_port}/page.html'
        browser = subprocess.Popen([*command, address], stderr=subprocess.DEVNULL)
        try:
            told = Server.told.get(timeout=60)
            assert told.startswith('/told?ended at 1') and told.endswith(f', {SIZE[0]} wide')
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()


def test_the_command_restores_photographs_and_films_of_a_folder_and_writes_over_nothing(tmp_path, capsys, monkeypatch):
    from PIL import Image

    from mmrbgan.cli import main
    from mmrbgan.restoring import job

    folder, out = tmp_path / 'album', tmp_path / 'album' / 'out'
    out.mkdir(parents=True)
    write_film(folder / 'walk.mp4', pictures(6))
    (folder / 'cut off.mkv').write_bytes(b'\x1a\x45\xdf\xa3')
    Image.fromarray(picture(0)).save(folder / 'still.png')
    (out / 'walk.mp4').write_text("another's")
    write_film(folder / 'a odd.mp4', [image[:-1] for image in pictures(2)], codec='libvpx-vp9', options={})
    monkeypatch.setattr(job, 'make_restorer', lambda args, settings: restorer(tmp_path, settings=settings))
    for _ in range(2):  # the second time over its own results
        assert main(['restore', str(folder), '-o', str(out), '--json', '--min-face', '5', '--codec', 'libx264']) == 1
    names = sorted(path.name for path in out.glob('[a-z]*'))
    assert names == ['faces.json', 'still.png', 'walk.mp4', 'walk_2.json', 'walk_2.mp4']
    told = capsys.readouterr()
    assert 'walk_2.mp4' in told.out and 'cut off.mkv: not a film' in told.err and 'takes no odd sizes' in told.err
    assert (out / 'walk.mp4').read_text() == "another's" and len(read_film(out / 'walk_2.mp4')[0]) == 6
