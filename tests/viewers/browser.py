"""A headless Chromium that shows OHIF, and what it shows as numbers."""

import base64
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Browser, Error, Page, Playwright

Found = TypeVar("Found")

CHROMIUM = Path("/usr/bin/chromium")
_OPTIONS = (
    "--no-sandbox",  # the tests may run as root, and open nothing but this machine
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
)
_SIZE = {"width": 1280, "height": 800}
_PATIENCE_S = 120.0
# The viewport, its canvas, and where the corners of the shown image lie on the page: its own
# imageToWorldCoords mistakes the sides of a pixel for each other.
_SHOWN = """() => {
  const [engine] = cornerstone.getRenderingEngines();
  const viewport = engine.getViewports()[0];
  const imageId = viewport.getCurrentImageId();
  const {left, top} = viewport.canvas.getBoundingClientRect();
  const plane = cornerstone.metaData.get('imagePlaneModule', imageId);
  const {rows, columns, rowPixelSpacing: down, columnPixelSpacing: across} = plane;
  const onPage = ([column, row]) => {
    const [x, y] = viewport.worldToCanvas([0, 1, 2].map(i => plane.imagePositionPatient[i]
      + plane.rowCosines[i] * across * (column - 0.5)
      + plane.columnCosines[i] * down * (row - 0.5)));
    return [x + left, y + top];
  };
  return {
    sop: imageId.match(/instances\\/([0-9.]+)/)[1], left, top,
    corners: [onPage([0, 0]), onPage([columns, 0]), onPage([0, rows])], rows, columns,
  };
}"""
_LABELMAPS = """label => {
  const found = services.segmentationService.getSegmentations().filter(one => one.label === label);
  if (!found.length || !Object.keys(found[0].segments).length) return null;
  const {imageIds, referencedImageIds} = found[0].representationData.Labelmap;
  return imageIds.map((id, i) => {
    const data = cornerstone.cache.getImage(id).voxelManager.getScalarData();
    return [
      referencedImageIds[i].match(/instances\\/([0-9.]+)/)[1],
      btoa(Array.from(data, value => String.fromCharCode(value)).join('')),
      Object.fromEntries(Object.values(found[0].segments).map(s => [s.segmentIndex, s.label])),
    ];
  });
}"""
_SERIES = """() => services.displaySetService.getActiveDisplaySets().map(
  one => [one.Modality, one.SeriesDescription, one.displaySetInstanceUID, one.SOPInstanceUID])"""

_DOCUMENT = """address => fetch(address).then(answer => answer.arrayBuffer()).then(
  content => btoa(Array.from(new Uint8Array(content), one => String.fromCharCode(one)).join('')))"""


@dataclass(frozen=True)
class Shown:
    """The image that is shown, and where its pixels lie.

    Attributes
    ----------
    sop_instance_uid : str
    to_page : float [2, 3]
        From (column, row, 1) to the page.
    """

    sop_instance_uid: str
    shape: tuple[int, int]
    to_page: npt.NDArray[np.float64]
    origin: tuple[float, float]

    def on_page(self, columns_rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Places on the page [n, 2] (x, y) of image coordinates [n, 2]."""
        return columns_rows @ self.to_page[:, :2].T + self.to_page[:, 2]

    def on_image(self, canvas: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Image coordinates [n, 2] (column, row) of places on the canvas [n, 2]."""
        on_page = canvas + np.array(self.origin) - self.to_page[:, 2]
        return np.asarray(np.linalg.solve(self.to_page[:, :2], on_page.T).T)


@dataclass
class Viewer:
    """OHIF in a tab.

    Attributes
    ----------
    errors : list of str
        Script errors, failed requests, and what was logged as an error.
    """

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, playwright: Playwright, url: str) -> tuple["Viewer", Browser]:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_OPTIONS])
        page = browser.new_page(viewport=_SIZE)  # type: ignore[arg-type]
        page.set_default_timeout(_PATIENCE_S * 1000)
        viewer = cls(page, url)
        page.on("pageerror", lambda error: viewer.errors.append(f"script: {error}"))
        page.on("console", lambda said: said.type == "error" and viewer.errors.append(said.text))
        page.on("crash", lambda _: viewer.errors.append("the tab crashed"))
        return viewer, browser

    def open_study(self, study_instance_uid: str, n_series: int) -> None:
        self.page.goto(f"{self.url}/viewer?StudyInstanceUIDs={study_instance_uid}")
        self.page.wait_for_function(
            f"window.services?.displaySetService.getActiveDisplaySets().length >= {n_series}"
        )
        self.page.wait_for_selector(".cornerstone-canvas")

    def series(self) -> set[tuple[str, str]]:
        """Modality and description of each series in the list."""
        return {(modality, words) for modality, words, *_ in self.page.evaluate(_SERIES)}

    def listed(self, modality: str, description: str) -> dict[str | None, str]:
        """Entries of the list that are called so, by the object that the viewer takes for each."""
        return {
            sop: entry
            for kind, words, entry, sop in self.page.evaluate(_SERIES)
            if (kind, words) == (modality, description)
        }

    def show(self, modality: str, description: str, sop_instance_uid: str | None = None) -> None:
        """Double-click a series in the list; of several called so that of an object."""
        found = self.listed(modality, description)
        if sop_instance_uid is not None:
            found = {sop_instance_uid: found[sop_instance_uid]}
        (entry,) = found.values()
        self.page.locator(f"#thumbnail-{entry}").dblclick()

    def shown(self) -> Shown:
        """Which image is shown, and where."""
        found = self.page.evaluate(_SHOWN)
        origin, right, below = np.array(found["corners"])
        rows, columns = found["rows"], found["columns"]
        to_page = np.c_[(right - origin) / columns, (below - origin) / rows, origin]
        return Shown(found["sop"], (rows, columns), to_page, (found["left"], found["top"]))

    def labelmaps(self, label: str) -> dict[str, dict[str, npt.NDArray[np.bool_]]] | None:
        """Masks by name of the segment, of each image of a segmentation; None until loaded."""
        found = self.page.evaluate(_LABELMAPS, label)
        if found is None:
            return None
        masks = {}
        for sop, encoded, names in found:
            values = np.frombuffer(base64.b64decode(encoded), np.uint8)
            masks[sop] = {name: values == int(number) for number, name in names.items()}
        return masks

    def outlines(self) -> list[npt.NDArray[np.float64]]:
        """Polylines that are drawn, in image coordinates [n, 2]."""
        drawn = self.page.eval_on_selector_all(
            "svg.svg-layer polyline", "lines => lines.map(line => line.getAttribute('points'))"
        )
        shown = self.shown()
        points = [np.array(line.replace(",", " ").split(), float).reshape(-1, 2) for line in drawn]
        return [shown.on_image(one) for one in points]

    def texts(self) -> list[str]:
        """Lines that are written beside outlines."""
        return list(
            self.page.eval_on_selector_all(
                "svg.svg-layer text tspan", "lines => lines.map(line => line.textContent.trim())"
            )
        )

    def document(self) -> bytes:
        """The PDF that is shown."""
        shown = self.page.query_selector("object[type='application/pdf']")
        content = shown and self.page.evaluate(_DOCUMENT, shown.get_attribute("data"))
        return base64.b64decode(content or "")

    def next_outline(self) -> None:
        self.page.locator("[data-cy=viewport-action-arrows-right]").click()

    def picture(self, path: Path | None = None) -> npt.NDArray[np.uint8]:
        """What is on the page [y, x, 3]; kept in a file, too, if a path is given."""
        content = self.page.screenshot()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def eventually(look: Callable[[], Found | bool | None], timeout_s: float = _PATIENCE_S) -> Found:
    """What `look` gives as soon as it gives something; the page may be busy meanwhile."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = look()
        except Error:  # nothing is shown yet
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.2)
