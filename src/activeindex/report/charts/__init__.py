"""Charts as inline SVG that takes its colours from the page, so that it is light, dark and printed.

A viewBox of about 360 units is a phone's width: text keeps its size there, and wider pages put
several charts side by side instead of enlarging one.
"""
