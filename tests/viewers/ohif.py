"""OHIF as people run it: its built viewer and an archive's DICOMweb behind one address."""

import contextlib
import http.client
import mimetypes
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "3.13.2"
SHA256 = "b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dicom-node"
OHIF_FOLDER = CACHE / f"ohif-{VERSION}" / "dist"
# Without these the viewer gets no shared memory, which it needs for volumes.
_ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
_CONFIG = """
window.config = {
  routerBasename: null, extensions: [], modes: [], showStudyList: true,
  maxNumberOfWebWorkers: 2, showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: false, strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: 'never' },
  customizationService: [{ 'ohif.tours': { $set: [] } }], showErrorDetails: 'always',
  defaultDataSourceName: 'dicomweb',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
    sourceName: 'dicomweb',
    configuration: {
      friendlyName: 'Archive', name: 'orthanc',
      qidoRoot: '/dicom-web', wadoRoot: '/dicom-web', wadoUriRoot: '/wado',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true },
    },
  }],
};
"""


@contextlib.contextmanager
def serve_ohif(orthanc_http_port: int) -> Iterator[str]:
    """Serve the viewer on a free loopback port; gives its address."""
    handler = type("Handler", (_Handler,), {"orthanc": ("127.0.0.1", orthanc_http_port)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    orthanc: tuple[str, int]

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/dicom-web/"):
            self._forward()
        elif path == "/app-config.js":
            self._answer(200, "text/javascript", _CONFIG.encode())
        else:
            self._file(path)

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at the browser's log."""

    def _file(self, path: str) -> None:
        """A file of the viewer; its pages are all one."""
        file = OHIF_FOLDER / path.lstrip("/")
        if not file.is_file():
            if "." in Path(path).name:
                self._answer(404, "text/plain", b"")
                return
            file = OHIF_FOLDER / "index.html"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self._answer(200, kind, file.read_bytes())

    def _forward(self) -> None:
        """Ask the archive; it must see our address, of which it makes those in its answers."""
        connection = http.client.HTTPConnection(*self.orthanc, timeout=60)
        try:
            names = ("Accept", "Host")
            headers = {name: self.headers[name] for name in names if self.headers[name]}
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            kind = answer.getheader("Content-Type", "application/octet-stream")
            self._answer(answer.status, kind, answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in _ISOLATION.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the page was left meanwhile
            self.wfile.write(body)
