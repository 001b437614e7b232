"""Draw an invoice as a PDF with reportlab."""

from __future__ import annotations

import io

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

__all__ = ["draw_invoice", "is_whole"]

INK, QUIET, LINE = HexColor("#16202c"), HexColor("#6b7785"), HexColor("#d7dde4")


def draw_invoice(*, order: str, item: str, cents: int, email: str) -> bytes:
    """Return the invoice, a PDF; a second call returns the same bytes."""
    file = io.BytesIO()
    # invariant: no time and no random id in the file, so that a second run draws the same bytes.
    page = Canvas(file, pagesize=A4, invariant=True)
    width, height = A4
    left, right, top = 24 * mm, width - 24 * mm, height - 32 * mm
    net = round(cents / 1.19)
    page.setTitle(f"Invoice {order}")
    page.setFillColor(INK)
    page.setFont("Helvetica-Bold", 22)
    page.drawString(left, top, "Invoice")
    page.setFont("Helvetica", 10)
    page.setFillColor(QUIET)
    page.drawRightString(right, top, "The Order Shop, 1 Queue Street")
    page.drawString(left, top - 12 * mm, f"Order {order}")
    page.drawString(left, top - 17 * mm, f"For {email}")
    page.setStrokeColor(LINE)
    rows = [(item, net), ("Value added tax 19%", cents - net), ("Paid", cents)]
    for number, (text, amount) in enumerate(rows):
        y = top - (36 + 10 * number) * mm
        page.line(left, y + 6 * mm, right, y + 6 * mm)
        page.setFillColor(INK)
        page.setFont("Helvetica-Bold" if number == len(rows) - 1 else "Helvetica", 11)
        page.drawString(left, y, text)
        page.drawRightString(right, y, f"{amount / 100:,.2f} EUR")
    page.save()
    return file.getvalue()


def is_whole(content: bytes) -> bool:
    """Tell whether a file begins and ends as a PDF does."""
    return content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
