"""Tiny data sets: arrays whose pixels tell which example they are, and record files. A browser to look at pages in."""

import os
import re
import shutil
import socket
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from model_patching.data import schema
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset
from model_patching.data.schema import Record


def pytest_collection_modifyitems(items):
    """Whole pipelines first: a file that takes minutes and comes last would keep one of two processes waiting."""
    items.sort(key=lambda item: item.path.parent.name != "end_to_end")


def pytest_make_parametrize_id(config, val, argname):
    """Cases of bytes are named by their argument: a serialized example's bytes differ between pytest's processes."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def make_dataset():
    """A data set of C classes (c0, c1, ...) and K subgroups (s0, s1, ...)."""

    def make(num_classes=2, num_subgroups=2, image_shape=(8, 8, 1)):
        return Dataset(
            classes=tuple(f"c{label}" for label in range(num_classes)),
            subgroups=tuple(f"s{subgroup}" for subgroup in range(num_subgroups)),
            image_shape=image_shape,
        )

    return make


@pytest.fixture(scope="session")
def make_arrays():
    """Arrays with `counts[label][subgroup]` examples. Pixels of example i are i, of its rendition k 100 + 50 k + i."""

    def make(counts, image_shape=(2, 2, 1), patched=False):
        counts = np.array(counts)
        total = counts.sum()
        group = np.repeat(np.arange(counts.size), counts.reshape(-1))
        index = np.arange(total, dtype=np.uint8)
        images = np.broadcast_to(index.reshape(-1, 1, 1, 1), (total, *image_shape)).copy()
        renditions = np.stack([images + 100 + 50 * k for k in range(counts.shape[1])], axis=1)
        return Arrays(
            image=images,
            patched_images=renditions if patched else None,
            label=(group // counts.shape[1]).astype(np.int32),
            subgroup=(group % counts.shape[1]).astype(np.int32),
            group_count=counts.reshape(-1).astype(np.int32),
        )

    return make


@pytest.fixture(scope="session")
def write_records():
    """Writes records, or bytes as they are, to a gzip TFRecord; returns its path."""

    def write(path, records):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path), options=schema.COMPRESSION) as writer:
            for record in records:
                writer.write(record if isinstance(record, bytes) else schema.serialize(record))
        return str(path)

    return write


@pytest.fixture(scope="session")
def instructions():
    """The Dockerfile's instructions, each with what follows it in one line."""
    text = (Path(__file__).resolve().parents[1] / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in whole.splitlines() if line.strip()]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def toy_records():
    """Records whose label and subgroup can be seen.

    Class y is bright in the y-th of C vertical stripes; subgroup z has a white square at the bottom, the z-th of K from
    the left, but subgroup 0 has none. Renditions differ from the image in that square alone.
    """

    def make(counts, image_shape, patched=False, seed=0):
        generator = np.random.default_rng(seed)
        num_classes, num_subgroups = len(counts), len(counts[0])
        height, width, _ = image_shape
        side = width // num_subgroups

        def draw(label, subgroup, noise):
            pixels = noise.copy()
            stripe = width // num_classes
            pixels[:, label * stripe : (label + 1) * stripe] += 100
            if subgroup > 0:
                pixels[height - 3 :, subgroup * side : (subgroup + 1) * side] = 255
            return tf.io.encode_png(pixels.astype(np.uint8)).numpy()

        records = []
        for label, row in enumerate(counts):
            for subgroup, count in enumerate(row):
                for _ in range(count):
                    noise = generator.integers(0, 60, image_shape)
                    renditions = tuple(draw(label, k, noise) for k in range(num_subgroups))
                    records.append(
                        Record(
                            image=renditions[subgroup],
                            label=label,
                            subgroup=subgroup,
                            example_id=f"toy-{len(records)}",
                            patched_images=renditions if patched else (),
                        )
                    )
        return [records[i] for i in generator.permutation(len(records))]

    return make


class Notes:
    """A tracker that remembers what it is told."""

    def __init__(self):
        self.points = []
        self.images = []
        self.tables = {}
        self.closing = {}

    def log(self, step, values):
        self.points.append((step, dict(values)))

    def image(self, step, name, image):
        self.images.append((step, name, image))

    def table(self, step, name, columns, rows):
        self.tables[name] = [dict(zip(columns, row, strict=True)) for row in rows]

    def summary(self, values):
        self.closing.update(values)

    def finish(self):
        pass


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture(scope="session")
def write_tfrec():
    """Writes examples, dicts of bytes and ints, to a TFRecord without compression, as published; returns its path."""

    def write(path, examples):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for features in examples:
                example = tf.train.Example()
                for name, value in features.items():
                    kind = "bytes_list" if isinstance(value, bytes) else "int64_list"
                    getattr(example.features.feature[name], kind).value.append(value)
                writer.write(example.SerializeToString())
        return path

    return write


@pytest.fixture(scope="session")
def one_colour():
    """A JPEG of one grey."""

    def encode(grey, height=8, width=8):
        pixels = np.full((height, width, 3), grey, np.uint8)
        return tf.io.encode_jpeg(pixels, quality=100).numpy()

    return encode


@pytest.fixture(scope="session")
def write_waterbirds(write_tfrec, one_colour):
    """Writes birds (split, y, place) as in `waterbirds_tfrecord_224`, in files of these sizes; bird i is of grey i."""

    def write(folder, birds, file_sizes):
        examples = [
            {
                "image": one_colour(number % 256),
                "img_id": number,
                "img_filename": f"{number:03d}.Bird/Bird_{number:04d}.jpg".encode(),
                "place_filename": f"/b/bamboo_forest/{number:08d}.jpg".encode(),
                "y": y,
                "split": split,
                "place": place,
            }
            for number, (split, y, place) in enumerate(birds)
        ]
        assert sum(file_sizes) == len(birds)
        first = 0
        for number, size in enumerate(file_sizes):
            write_tfrec(folder / f"{number:02d}-{size}.tfrec", examples[first : first + size])
            first += size
        return folder

    return write


CELEBA_ATTRIBUTES = (  # written out here, so that the reader's own list is held to it
    *("5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips"),
    *(
        "Big_Nose",
        "Black_Hair",
        "Blond_Hair",
        "Blurry",
        "Brown_Hair",
        "Bushy_Eyebrows",
        "Chubby",
        "Double_Chin",
    ),
    *("Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open"),
    *("Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline"),
    *("Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat"),
    *("Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young"),
)


@pytest.fixture(scope="session")
def write_celeba(write_tfrec, one_colour):
    """Writes faces as in `celeba_tfrecord_128`, in files of the given sizes; face i of a folder is of grey i.

    For each folder, `faces` says which attributes each face has.
    """

    def write(folder, faces, file_sizes):
        for split, of_split in faces.items():
            examples = [
                {
                    "image": one_colour(number % 256),
                    **{name: int(name in attributes) for name in CELEBA_ATTRIBUTES},
                }
                for number, attributes in enumerate(of_split)
            ]
            assert sum(file_sizes[split]) == len(of_split)
            first = 0
            for number, size in enumerate(file_sizes[split]):
                write_tfrec(folder / split / f"{number:02d}-{size}.tfrec", examples[first : first + size])
                first += size
        return folder

    return write


class Page(HTMLParser):
    """The tags of a page, each with its attributes, and the texts of its table rows' cells."""

    def __init__(self, html):
        super().__init__()
        self.tags, self._rows, self._in_cell = [], [], False
        self.feed(html)

    @property
    def rows(self):
        return [[" ".join(cell.split()) for cell in row] for row in self._rows]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._in_cell = True
            self._rows[-1].append("")

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._in_cell:
            self._rows[-1][-1] += data


@pytest.fixture(scope="session")
def read_page():
    return Page


class Chromium:
    """A headless Chromium that reaches this machine alone.

    `driver` is Selenium's. What the methods find is in the page, or in the frame the driver was switched to, shadow
    roots included.
    """

    # Walks through shadow roots, as TFMA's elements keep what they show there.
    _DEEP = """
        const inside = node => [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes];
        const all = node => [node, ...inside(node).flatMap(all)];
        const text = node => node.nodeType === Node.TEXT_NODE ? node.textContent :
            ['STYLE', 'SCRIPT', 'TEMPLATE'].includes(node.nodeName) ? '' : inside(node).map(text).join(' ');
        const words = node => text(node).replace(/\\s+/g, ' ').trim();
        const find = selector => all(document.body).filter(node => node.matches?.(selector));
    """

    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in (
            "--headless=new",
            "--no-sandbox",  # doesn't work for root, and the pages are ours
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1300,1800",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))

    def open(self, url):
        """Goes to a page, and forgets what was logged before."""
        self.driver.get("about:blank")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(url)

    def text(self):
        """All that is written there."""
        return self.driver.execute_script(f"{self._DEEP} return words(document.body)")

    def rows(self, selector):
        """Of each row of a table that a selector finds, the texts of its cells."""
        return self.driver.execute_script(
            f"{self._DEEP} return find(arguments[0]).map(row => "
            "[...row.children].filter(cell => cell.className).map(words))",
            selector,
        )

    def click(self, selector, text):
        """Clicks on the first element that a selector finds and that says `text`, and nothing else."""
        found = self.driver.execute_script(
            f"{self._DEEP} const [first] = find(arguments[0]).filter(element => words(element) === arguments[1]);"
            "first?.dispatchEvent(new MouseEvent('click', {bubbles: true, composed: true})); return Boolean(first)",
            selector,
            text,
        )
        assert found, f"no {selector} says {text!r}"

    def texts(self, selector):
        """The text of each element that a selector finds; it doesn't look across the border of a shadow root."""
        return self.driver.execute_script(f"{self._DEEP} return find(arguments[0]).map(words)", selector)

    def wait_for(self, holds, seconds=90):
        """Waits until a function of no arguments returns something true, and returns that; fails with what is there."""
        try:
            return WebDriverWait(self.driver, seconds).until(lambda _: holds())
        except TimeoutException:
            errors = [entry["message"] for entry in self.driver.get_log("browser")]
            pytest.fail(f"waited for in vain; the page says: {self.text()[:3000]}\n{errors}")


@pytest.fixture(scope="session")
def chromium():
    """A Chromium. Where there is none, the test is skipped; with CI in the environment it fails."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        reason = f"{' and '.join(missing)} not found: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    browser = Chromium()
    yield browser
    browser.driver.quit()


class MariaDB:
    """A server with the user `user`, who may do everything with the password `password`.

    Attributes:
        host, port, user, password: to connect with.
    """

    host, user, password = "127.0.0.1", "metadata", "a secret's content"

    def __init__(self, folder):
        with socket.create_server((self.host, 0)) as free:
            self.port = free.getsockname()[1]
        self._path = {"PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin"}
        self._folder = folder
        self._options = ["--no-defaults", f"--socket={folder}/socket"]
        self._as_root = ["--user=root"] if os.geteuid() == 0 else []
        with open(folder / "log", "w") as log:
            subprocess.run(
                [
                    "mariadb-install-db",
                    "--no-defaults",
                    f"--datadir={folder}/data",
                    "--skip-test-db",
                    *self._as_root,
                ]
                + ["--auth-root-authentication-method=normal"],
                env=self._path,
                stdout=log,
                stderr=log,
                check=True,
            )
        self.start()

    def start(self):
        """Returns when it answers. For one that was killed, too."""
        folder = self._folder
        command = ["mariadbd", *self._options, f"--datadir={folder}/data", f"--pid-file={folder}/pid"]
        with open(folder / "log", "a") as log:
            self.process = subprocess.Popen(
                [*command, f"--port={self.port}", f"--bind-address={self.host}", *self._as_root],
                env=self._path,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        user = f"'{self.user}'@'%' identified by \"{self.password}\""
        while not self._execute(f"create or replace user {user}; grant all on *.* to '{self.user}'@'%'"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"MariaDB doesn't start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self):
        """As when its machine is lost."""
        self.process.kill()
        self.process.wait()

    def _execute(self, statement):
        command = ["mariadb", *self._options, "--user=root", "--execute", statement]
        return subprocess.run(command, capture_output=True).returncode == 0

    def url(self, database):
        """Of an ML Metadata store in one of its databases, which need not be there."""
        return f"mysql://{self.user}@{self.host}:{self.port}/{database}"


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory):
    """A MariaDB. Where there is none, the test is skipped; with CI in the environment it fails."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    names = ("mariadbd", "mariadb-install-db", "mariadb")
    missing = [name for name in names if shutil.which(name, path=path) is None]
    if missing:
        reason = f"{' and '.join(missing)} not found: apt-get install mariadb-server-core mariadb-client-core"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    server = MariaDB(tmp_path_factory.mktemp("mariadb"))
    yield server
    server.process.terminate()
    server.process.wait()


@pytest.fixture(scope="session")
def evaluated_run(tmp_path_factory):
    """(root, summary) of a run as far as ML Metadata, the Evaluator and the report leave it.

    TFMA itself has evaluated random predictions of a model and of a baseline; no pipeline has run. The name of a
    subgroup is HTML.
    """
    import json

    import tensorflow_model_analysis as tfma
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2
    from tensorflow_model_analysis.constants import MATERIALIZED_PREDICTION

    from model_patching.components.evaluator.eval_config import eval_config
    from model_patching.components.evaluator.settings import EvaluatorSettings

    dataset = Dataset(
        classes=("even", "odd", "neither"),
        subgroups=("clean", '<img src=x onerror="document.title=1">'),
        image_shape=(4, 4, 1),
    )
    random = np.random.default_rng(5)
    label, subgroup = random.integers(0, 3, 300), random.integers(0, 2, 300)
    probabilities = {name: random.dirichlet(np.ones(3), 300) for name in ("candidate", "baseline")}

    root = tmp_path_factory.mktemp("evaluated") / "runs"
    evaluation, report = (root / "birds" / name / "1" for name in ("Evaluator/evaluation", "Report/report"))
    root.mkdir()
    with tf.io.TFRecordWriter(str(root / "predictions")) as writer:
        for index in range(300):
            example = tf.train.Example()
            example.features.feature["label"].int64_list.value.append(label[index])
            example.features.feature["subgroup"].int64_list.value.append(subgroup[index])
            example.features.feature["example_id"].bytes_list.value.append(f"test-{index}".encode())
            for name, values in probabilities.items():
                example.features.feature[name].float_list.value.extend(values[index])
            writer.write(example.SerializeToString())
    config = eval_config(EvaluatorSettings(baseline="erm"), dataset, "hash")
    spec = config.model_specs.pop()
    spec.model_type = MATERIALIZED_PREDICTION
    for name in probabilities:
        spec.name, spec.prediction_key, spec.is_baseline = name, name, name == "baseline"
        config.model_specs.add().CopyFrom(spec)
    tfma.run_model_analysis(
        eval_shared_model=[
            tfma.EvalSharedModel(
                model_name=name, model_type=MATERIALIZED_PREDICTION, is_baseline=name == "baseline"
            )
            for name in probabilities
        ],
        eval_config=tfma.utils.update_eval_config_with_defaults(config, has_baseline=True),
        data_location=str(root / "predictions"),
        output_path=str(evaluation),
    )

    groups = []
    for y, class_name in enumerate(dataset.classes):
        for z, subgroup_name in enumerate(dataset.subgroups):
            here = (label == y) & (subgroup == z)
            right = {name: values[here].argmax(1) == y for name, values in probabilities.items()}
            groups.append(
                {
                    "class": class_name,
                    "subgroup": subgroup_name,
                    "count": int(here.sum()),
                    "accuracy": float(right["candidate"].mean()),
                    "baseline_accuracy": float(right["baseline"].mean()),
                }
            )
    worst = min(groups, key=lambda group: group["accuracy"])
    summary = {
        "dataset": {"classes": dataset.classes, "subgroups": dataset.subgroups},
        "method": "camel",
        "baseline": {"kind": "erm"},
        "groups": groups,
        "worst_group": f"{worst['class']} / {worst['subgroup']}",
        "worst_group_accuracy": worst["accuracy"],
    }
    report.mkdir(parents=True)
    (report / "summary.json").write_text(json.dumps(summary))

    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(root / "metadata.sqlite")
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = MetadataStore(connection)
    contexts = []
    for kind, name in (("pipeline", "birds"), ("pipeline_run", "20261126-100000-000001")):
        type_id = store.put_context_type(metadata_store_pb2.ContextType(name=kind))
        contexts += store.put_contexts([metadata_store_pb2.Context(type_id=type_id, name=name)])
    store.put_parent_contexts([metadata_store_pb2.ParentContext(parent_id=contexts[0], child_id=contexts[1])])
    for kind, folder in (("ModelEvaluation", evaluation), ("SubgroupReport", report)):
        type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name=kind))
        # Where it was written, which is elsewhere than where it is now.
        uri = f"/cluster/{folder.relative_to(root.parent)}"
        (artifact,) = store.put_artifacts([metadata_store_pb2.Artifact(type_id=type_id, uri=uri)])
        store.put_attributions_and_associations(
            [metadata_store_pb2.Attribution(artifact_id=artifact, context_id=contexts[1])], []
        )
    return root, summary
