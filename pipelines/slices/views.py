"""TFMA's views of slices: the browser, the fairness view beside the baseline, and both as HTML that shows anywhere.

TFMA's own widgets show in no notebook with ipywidgets 8, and load Google Charts from the network. As HTML they show
anywhere: docs/slices.md.
"""

import html
from collections.abc import Mapping
from pathlib import Path

import ipywidgets
import tensorflow_model_analysis as tfma
import traitlets
from IPython.display import HTML
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.version import VERSION

from model_patching.pipelines.slices.load_slices import Slices

# TFMA's web component of each widget, and the traits that are its properties.
_COMPONENTS = {
    "SlicingMetricsView": ("tfma-nb-slicing-metrics", ("config", "data")),
    "FairnessIndicatorView": (
        "fairness-nb-container",
        ("evalName", "evalNameCompare", "slicingMetricsCompare", "slicingMetrics"),
    ),
}
_FRONT_END = Path(tfma.__file__).parent / "static" / "vulcanized_tfma.js"
_CHARTS = Path(__file__).parent / "google_charts.js"


class FairnessView(ipywidgets.DOMWidget):
    """Fairness Indicators, as TFMA 0.52 still has it in JavaScript but no longer in Python."""

    _view_name = traitlets.Unicode("FairnessIndicatorView").tag(sync=True)
    _model_name = traitlets.Unicode("FairnessIndicatorModel").tag(sync=True)
    _view_module = traitlets.Unicode("tensorflow_model_analysis").tag(sync=True)
    _model_module = traitlets.Unicode("tensorflow_model_analysis").tag(sync=True)
    _view_module_version = traitlets.Unicode(VERSION).tag(sync=True)
    _model_module_version = traitlets.Unicode(VERSION).tag(sync=True)
    slicingMetrics = traitlets.List().tag(sync=True)
    slicingMetricsCompare = traitlets.List().tag(sync=True)
    evalName = traitlets.Unicode().tag(sync=True)
    evalNameCompare = traitlets.Unicode().tag(sync=True)
    js_events = traitlets.List().tag(sync=True)


def browser_view(slices: Slices) -> ipywidgets.DOMWidget:
    """TFMA's browser with every slice; `tfma.view.render_slicing_metrics` shows those of one slicing spec."""
    view = tfma.view.render_slicing_metrics(slices.model)
    view.data = [
        {"slice": slicer_lib.stringify_slice_key(key), "metrics": metrics}
        for key, metrics in slices.model.slicing_metrics
    ]
    return view


def fairness_view(slices: Slices, model_name: str = "model", baseline_name: str = "baseline") -> FairnessView:
    """Fairness Indicators of every slice, beside the baseline's where there is one.

    The baseline comes first: TFMA heads its last column "first against second", but what it shows there is how far the
    second is from the first.
    """
    if slices.baseline is None:
        return FairnessView(slicingMetrics=_fairness_data(slices.model))
    return FairnessView(
        slicingMetrics=_fairness_data(slices.baseline),
        slicingMetricsCompare=_fairness_data(slices.model),
        evalName=baseline_name,
        evalNameCompare=model_name,
    )


def page(title: str, views: Mapping[str, ipywidgets.DOMWidget]) -> str:
    """One HTML document with TFMA's front end and the views' data in it, which loads nothing from anywhere.

    Args:
        title: heading of the page; empty for none.
        views: by their headings; an empty one isn't shown.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    shown = []
    for heading, view in views.items():
        component, properties = _COMPONENTS[view._view_name]
        # A property that isn't set has a default of its own in the component.
        data = {name: getattr(view, name) for name in properties if getattr(view, name)}
        shown.append({"heading": heading, "component": component, "data": data})
    return environment.get_template("page.html.j2").render(
        title=title,
        views=shown,
        scripts=[path.read_text(encoding="utf-8") for path in (_CHARTS, _FRONT_END)],
    )


def embed(view: ipywidgets.DOMWidget, height: int = 700) -> HTML:
    """A view of TFMA's as the output of a notebook's cell: in any front end, and in what nbconvert makes of it.

    Args:
        view: what `tfma.view.render_slicing_metrics`, `browser_view` or `fairness_view` returned.
        height: in pixels; the frame can be dragged to another.
    """
    document = html.escape(page("", {"": view}))
    return HTML(
        f'<div><iframe srcdoc="{document}" sandbox="allow-scripts" title="slices"'
        f' style="width: 100%; height: {height}px; border: 0; resize: vertical"></iframe></div>'
    )


def _fairness_data(result: tfma.EvalResult) -> list[dict]:
    """What Fairness Indicators takes: of each slice its name, its values alone, and its metrics."""
    return [
        {
            "slice": slicer_lib.stringify_slice_key(key),
            "sliceValue": "_X_".join(str(value) for _, value in key) or "Overall",
            "metrics": metrics[""][""],
        }
        for key, metrics in result.slicing_metrics
    ]
