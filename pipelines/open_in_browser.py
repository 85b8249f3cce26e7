"""Shows a file in the user's browser, where there is one."""

import os
import webbrowser
from pathlib import Path


def open_in_browser(path: Path) -> None:
    """Opens a file in the browser, and does nothing on a machine without a screen.

    There Python would start a browser in the terminal, and the command would wait for it. BROWSER names one that is
    opened all the same.
    """
    if any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
        webbrowser.open(path.resolve().as_uri())
