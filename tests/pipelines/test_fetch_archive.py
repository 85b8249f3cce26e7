"""`data build … --download`, from an address to the records."""

import json
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from model_patching.pipelines.cli import main

BIRDS = [(split, y, place) for split in range(3) for y in range(2) for place in range(2)]
FACES = {
    split: [set(), {"Male"}, {"Blond_Hair"}, {"Blond_Hair", "Male"}] for split in ("train", "val", "test")
}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(tmp_path):
    """A folder, and the address at which it is served."""
    (tmp_path / "bucket").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "bucket"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / "bucket", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def build(capfd, tmp_path, monkeypatch):
    """Runs a `data build` command in a folder; returns its exit code and what it said on standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODEL_PATCHING_MIRROR", raising=False)

    def run(*arguments):
        result = CliRunner().invoke(main, ["data", "build", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        captured = capfd.readouterr()
        return result.exit_code, captured.out + result.stdout, captured.err + result.stderr

    return run


def zip_folder(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.tfrec")):
            archive.write(file, file.relative_to(folder.parent))


def counts(folder):
    return json.loads((folder / "manifest.json").read_text())["counts"]


def test_waterbirds(tmp_path, bucket, build, write_waterbirds):
    folder, url = bucket
    write_waterbirds(tmp_path / "made" / "waterbirds_tfrecord_224", BIRDS, [7, 5])
    zip_folder(tmp_path / "made" / "waterbirds_tfrecord_224", folder / "waterbirds_tfrecord_224.zip")
    arguments = ("waterbirds", "--download", "--image-size", "8")
    code, said, error = build(*arguments, "--mirror", url, "--output", "out")
    assert code == 0, error
    assert "waterbirds_tfrecord_224.zip: " in said and "\nout\n" in said
    assert counts(tmp_path / "out") == {split: [[1, 1], [1, 1]] for split in ("train", "validation", "test")}
    assert sorted(path.name for path in (tmp_path / "downloads").iterdir()) == [
        "SHA256SUMS",
        "waterbirds_tfrecord_224",
        "waterbirds_tfrecord_224.zip",
    ]
    # What is there is used: no server is asked, and the records are of the same source.
    code, said, _ = build(*arguments, "--mirror", "http://127.0.0.1:9", "--output", "out")
    assert code == 0 and "nothing to do" in said


def test_celeba_into_a_folder_from_the_mirror_of_the_environment(
    tmp_path, bucket, build, write_celeba, monkeypatch
):
    folder, url = bucket
    write_celeba(tmp_path / "made" / "celeba_tfrecord_128", FACES, {split: [4] for split in FACES})
    zip_folder(tmp_path / "made" / "celeba_tfrecord_128", folder / "celeba_tfrecord_128.zip")
    monkeypatch.setenv("MODEL_PATCHING_MIRROR", url)
    code, _, error = build(
        "celeba-undersampled", "--download", "--source", "there", "--image-size", "8", "--output", "out"
    )
    assert code == 0, error
    assert counts(tmp_path / "out")["train"] == [[1, 1], [1, 1]]
    assert (tmp_path / "there" / "celeba_tfrecord_128.zip").exists()


def test_an_archive_that_is_not_there(tmp_path, bucket, build):
    _, url = bucket
    code, _, error = build(
        "mnist-correlation", "--from", "npy", "--download", "--mirror", url, "--output", "out"
    )
    assert code == 2
    assert error == f"{url}/mnist_correlation_npy.zip: the server answers 404 File not found\n"
    assert not (tmp_path / "out").exists()


def test_what_is_missing_of_the_arguments(build):
    code, _, error = build("waterbirds", "--output", "out")
    assert code == 2 and error.startswith(
        "give the folder that has the data set with --source, or fetch it with"
    )
    code, _, error = build("waterbirds", "--source", "x", "--mirror", "http://x", "--output", "out")
    assert code == 2 and error == "--mirror goes with --download\n"
