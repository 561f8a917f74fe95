"""The image canvas: one Streamlit component that holds image, tools and keys."""
