"""What the pages around the canvas look like, on top of the theme that ``launch`` sets."""

from __future__ import annotations

import base64
import io
from functools import cache

import streamlit as st
from PIL import Image, ImageDraw

# A wide screen hangs further away: everything is measured in rem, and the rem grows with the width.
_STYLE = """
<style>
:root { font-size: clamp(17px, 7px + 0.69vw, 30px); }
.stMainBlockContainer { padding: 4.5rem 1.1rem 0; max-width: none; }
[data-testid="stVerticalBlock"] { gap: 0.8rem; }
header[data-testid="stHeader"] { border-bottom: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
[data-testid="stTopNavLink"], [data-testid="stTopNavLink"] span { font-size: 1.05rem; }
[data-testid="stLayoutWrapper"]:has(> .st-key-memory, > .st-key-look, > .st-key-account) { position: absolute; }
.st-key-memory, .st-key-look { position: absolute; width: 0; height: 0; overflow: hidden; }
.st-key-account { position: fixed; top: 0.55rem; right: 1.1rem; width: auto !important; z-index: 1000001; }
.st-key-account button { min-height: 2.4rem; border-radius: 2rem; font-weight: 600; }
[data-testid="stWidgetLabel"] p, [data-testid="stMetricLabel"] p, [data-testid="stCaptionContainer"] p,
[data-testid="stTextInput"] input, [data-testid="stSelectbox"] *, .st-key-account button p,
.stTable table, .stButton button p, [data-testid="stFormSubmitButton"] button p { font-size: 1rem; }
.st-key-page h3 { font-size: 1.35rem; padding: 0.9rem 0 0.3rem; }
.st-key-page [data-testid="stHeading"] { margin-bottom: 0.5rem; }
.st-key-page { max-width: 76rem; margin: 0 auto; }
.st-key-sign-in { max-width: 30rem; margin: 12vh auto 0; }
.st-key-sign-in h1 { font-size: 2.2rem; }
[data-testid="stMetricValue"] { font-variant-numeric: tabular-nums; }
@media (max-width: 48rem) {
  .stMainBlockContainer { padding: 4.1rem 0.6rem 0.6rem; }
  .st-key-account { right: 0.6rem; }
  .st-key-account button p { max-width: 11rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
}
</style>
"""


@cache
def icon() -> str:
    """The browser tab's icon as a data address: a named one would come from elsewhere, a picture from /media."""
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((2, 2, 61, 61), radius=16, fill=(11, 110, 143))
    draw.ellipse((14, 20, 50, 44), outline=(255, 255, 255), width=5)
    draw.ellipse((25, 25, 39, 39), fill=(255, 255, 255))
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def apply() -> None:
    """Put the style on the page."""
    with st.container(key="look"):
        st.html(_STYLE)
