"""Draw the pages of a PDF: a program of its own, run by `pipeline.pdf_pages`.

A document may be built to exhaust memory or time, or to crash what reads it. So this process takes
limits upon itself before it reads one, and ends where they are reached.

On standard input comes the document, to standard output go a line that says how it went (`drawn`,
or why not) and, of each page, width and height and its pixels (red, green, blue), row by row.
"""

import math
import resource
import struct
import sys

PAGE = struct.Struct("<II")


def main() -> None:
    """Read four numbers from the command line: most pages, longer side (pixels), bytes, seconds."""
    most_pages, side, memory, seconds = map(int, sys.argv[1:])
    _hold(resource.RLIMIT_AS, memory)
    _hold(resource.RLIMIT_CPU, seconds)
    _hold(resource.RLIMIT_CORE, 0)
    said, pages = _drawn(sys.stdin.buffer.read(), most_pages, side)
    sys.stdout.buffer.write(f"{said}\n".encode())
    for page in pages:
        sys.stdout.buffer.write(page)


def _hold(kind: int, most: int) -> None:
    """Limit this process; a lower limit that holds already stays."""
    before = resource.getrlimit(kind)[1]
    most = most if before == resource.RLIM_INFINITY else min(most, before)
    resource.setrlimit(kind, (most, most))


def _drawn(content: bytes, most_pages: int, side: int) -> tuple[str, list[bytes]]:
    from pypdfium2 import PdfDocument, PdfiumError, raw

    number = 0
    try:
        document = PdfDocument(content)
        if len(document) == 0:
            return "it has no page", []
        if len(document) > most_pages:
            return f"it has {len(document)} pages, more than {most_pages}", []
        pages = []
        for number in range(1, len(document) + 1):
            page = document[number - 1]
            longer = max(page.get_size())
            if not (math.isfinite(longer) and longer > 0):
                return f"page {number} has no size", []
            bitmap = page.render(scale=side / longer, rev_byteorder=True)
            pages.append(PAGE.pack(bitmap.width, bitmap.height) + bytes(bitmap.buffer))
    except PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            return "encrypted", []
        return f"page {number} is damaged" if number else "it is damaged, or no PDF", []
    return "drawn", pages


if __name__ == "__main__":
    main()
