"""The demo: the whole experiment in small, on photographs that ship in packages."""
