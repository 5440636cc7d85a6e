"""Charts as inline SVG that takes its colours from the page: light, dark and printed.

A viewBox of 360 units is a phone's width: text keeps its size there, and wider pages put several
charts side by side instead of enlarging one. Every chart has a ``label`` that describes it in
words. The *place* of a run among the runs gives its colour, dashes and marker.
"""
