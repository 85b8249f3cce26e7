"""The notebook of slices: run by a kernel, and shown by each front end of Jupyter in Chromium, without network."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
import requests
from nbconvert import HTMLExporter
from selenium.webdriver.support.wait import WebDriverWait

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/slices.ipynb"
FRONT_ENDS = {
    "lab": "lab/tree/slices.ipynb",
    "notebook": "notebooks/slices.ipynb",
    "nbclassic": "nbclassic/notebooks/slices.ipynb",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What keeps Jupyter's own files and settings out of it."""
    folder = tmp_path_factory.mktemp("jupyter")
    own = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    return {**os.environ, **own}


@pytest.fixture(scope="module")
def executed(evaluated_run, environment, tmp_path_factory):
    """Path of the notebook with its outputs, which Jupyter trusts."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300)
    client.execute(env={**environment, "MODEL_PATCHING_ROOT": str(evaluated_run[0])})
    path = tmp_path_factory.mktemp("notebooks") / "slices.ipynb"
    nbformat.write(notebook, path)
    subprocess.run([sys.executable, "-m", "jupyter", "trust", str(path)], env=environment, check=True)
    return path


@pytest.fixture(scope="module")
def server(executed, environment):
    """Address of a Jupyter server that has all three front ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": executed.parent,
        "ServerApp.allow_root": True,
        "ServerApp.open_browser": False,
        "IdentityProvider.token": "secret",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", *(f"--{name}={value}" for name, value in settings.items())],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers(_):
        assert process.poll() is None, "the server has ended"
        return requests.get(f"http://127.0.0.1:{port}/api", timeout=30).ok

    try:
        WebDriverWait(None, 120, ignored_exceptions=[requests.ConnectionError]).until(answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def wait_for_slices(chromium, summary):
    """Waits until the first frame has each group's slice with its accuracy."""

    def accuracies():
        chromium.driver.switch_to.default_content()
        frames = chromium.driver.find_elements("css selector", "iframe[title=slices]")
        if not frames:
            return None
        chromium.driver.switch_to.frame(frames[0])
        rows = chromium.rows(".google-visualization-table-table tr")
        if len(rows) < 2:
            return None
        column = rows[0].index("sparse_categorical_accuracy")
        return {row[0]: float(row[column].split()[0]) for row in rows[1:]}

    assert chromium.wait_for(accuracies) == {
        f"label_X_subgroup:{group['class']}_X_{group['subgroup']}": pytest.approx(group["accuracy"], abs=6e-6)
        for group in summary["groups"]
    }


def test_it_runs_and_says_the_summarys_worst_group_and_nothing_in_red(executed, evaluated_run):
    outputs = [
        output for cell in nbformat.read(executed, as_version=4).cells for output in cell.get("outputs", ())
    ]
    streams = {output.name: output.text for output in outputs if output.output_type == "stream"}
    assert streams == {
        "stdout": f"20261126-100000-000001 camel, worst group: {evaluated_run[1]['worst_group']}\n"
    }
    assert not [
        output for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    ]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_front_end_shows_the_slices(front_end, server, chromium, evaluated_run):
    chromium.open(f"{server}/{FRONT_ENDS[front_end]}?token=secret")
    wait_for_slices(chromium, evaluated_run[1])


def test_nbconverts_html_shows_them(executed, chromium, evaluated_run, tmp_path):
    document, _ = HTMLExporter().from_filename(str(executed))
    (tmp_path / "slices.html").write_text(document)
    chromium.open((tmp_path / "slices.html").as_uri())
    wait_for_slices(chromium, evaluated_run[1])
